"""`wind_up`: the end of a job that was cancelled or has failed, with the report of what ran."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from airflow_s3batch.core.errors import JobCancelled, JobFailed
from airflow_s3batch.core.folder.checkpoint import ResultFile, Span, covered_seconds
from airflow_s3batch.core.folder.leavings import gather
from airflow_s3batch.core.folder.sign import LIVES
from airflow_s3batch.core.folder.status import FINAL, JobState, utc_now
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.results import REPORT_FORMAT, SCHEMA
from airflow_s3batch.core.running.watch import alive

__all__ = ["end_of", "known_state", "outlive", "report_manifest", "wind_up", "wind_up_stopped"]

log = logging.getLogger(__name__)

_SAVES = 25
"""Beats for which a partition that was told to stop is waited for."""


async def wind_up_stopped(job: Job, folder: JobFolder, beat: float, now: Callable[[], datetime]) -> JobFailed | None:
    """`wind_up` a job whose partitions were told to stop, once they have; None, and nothing done, for any other.

    Raises:
        ReportError: the folder can't be read or written.
    """
    state = await folder.read_state()
    if state is None or not (end := end_of(state)):
        return None
    await _wait_for_the_last(folder, beat)
    return await wind_up(job, folder, end, now)


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
        await folder.write_report(report_manifest(folder, files, spans, now))

    def ended(state: JobState | None) -> JobState:
        state = known_state(job, state)
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
        return JobCancelled(job.job_id, state.reason, report_uri=state.report_uri)
    return JobFailed(job.job_id, state.failures, report_uri=state.report_uri)


def end_of(state: JobState) -> JobStatus | None:
    """What a job becomes whose partitions were told to stop, None if they weren't."""
    if state.status in {JobStatus.CANCELLING, JobStatus.CANCELLED}:
        return JobStatus.CANCELLED
    final = any(failure.code in FINAL for failure in state.failures)
    return JobStatus.FAILED if state.status is JobStatus.FAILING or (state.status.ended and final) else None


async def outlive(folder: JobFolder, beat: float, beats: int, of: Container[int] | None = None) -> list[int]:
    """Wait until no partition runs any more (of some, if named), so many beats at most; return those that still do."""
    for _ in range(beats):
        running = alive(await folder.list_signs(), await folder.read_clock(), LIVES * beat)
        running = [number for number in running if of is None or number in of]
        if not running:
            break
        await asyncio.sleep(beat)
    return running


async def _wait_for_the_last(folder: JobFolder, beat: float) -> None:
    """Wait until no partition runs any more, for longer than one takes to save what it did where S3 is slow.

    A task that somebody marks as failed has ended for Airflow, and saves what it did for some seconds still.
    """
    if running := await outlive(folder, beat, _SAVES):
        told = ", ".join(map(str, running))
        log.warning("Partitions that were told to stop still run (%s); the report may lack what they do now", told)


def known_state(job: Job, state: JobState | None) -> JobState:
    """Where a job stands; that it was prepared, at least, if that isn't written."""
    return state or JobState(job_id=job.job_id, status=JobStatus.READY, created=job.created, total=job.total)


def report_manifest(
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


def _aws_time(moment: datetime) -> str:
    """With nanoseconds, as AWS writes ReportCreationDate: ``2025-07-20T21:18:22.395320681Z``."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}000Z"
