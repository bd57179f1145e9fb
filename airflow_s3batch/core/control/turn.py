"""Whose turn it is among the jobs of one report location, once somebody has changed a priority.

What a job is prepared with orders its waiting partitions in Airflow; that can't be changed there afterwards. So a job
whose priority is lower now than another's notes in its folder that it goes after that one, and its partitions look
there before they begin. Best effort, as AWS's: a partition that runs isn't interrupted.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-priority.html
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.control.listing import list_jobs
from airflow_s3batch.core.errors import JobConflict
from airflow_s3batch.core.folder.overrides import Overrides
from airflow_s3batch.core.folder.status import JobState, utc_now
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus, check_priority
from airflow_s3batch.core.location import S3Location

__all__ = ["change_priority", "goes_before", "takes_its_turn"]

_OPEN = (JobStatus.SUSPENDED, JobStatus.READY, JobStatus.ACTIVE, JobStatus.PAUSING, JobStatus.PAUSED)
_TAKING = frozenset({JobStatus.READY, JobStatus.ACTIVE})


async def change_priority(
    s3: S3Calls, place: S3Location, job_id: str, priority: int, *, now: Callable[[], datetime] = utc_now
) -> None:
    """Change a job's priority, AWS's UpdateJobPriority: its place among the jobs at the same report location.

    Partitions that haven't begun then wait for the jobs of a higher priority that are there now.

    Args:
        s3: S3.
        place: the report's location.
        job_id: the job.
        priority: 0 to 2147483647, higher first.
        now: the time.

    Raises:
        InvalidInput: that can't be a priority.
        JobConflict: there is no such job, or it has ended.
        ReportError: a folder can't be read or written.
    """
    check_priority(priority)
    folder = JobFolder(s3, place, job_id)
    state = await folder.read_state()
    if state is None or state.status not in _OPEN:
        stands = "there is no such job" if state is None else f"it is {state.status.value}"
        raise JobConflict(f"the priority of job {job_id} in {place.uri} can't be changed: {stands}")
    others = {
        told["JobId"]: told.get("Priority", 0)
        for told in await list_jobs(s3, place, statuses=_OPEN, now=now)
        if told["JobId"] != job_id
    }
    higher = {other for other, theirs in others.items() if theirs > priority}
    await folder.change_overrides(lambda before: before.with_priority(priority, after=higher, at=now()))
    for other, theirs in others.items():
        goes = partial(Overrides.going_after, job_id=job_id, goes=theirs < priority, at=now())
        await JobFolder(s3, place, other).change_overrides(goes)


async def goes_before(job: Job, s3: S3Calls) -> str | None:
    """The id of a job that this one goes after and that is on its turn, None if there is none.

    Raises:
        ReportError: a folder can't be read.
    """
    overrides = await JobFolder.of(s3, job).read_overrides()
    for other in overrides.after:
        if takes_its_turn(await JobFolder(s3, job.spec.report.place, other).read_state()):
            return other
    return None


def takes_its_turn(state: JobState | None) -> bool:
    """Whether a job that stands there has work to do: not if it waits for somebody, or has ended."""
    return state is not None and state.status in _TAKING
