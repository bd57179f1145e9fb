"""A job that waits for a person: `ask` has it wait, `answer` takes what the person says, `expire` what nobody said.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-status.html
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import JobCancelled, JobConflict, JobFailed, printable
from airflow_s3batch.core.folder.status import AWAITING, REASON_MOST, FailureReason, JobState, utc_now
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus

__all__ = ["answer", "ask", "expire"]

_REFUSED = "ConfirmationRefused"
"""FailureCode of a job that was cancelled by who was asked: anybody may write any reason."""


async def ask(job: Job, s3: S3Calls, *, now: Callable[[], datetime] = utc_now) -> bool:
    """Whether a person has to be asked; the job is Suspended while it waits. One that was confirmed is not asked about.

    A job that has ended is asked about again: it is being run again. So is one that was refused, but none that somebody
    has cancelled: that only begins again from where it was prepared.

    Raises:
        JobCancelled: somebody has cancelled it.
    """

    def waiting(state: JobState | None) -> JobState:
        state = state or _unknown(job)
        if state.status is JobStatus.CANCELLED and not _is_refused(state):
            raise JobCancelled(state.job_id, state.reason)
        if state.status is JobStatus.SUSPENDED or state.status.ended:
            return state.moved(JobStatus.SUSPENDED, at=now(), reason=AWAITING)
        return state

    state = await JobFolder.of(s3, job).change_state(waiting)
    return state.status is JobStatus.SUSPENDED or state.suspended_cause != AWAITING


async def answer(job: Job, s3: S3Calls, *, approved: bool, by: str, now: Callable[[], datetime] = utc_now) -> JobStatus:
    """Get the job Ready, or have it Cancelled, as the person says; return what it is then.

    Raises:
        JobCancelled: somebody has cancelled it meanwhile. JobFailed: it is confirmed, and has failed meanwhile.
        JobConflict: it is refused, and runs already, or has run: it was taken up by its id.
    """

    def answered(state: JobState | None) -> JobState:
        state = state or _unknown(job)
        if approved:
            return _confirmed(state, by, now)
        if state.status in {JobStatus.CANCELLING, JobStatus.CANCELLED} and not _is_refused(state):
            raise JobCancelled(state.job_id, state.reason)  # a refusal over it would let it be asked about again
        if state.status not in {JobStatus.SUSPENDED, JobStatus.READY, JobStatus.CANCELLED}:
            raise JobConflict(
                f"job {job.job_id} was refused by {printable(by)}, and is {state.status.value}: "
                "it was let run by its id; cancel it if it is to stop"
            )
        refused = FailureReason(_REFUSED, printable(f"Refused by {by}", REASON_MOST))
        return state.moved(JobStatus.CANCELLED, at=now(), reason=refused.reason, failures=[refused])

    return (await JobFolder.of(s3, job).change_state(answered)).status


async def expire(job: Job, s3: S3Calls, *, waited: str, now: Callable[[], datetime] = utc_now) -> JobStatus:
    """Have a job Failed that nobody has confirmed in the time there was; return what it is then."""
    reason = FailureReason("ConfirmationExpired", f"Nobody has confirmed the job in {waited}.")

    def expired(state: JobState | None) -> JobState:
        state = state or _unknown(job)
        waiting = state.status is JobStatus.SUSPENDED
        return state.moved(JobStatus.FAILED, at=now(), failures=[reason]) if waiting else state

    return (await JobFolder.of(s3, job).change_state(expired)).status


def _confirmed(state: JobState, by: str, now: Callable[[], datetime]) -> JobState:
    if state.status in {JobStatus.CANCELLING, JobStatus.CANCELLED}:
        raise JobCancelled(state.job_id, state.reason)
    if state.status in {JobStatus.FAILING, JobStatus.FAILED}:
        raise JobFailed(state.job_id, state.failures)
    waiting = state.status is JobStatus.SUSPENDED
    return state.moved(JobStatus.READY, at=now(), reason=f"Confirmed by {by}") if waiting else state


def _is_refused(state: JobState) -> bool:
    return any(failure.code == _REFUSED for failure in state.failures)


def _unknown(job: Job) -> JobState:
    return JobState(job_id=job.job_id, status=JobStatus.SUSPENDED, created=job.created, total=job.total)
