"""`complete`: see that no partition is missing, and write AWS's completion report; `renew` it, and read one back."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import (
    JobConflict,
    JobFailed,
    PartitionRuns,
    PartitionsMissing,
    ReportError,
    S3BatchError,
)
from airflow_s3batch.core.folder.checkpoint import Attempt, covered_seconds
from airflow_s3batch.core.folder.sign import BEAT, LIVES
from airflow_s3batch.core.folder.status import THRESHOLD_PASSED, FailureReason, JobState, utc_now
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.folder.summary import JobSummary, Summary
from airflow_s3batch.core.folder.tally import Tally
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.reported import read_report
from airflow_s3batch.core.winding_up import end_of, known_state, outlive, report_manifest, wind_up, wind_up_stopped

__all__ = ["complete", "read_report", "renew"]

log = logging.getLogger(__name__)

_REASONS_MOST = 20
"""FailureReasons that are written down."""
_OPEN = frozenset({JobStatus.READY, JobStatus.ACTIVE, JobStatus.PAUSING, JobStatus.PAUSED})
"""What a job is in that runs, or is about to."""


async def complete(
    job: Job,
    s3: S3Calls,
    *,
    summaries: Iterable[Mapping[str, Any]] | None = None,
    beat: float = BEAT,
    now: Callable[[], datetime] = utc_now,
) -> JobSummary:
    """Write the completion report of a job whose partitions have all run to their ends; the job is Complete then.

    A job is Complete when every object has an outcome, whatever failed within its threshold. May be repeated. One that
    was cancelled, or failed because too many objects did or its manifest changed, gets a report of what ran, as with
    AWS.

    Args:
        job: the prepared job.
        s3: S3.
        summaries: what the runs returned (`Summary.to_json`), to compare with what they wrote; may have gaps.
        beat: seconds between two signs of life of a run.
        now: the time.

    Raises:
        PartitionsMissing: partitions haven't run to their ends; the job is Failed, with this and what kept them from it
            as its reasons.
        JobFailed: the job is failing, and Failed now, with its report of what ran; `JobCancelled`: likewise.
        PartitionRuns: a partition is being run, by another run of the job or since it was cleared; the job is left as
            it is.
        JobConflict: a summary says something else than the folder, or the job is in no state to be completed.
        ReportError: the folder can't be read or written, or its numbers don't add up.
    """
    folder = JobFolder.of(s3, job)
    if stopped := await wind_up_stopped(job, folder, beat, now):
        raise stopped
    try:
        return await _completed(job, folder, summaries or (), beat, now)
    except JobFailed:  # and has its report
        raise
    except S3BatchError:
        # Whoever told it to stop meanwhile, while a dead partition's sign aged say, has left its end to this report.
        if stopped := await wind_up_stopped(job, folder, beat, now):
            raise stopped from None
        raise


async def renew(
    job: Job, s3: S3Calls, *, gives_up: bool = False, beat: float = BEAT, now: Callable[[], datetime] = utc_now
) -> JobSummary | None:
    """Complete a job anew that had its report when one of its partitions was run again; None if there is nothing to do.

    For who runs a partition by itself: no report task may come after it. Nothing is done where no report was written
    yet, and where other partitions are being run or are yet to be: the last of them does it.

    Args:
        job: the prepared job.
        s3: S3.
        gives_up: whether a partition that has failed won't be run again: the job is Failed then.
        beat: seconds between two signs of life of a run.
        now: the time.

    Raises:
        S3BatchError: as `complete`.
    """
    folder = JobFolder.of(s3, job)
    if await folder.read_report() is None:
        return None
    attempts = await folder.read_attempts(partition.number for partition in job.partitions)
    unfinished = [attempt for attempt in attempts if attempt is None or attempt.summary is None]
    if any(attempt is None or attempt.halt is None for attempt in unfinished) or (unfinished and not gives_up):
        return None
    return await complete(job, s3, beat=beat, now=now)


async def _completed(
    job: Job,
    folder: JobFolder,
    summaries: Iterable[Mapping[str, Any]],
    beat: float,
    now: Callable[[], datetime],
) -> JobSummary:
    try:
        finished = await _all_finished(job, folder, beat)
        _compare(job, [summary for summary, _ in finished], summaries)
    except PartitionRuns:
        raise
    except S3BatchError as error:
        causes = error.causes if isinstance(error, PartitionsMissing) else ()
        await _write_failed(job, folder, [*(FailureReason(*cause) for cause in causes), FailureReason.of(error)], now)
        raise
    tally = sum((summary.tally for summary, _ in finished), Tally())
    await _hold_to_threshold(job, folder, tally, now)
    spans = [span for _, attempt in finished for span in attempt.spans]
    report = report_manifest(folder, [file for _, attempt in finished for file in attempt.files], spans, now)
    summary = JobSummary(
        job_id=job.job_id,
        status=JobStatus.COMPLETE,
        operation=job.spec.operation.aws_name,
        total=job.total,
        tally=tally,
        elapsed_seconds=covered_seconds(spans),
        report_uri=folder.report_uri,
    )
    if await _is_complete(folder, report) or await _write_complete(job, folder, report, summary, now):
        return summary
    log.info("A partition is run again; its report has to wait for that")
    await asyncio.sleep(beat)  # until that run has claimed its partition
    return await _completed(job, folder, (), beat, now)


async def _hold_to_threshold(job: Job, folder: JobFolder, tally: Tally, now: Callable[[], datetime]) -> None:
    """See that not too many objects failed, in a job that was over before any run looked.

    Raises:
        JobFailed: they did; the job is Failed.
    """
    threshold = job.spec.threshold
    if threshold is None or not threshold.is_passed(job.total, tally.failed):
        return
    failures = [FailureReason(THRESHOLD_PASSED, threshold.told(job.total, tally.failed))]
    await folder.change_state(
        lambda state: _active(job, state, now).moved(JobStatus.FAILING, at=now(), failures=failures)
    )
    raise await wind_up(job, folder, JobStatus.FAILED, now)


async def _write_complete(
    job: Job, folder: JobFolder, report: dict[str, Any], summary: JobSummary, now: Callable[[], datetime]
) -> bool:
    """Write the report, and have the job Complete; False if a run has opened it again meanwhile."""
    tally = summary.tally

    def completing(state: JobState | None) -> JobState:
        state = _active(job, state, now).moved(JobStatus.COMPLETING, at=now())
        counts = {"total": job.total, "succeeded": tally.succeeded, "failed": tally.failed}
        return state.counted(**counts, active_seconds=summary.elapsed_seconds)

    def completed(state: JobState | None) -> JobState:
        if state is not None and state.status in {JobStatus.COMPLETE, *_OPEN}:
            return state
        return known_state(job, state).moved(JobStatus.COMPLETE, at=now()).reported(folder.report_uri)

    await folder.change_state(completing)
    await folder.write_report(report)
    return (await folder.change_state(completed)).status is JobStatus.COMPLETE


async def _all_finished(job: Job, folder: JobFolder, beat: float) -> list[tuple[Summary, Attempt]]:
    """What `_finished` finds, once none of the partitions that are missing runs: or it would be failed under way."""
    try:
        return await _finished(job, folder)
    except PartitionsMissing as missing:
        if running := await outlive(folder, beat, LIVES + 2, missing.partitions):
            raise PartitionRuns(job.job_id, {number: job.partitions[number] for number in running}) from None
        return await _finished(job, folder)


async def _finished(job: Job, folder: JobFolder) -> list[tuple[Summary, Attempt]]:
    """The attempts that ran to their ends, one a partition, in order; their numbers add up to the job's."""
    numbers = [partition.number for partition in job.partitions]
    attempts = dict(zip(numbers, await folder.read_attempts(numbers), strict=True))
    finished = [
        (attempt.summary, attempt)
        for attempt in attempts.values()
        if attempt is not None and attempt.summary is not None
    ]
    if len(finished) < len(numbers):
        there = {summary.partition for summary, _ in finished}
        missing = {part.number: part for part in job.partitions if part.number not in there}
        halts = [attempt.halt for number in missing if (attempt := attempts[number]) is not None]
        raise PartitionsMissing(job.job_id, missing, len(numbers), [halt.cause for halt in halts if halt is not None])
    for partition, (summary, _) in zip(job.partitions, finished, strict=True):
        counted = summary.tally.succeeded + summary.tally.failed
        if counted != partition.rows:
            raise ReportError(
                f"job {job.job_id}, partition {partition.number}: {counted:,} outcomes for {partition.rows:,} rows; "
                "run the partition again"
            )
    return finished


