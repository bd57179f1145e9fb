"""`complete`: see that no partition is missing, and write AWS's completion report. `read_report` reads one back."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.checkpoint import Attempt, Span
from airflow_s3batch.core.errors import JobConflict, PartitionsMissing, ReportError, S3BatchError, S3Error, printable
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.results import SCHEMA, read_results
from airflow_s3batch.core.rows import Outcome
from airflow_s3batch.core.status import FailureReason, JobState, utc_now
from airflow_s3batch.core.store import JobFolder
from airflow_s3batch.core.summary import JobSummary, Summary
from airflow_s3batch.core.tally import Tally

__all__ = ["complete", "read_report"]

log = logging.getLogger(__name__)

_FORMAT = "Report_CSV_20180820"
_AHEAD = 4
"""Result files that are fetched before they are needed."""


async def complete(
    job: Job,
    s3: S3Calls,
    *,
    summaries: Iterable[Mapping[str, Any]] | None = None,
    now: Callable[[], datetime] = utc_now,
) -> JobSummary:
    """Write the completion report of a job whose partitions have all run to their ends; the job is Complete then.

    A job is Complete when every object has an outcome, even if all of them failed. May be repeated.

    Args:
        job: the prepared job.
        s3: S3.
        summaries: what the runs returned (`Summary.as_dict`), to compare with what they wrote; may have gaps.
        now: the time.

    Raises:
        PartitionsMissing: partitions haven't run to their ends; the job is Failed, with this as its reason.
        JobConflict: a summary says something else than the folder, or the job is in no state to be completed.
        ReportError: the folder can't be read or written, or its numbers don't add up.
    """
    folder = JobFolder.of(s3, job)
    state = await folder.read_state() or JobState(job_id=job.job_id, status=JobStatus.READY, created=job.created)
    try:
        finished = await _finished(job, folder)
        _compare(job, [summary for summary, _ in finished], summaries or ())
    except S3BatchError as error:
        await _write_failed(folder, state, error, now)
        raise
    tally = sum((summary.tally for summary, _ in finished), Tally())
    elapsed = _measure(span for _, attempt in finished for span in attempt.spans)
    state = _active(state, now).moved(JobStatus.COMPLETING, at=now())
    state = state.counted(total=job.total, succeeded=tally.succeeded, failed=tally.failed, active_seconds=elapsed)
    await folder.write_state(state)
    await _write_report(folder, [attempt for _, attempt in finished], now)
    await folder.write_state(state.moved(JobStatus.COMPLETE, at=now()).reported(folder.report_uri))
    return JobSummary(
        job_id=job.job_id,
        status=JobStatus.COMPLETE,
        operation=job.spec.operation.aws_name,
        total=job.total,
        tally=tally,
        elapsed_seconds=elapsed,
        report_uri=folder.report_uri,
    )


async def _finished(job: Job, folder: JobFolder) -> list[tuple[Summary, Attempt]]:
    """The attempts that ran to their ends, one a partition, in order; their numbers add up to the job's."""
    numbers = [partition.number for partition in job.partitions]
    attempts = await folder.read_attempts(numbers)
    finished = [
        (attempt.summary, attempt) for attempt in attempts if attempt is not None and attempt.summary is not None
    ]
    if len(finished) < len(numbers):
        there = {summary.partition for summary, _ in finished}
        raise PartitionsMissing(job.job_id, (number for number in numbers if number not in there), len(numbers))
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


def _active(state: JobState, now: Callable[[], datetime]) -> JobState:
    """The job as it was while its partitions ran.

    That it is Active may not have been written, or an earlier report may have ended it.
    """
    return state if state.status is JobStatus.COMPLETING else state.moved(JobStatus.ACTIVE, at=now())


async def _write_failed(folder: JobFolder, state: JobState, error: S3BatchError, now: Callable[[], datetime]) -> None:
    """Write down that the job failed, if possible: the error that made it fail is the one to raise."""
    try:
        failed = _active(state, now).moved(JobStatus.FAILED, at=now(), failures=[FailureReason.of(error)])
        await folder.write_state(failed)
    except S3BatchError as trouble:
        log.warning("That job %s failed could not be written down: %s", folder.job_id, trouble)


def _measure(spans: Iterable[Span]) -> float:
    """Seconds that at least one of the spans covers."""
    covered, until = 0.0, float("-inf")
    for began, ended in sorted(spans):
        covered += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return covered


async def _write_report(folder: JobFolder, attempts: Iterable[Attempt], now: Callable[[], datetime]) -> None:
    results = [folder.report_entry(file) for attempt in attempts for file in attempt.files]
    before = await folder.read_report()
    # The same report again is the same to the byte.
    created = (
        before["ReportCreationDate"] if before is not None and before.get("Results") == results else _aws_time(now())
    )
    await folder.write_report(
        {"Format": _FORMAT, "ReportCreationDate": created, "Results": results, "ReportSchema": SCHEMA}
    )


def _aws_time(moment: datetime) -> str:
    """With nanoseconds, as AWS writes ReportCreationDate: ``2025-07-20T21:18:22.395320681Z``."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}000Z"


async def read_report(uri: str, s3: S3Calls) -> AsyncGenerator[Outcome, None]:
    """Read a completion report back, ours or AWS's: every object's outcome, in the order of the report.

    Entries are numbered from 1. Memory holds a few result files.

    Args:
        uri: the report's ``manifest.json``, or the job's folder.
        s3: S3.

    Raises:
        InvalidInput: `uri` is no S3 place.
        ReportError: it isn't a completion report, or a file of it is missing or not the one that its MD5 names.
    """
    place = S3Location.parse(uri)
    if not place.key.endswith("manifest.json"):
        place = S3Location(place.bucket, f"{place.key.rstrip('/')}/manifest.json".lstrip("/"))
    results = _results(await _get(s3, place), place.uri)
    row = 1
    ahead: deque[asyncio.Task[bytes]] = deque()
    try:
        for at, result in enumerate(results):
            while at + len(ahead) < min(at + _AHEAD, len(results)):
                ahead.append(asyncio.create_task(_verified(s3, results[at + len(ahead)])))
            body = await ahead.popleft()
            for outcome in read_results(body, _place(result).uri, row):
                row += 1
                yield outcome
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


def _results(manifest: bytes, uri: str) -> list[dict[str, str]]:
    try:
        report = json.loads(manifest)
        form = report["Format"]
        results = [
            {name: str(result[name]) for name in ("Bucket", "Key", "MD5Checksum")} for result in report["Results"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{printable(uri)} is not a completion report's manifest.json: {error!r}") from error
    if form != _FORMAT:
        raise ReportError(f"{printable(uri)}: its format is {printable(form)}; only {_FORMAT} can be read")
    return results


def _place(result: Mapping[str, str]) -> S3Location:
    return S3Location(result["Bucket"], result["Key"])


async def _verified(s3: S3Calls, result: Mapping[str, str]) -> bytes:
    body = await _get(s3, _place(result))
    if hashlib.md5(body, usedforsecurity=False).hexdigest() != result["MD5Checksum"].lower():
        raise ReportError(f"{printable(_place(result).uri)} isn't the file that the report names: its MD5 is another")
    return body


async def _get(s3: S3Calls, place: S3Location) -> bytes:
    try:
        body: bytes = (await s3.call("GetObject", Bucket=place.bucket, Key=place.key))["Body"]
    except S3Error as error:
        raise ReportError(f"the completion report can't be read: {error}") from error
    return body
