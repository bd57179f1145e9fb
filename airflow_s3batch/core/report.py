"""`complete`: see that no partition is missing, and write AWS's completion report. `read_report` reads one back."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import (
    JobCancelled,
    JobConflict,
    JobFailed,
    PartitionRuns,
    PartitionsMissing,
    ReportError,
    S3BatchError,
)
from airflow_s3batch.core.folder.checkpoint import Attempt, ResultFile, Span, covered_seconds
from airflow_s3batch.core.folder.leavings import gather
from airflow_s3batch.core.folder.sign import BEAT, LIVES
from airflow_s3batch.core.folder.status import FINAL, THRESHOLD_PASSED, FailureReason, JobState, utc_now
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.folder.summary import JobSummary, Summary
from airflow_s3batch.core.folder.tally import Tally
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.reported import read_report
from airflow_s3batch.core.results import REPORT_FORMAT, SCHEMA
from airflow_s3batch.core.running.watch import alive

__all__ = ["complete", "read_report"]

log = logging.getLogger(__name__)

_REASONS_MOST = 20
"""FailureReasons that are written down."""
_SAVES = 25
"""Beats for which a partition that was told to stop is waited for."""


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
        summaries: what the runs returned (`Summary.as_dict`), to compare with what they wrote; may have gaps.
        beat: seconds between two signs of life of a run.
        now: the time.

    Raises:
        PartitionsMissing: partitions haven't run to their ends; the job is Failed, with this and what kept them from it
            as its reasons.
        JobFailed: the job is failing, and Failed now, with its report of what ran; `JobCancelled`: likewise.
        PartitionRuns: a partition is being run, by another run of the job; the job is left as it is.
        JobConflict: a summary says something else than the folder, or the job is in no state to be completed.
        ReportError: the folder can't be read or written, or its numbers don't add up.
    """
    folder = JobFolder.of(s3, job)
    state = await folder.read_state()
    if state is not None and (end := _ends(state)):
        await _wait_for_the_last(folder, beat)
        raise await wind_up(job, folder, end, now)
    try:
        return await _completed(job, folder, summaries or (), beat, now)
    except JobConflict:
        state = await folder.read_state()
        if state is None or not (end := _ends(state)):
            raise
        # Somebody has cancelled it just now.
        raise await wind_up(job, folder, end, now) from None


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
    except PartitionsMissing as missing:
        await _write_failed(
            job, folder, [*(FailureReason(*cause) for cause in missing.causes), FailureReason.of(missing)], now
        )
        raise
    except PartitionRuns:
        raise
    except S3BatchError as error:
        await _write_failed(job, folder, [FailureReason.of(error)], now)
        raise
    tally = sum((summary.tally for summary, _ in finished), Tally())
    threshold = job.spec.threshold
    if threshold is not None and threshold.is_passed(job.total, tally.failed):  # all ran before anybody looked
        failures = [FailureReason(THRESHOLD_PASSED, threshold.told(job.total, tally.failed))]
        await folder.change_state(
            lambda state: _active(job, state, now).moved(JobStatus.FAILING, at=now(), failures=failures)
        )
        raise await wind_up(job, folder, JobStatus.FAILED, now)
    spans = [span for _, attempt in finished for span in attempt.spans]
    report = _report(folder, [file for _, attempt in finished for file in attempt.files], spans, now)
    elapsed = covered_seconds(spans)
    if not await _is_complete(folder, report):

        def completing(state: JobState | None) -> JobState:
            state = _active(job, state, now).moved(JobStatus.COMPLETING, at=now())
            counts = {"succeeded": tally.succeeded, "failed": tally.failed}
            return state.counted(total=job.total, **counts, active_seconds=elapsed)

        await folder.change_state(completing)
        await folder.write_report(report)
        await folder.change_state(
            lambda state: _active(job, state, now).moved(JobStatus.COMPLETE, at=now()).reported(folder.report_uri)
        )
    return JobSummary(
        job_id=job.job_id,
        status=JobStatus.COMPLETE,
        operation=job.spec.operation.aws_name,
        total=job.total,
        tally=tally,
        elapsed_seconds=elapsed,
        report_uri=folder.report_uri,
    )


async def wind_up(job: Job, folder: JobFolder, end: JobStatus, now: Callable[[], datetime] = utc_now) -> JobFailed:
    """End a job that is being cancelled or failing, once no partition runs: write the report of what ran, if any did.

    Args:
        job: the job.
        folder: its folder.
        end: Cancelled or Failed.
        now: the time.

    Returns:
        The error that whoever waits for the job gets.

    Raises:
        ReportError: the folder can't be read or written.
        JobConflict: the job can't end in this way.
    """
    left = await gather(job, folder)
    files = [file for one in left for file in one.files]
    counts = {"succeeded": sum(one.succeeded for one in left), "failed": sum(one.failed for one in left)}
    spans = [span for one in left for span in one.spans]
    elapsed = covered_seconds(spans)
    if files:
        await folder.write_report(_report(folder, files, spans, now))

    def ended(state: JobState | None) -> JobState:
        state = _known(job, state)
        if state.status is not end:
            state = state.moved(end, at=now(), reason=state.reason, failures=state.failures)
        state = state.counted(total=job.total, **counts, active_seconds=elapsed)
        return state.reported(folder.report_uri) if files else state

    state = await folder.change_state(ended)
    if files:
        told = (f"{state.succeeded:,}", f"{state.failed:,}", f"{job.total:,}", folder.report_uri)
        log.info("The report of what ran: %s succeeded and %s failed, of %s objects: %s", *told)
    else:
        log.info("No object was touched; there is no report")
    if end is JobStatus.CANCELLED:
        return JobCancelled(job.job_id, state.reason)
    return JobFailed(job.job_id, state.failures)