def _compare(job: Job, written: list[Summary], returned: Iterable[Mapping[str, Any]]) -> None:
    """See that what the runs returned is what they wrote. An older attempt's summary is stale, and no contradiction."""
    by_partition = {summary.partition: summary for summary in written}
    for told in returned:
        summary = Summary.from_json(told)
        there = by_partition.get(summary.partition)
        if there is not None and summary.attempt < there.attempt:
            log.info("Partition %d was run again after its summary was taken; what it wrote counts", summary.partition)
        elif there is None or (summary.attempt, summary.tally) != (there.attempt, there.tally):
            raise JobConflict(
                f"job {job.job_id}: the summary of partition {summary.partition} says attempt {summary.attempt}, "
                f"{summary.tally.succeeded:,} succeeded, {summary.tally.failed:,} failed, "
                "and the job's folder doesn't; was it changed by hand? Run the partition again"
            )


def _active(job: Job, state: JobState | None, now: Callable[[], datetime]) -> JobState:
    """The job as it was while its partitions ran.

    That it is Active may not have been written, or an earlier report may have ended it.
    """
    state = known_state(job, state)
    if state.status in {JobStatus.COMPLETING, JobStatus.ACTIVE}:
        return state
    if state.status in {JobStatus.PAUSING, JobStatus.PAUSED}:  # too late: everything is done
        return dataclasses.replace(state, status=JobStatus.ACTIVE, reason="")
    return state.moved(JobStatus.ACTIVE, at=now())


async def _write_failed(
    job: Job, folder: JobFolder, failures: Sequence[FailureReason], now: Callable[[], datetime]
) -> None:
    """Write down that the job failed, if possible: the error that made it fail is the one to raise.

    Not over what somebody wants of it meanwhile: a job that was told to stop ends as such.
    """

    def failed(state: JobState | None) -> JobState:
        if state is not None and end_of(state):
            return state
        return _active(job, state, now).moved(JobStatus.FAILED, at=now(), failures=failures[:_REASONS_MOST])

    try:
        await folder.change_state(failed)
    except S3BatchError as trouble:
        log.warning("That job %s failed could not be written down: %s", folder.job_id, trouble)


async def _is_complete(folder: JobFolder, report: dict[str, Any]) -> bool:
    """Whether the job is Complete, with this report."""
    state = await folder.read_state()
    return state is not None and state.status is JobStatus.COMPLETE and await folder.read_report() == report
