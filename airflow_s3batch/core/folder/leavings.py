"""`Leavings`: what the runs of a partition have left behind, whether or not the last of them came to its end."""

from __future__ import annotations

from typing import NamedTuple

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.errors import ReportError
from airflow_s3batch.core.folder.checkpoint import Attempt, History, ResultFile, Span, Unsettled
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job
from airflow_s3batch.core.results import read_results, result_rows

__all__ = ["Leavings", "gather"]

_AT_ONCE = 4
"""Partitions at once whose checkpoints are read, each of them many at once."""


class Leavings(NamedTuple):
    """The latest outcome of every object of a partition that has one."""

    succeeded: int
    failed: int
    files: tuple[ResultFile, ...]
    """Those that tell of them, each once."""
    spans: tuple[Span, ...]
    """When the partition ran."""


async def gather(job: Job, folder: JobFolder) -> list[Leavings]:
    """What all partitions have left, in their order.

    Raises:
        ReportError: the folder can't be read or written.
    """
    attempts = await folder.read_attempts(partition.number for partition in job.partitions)
    tried = zip(job.partitions, attempts, strict=True)
    unfinished = [(part.number, attempt) for part, attempt in tried if attempt is not None and attempt.summary is None]
    stopped = iter(await each(lambda one: _stopped(folder, *one), unfinished, at_once=_AT_ONCE))
    return [_finished(attempt) or next(stopped) for attempt in attempts]


def _finished(attempt: Attempt | None) -> Leavings | None:
    """What an attempt has left that ran to its end, or was none at all; None if it takes a look at its checkpoints."""
    if attempt is None:
        return Leavings(0, 0, (), ())
    if attempt.summary is None:
        return None
    tally = attempt.summary.tally
    return Leavings(tally.succeeded, tally.failed, attempt.files, attempt.spans)


async def _stopped(folder: JobFolder, partition: int, attempt: Attempt) -> Leavings:
    history = History.of(await folder.read_checkpoints(partition))
    failures = [await _settled(folder, partition, file) for file in history.unsettled]
    return Leavings(
        succeeded=len(history.succeeded),
        failed=sum(len(unsettled.left) for unsettled in history.unsettled),
        files=(*history.files, *failures),
        spans=_spans(attempt, history),
    )


def _spans(attempt: Attempt, history: History) -> tuple[Span, ...]:
    # One that was killed is known to have run until its last checkpoint.
    return attempt.spans or history.spans


async def _settled(folder: JobFolder, partition: int, unsettled: Unsettled) -> ResultFile:
    """A file of those failures that weren't done again since: the one that was written, if it is all of them."""
    file, rows, left = unsettled
    if left == rows:
        return file
    outcomes = list(read_results(await folder.read_result(file), f"{folder.uri}results/{file.name}.csv"))
    if len(outcomes) != len(rows):
        raise ReportError(
            f"{folder.uri}results/{file.name}.csv has {len(outcomes):,} rows, and its checkpoint names {len(rows):,}"
        )
    kept = [outcome for row, outcome in zip(rows, outcomes, strict=True) if row in left]
    return await folder.write_result(result_rows(kept), succeeded=False, batch=f"{partition}/{file.name}")