async def _wait_for_the_last(folder: JobFolder, beat: float) -> None:
    """Wait until no partition runs any more, for longer than one takes to save what it did where S3 is slow.

    A task that somebody marks as failed has ended for Airflow, and saves what it did for some seconds still.
    """
    if running := await _outlive(folder, beat, _SAVES):
        told = ", ".join(map(str, running))
        log.warning("Partitions that were told to stop still run (%s); the report may lack what they do now", told)


async def _outlive(folder: JobFolder, beat: float, beats: int, of: Container[int] | None = None) -> list[int]:
    """Wait until no partition runs any more (of some, if named), so many beats at most; return those that still do."""
    for _ in range(beats):
        running = alive(await folder.list_signs(), await folder.read_clock(), LIVES * beat)
        running = [number for number in running if of is None or number in of]
        if not running:
            break
        await asyncio.sleep(beat)
    return running


def _ends(state: JobState) -> JobStatus | None:
    """What a job becomes whose partitions were told to stop, None if they weren't."""
    if state.status in {JobStatus.CANCELLING, JobStatus.CANCELLED}:
        return JobStatus.CANCELLED
    final = any(failure.code in FINAL for failure in state.failures)
    return JobStatus.FAILED if state.status is JobStatus.FAILING or (state.status.ended and final) else None


async def _all_finished(job: Job, folder: JobFolder, beat: float) -> list[tuple[Summary, Attempt]]:
    """What `_finished` finds, once none of the partitions that are missing runs: or it would be failed under way."""
    try:
        return await _finished(job, folder)
    except PartitionsMissing as missing:
        if running := await _outlive(folder, beat, LIVES + 2, missing.partitions):
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
        summary = Summary.from_dict(told)
        there = by_partition.get(summary.partition)
        if there is not None and summary.attempt < there.attempt:
            log.info("Partition %d was run again after its summary was taken; what it wrote counts", summary.partition)
        elif there is None or (summary.attempt, summary.tally) != (there.attempt, there.tally):
            raise JobConflict(
                f"job {job.job_id}: the summary of partition {summary.partition} says attempt {summary.attempt}, "
                f"{summary.tally.succeeded:,} succeeded, {summary.tally.failed:,} failed, "
                "and the job's folder doesn't; was it changed by hand? Run the partition again"
            )


def _known(job: Job, state: JobState | None) -> JobState:
    return state or JobState(job_id=job.job_id, status=JobStatus.READY, created=job.created, total=job.total)


def _active(job: Job, state: JobState | None, now: Callable[[], datetime]) -> JobState:
    """The job as it was while its partitions ran.

    That it is Active may not have been written, or an earlier report may have ended it.
    """
    state = _known(job, state)
    if state.status in {JobStatus.COMPLETING, JobStatus.ACTIVE}:
        return state
    if state.status in {JobStatus.PAUSING, JobStatus.PAUSED}:  # too late: everything is done
        return dataclasses.replace(state, status=JobStatus.ACTIVE, reason="")
    return state.moved(JobStatus.ACTIVE, at=now())


async def _write_failed(
    job: Job, folder: JobFolder, failures: Sequence[FailureReason], now: Callable[[], datetime]
) -> None:
    """Write down that the job failed, if possible: the error that made it fail is the one to raise."""
    try:
        await folder.change_state(
            lambda state: _active(job, state, now).moved(JobStatus.FAILED, at=now(), failures=failures[:_REASONS_MOST])
        )
    except S3BatchError as trouble:
        log.warning("That job %s failed could not be written down: %s", folder.job_id, trouble)


def _report(
    folder: JobFolder, files: Iterable[ResultFile], spans: Sequence[Span], now: Callable[[], datetime]
) -> dict[str, Any]:
    """The report's ``manifest.json``, dated when the last partition ended: the same to the byte, whoever writes it."""
    ended = datetime.fromtimestamp(max(span.ended for span in spans), timezone.utc) if spans else now()
    results = [folder.report_entry(file) for file in files]
    return {
        "Format": REPORT_FORMAT,
        "ReportCreationDate": _aws_time(ended),
        "Results": results,
        "ReportSchema": SCHEMA,
    }


async def _is_complete(folder: JobFolder, report: dict[str, Any]) -> bool:
    """Whether the job is Complete, with this report."""
    state = await folder.read_state()
    return state is not None and state.status is JobStatus.COMPLETE and await folder.read_report() == report


def _aws_time(moment: datetime) -> str:
    """With nanoseconds, as AWS writes ReportCreationDate: ``2025-07-20T21:18:22.395320681Z``."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}000Z"
