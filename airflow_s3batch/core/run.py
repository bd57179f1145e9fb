"""`run_partition`: one partition's entries through the engine, its outcomes into the job's folder."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import datetime

from airflow_s3batch.core.checkpoint import Attempt, History
from airflow_s3batch.core.engine.promise import S3Engine
from airflow_s3batch.core.errors import InvalidInput, ManifestError, ReportError, S3BatchError, Stopped
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.journal import Journal
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.partition import Partition
from airflow_s3batch.core.progress import Meter, Progress
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.share import keep_share
from airflow_s3batch.core.status import JobState, utc_now
from airflow_s3batch.core.store import JobFolder
from airflow_s3batch.core.summary import Summary
from airflow_s3batch.core.tally import Tally

__all__ = ["run_partition"]

log = logging.getLogger(__name__)

_SAVING = 10.0
"""Seconds to write down what is known, when the run is failing anyway."""
_HANDFUL = 64
"""Entries that are fed at once, at least."""


def ignore(_: Progress) -> None:
    """Take no notice."""


async def run_partition(
    job: Job,
    number: int,
    s3: S3Engine,
    *,
    on_progress: Callable[[Progress], None] = ignore,
    stop: asyncio.Event | None = None,
    checkpoint_rows: int = 10_000,
    checkpoint_seconds: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = utc_now,
) -> Summary:
    """Do the operation on every object of a partition that it hasn't succeeded on before, and write the outcomes down.

    May be killed at any moment and run again: it goes on from the last checkpoint. At most `checkpoint_rows` objects,
    plus as many as may be in flight, are then done a second time. Run again after its end, it does the failures once
    more.

    Args:
        job: the prepared job.
        number: the partition's number.
        s3: the engine.
        on_progress: called about once a second while outcomes come, and at least every 2,000 of them.
        stop: once it is set, nothing new is begun, and all that was done is written down.
        checkpoint_rows: outcomes that may be waiting to be written; a checkpoint is written at every half of it …
        checkpoint_seconds: … and after so many seconds.
        clock: monotonic seconds.
        now: the time.

    Raises:
        Stopped: `stop` was set before the end.
        ManifestError: the manifest changed, or can't be read any more. What was in flight is written down.
        ReportError: the folder can't be written.
        JobConflict: another run of the same partition writes at the same time, or the job isn't ready to run.
        Unreachable: S3 can't be reached any more.
    """
    if not 0 <= number < len(job.partitions):
        raise InvalidInput(f"job {job.job_id} has partitions 0 to {len(job.partitions) - 1}, not {number}")
    folder = JobFolder.of(s3, job)
    latest = await folder.read_attempt(number)
    if latest is not None and latest.summary is not None and not latest.summary.tally.failed:
        log.info("Partition %d has been done before, without a failure", number)
        return latest.summary
    history = History.of(await folder.read_checkpoints(number))
    attempt = 1 + max(history.attempts, latest.number if latest is not None else 0)
    await folder.write_attempt(number, Attempt(number=attempt))
    await _activate(folder, job, now)
    journal = Journal(
        folder,
        number,
        attempt,
        history,
        batch_rows=max(1, checkpoint_rows // 2),
        batch_seconds=checkpoint_seconds,
        report_succeeded=job.spec.report.scope == "AllTasks",
        time=lambda: now().timestamp(),
    )
    run = _Run(
        job,
        job.partitions[number],
        s3,
        journal,
        checkpoint_rows=checkpoint_rows,
        stop=stop or asyncio.Event(),
        on_progress=on_progress,
        clock=clock,
    )
    began = clock()
    async with _shared(job, folder, number, run.allowance):
        await run.to_its_end()
    summary = Summary(
        partition=number,
        attempt=attempt,
        rows=job.partitions[number].rows,
        skipped=len(history.succeeded),
        elapsed_seconds=round(clock() - began, 3),
        tally=Tally(succeeded=len(history.succeeded)) + journal.tally,
    )
    files, spans = (*history.files, *journal.files), (*history.spans, journal.span)
    await folder.write_attempt(number, Attempt(number=attempt, summary=summary, files=files, spans=spans))
    return summary


@asynccontextmanager
async def _shared(job: Job, folder: JobFolder, number: int, allowance: Allowance) -> AsyncGenerator[None, None]:
    """Share the job's requests a second with its other partitions, where the job has a limit."""
    limit = job.spec.limits.requests_per_second
    if limit is None:
        yield
        return
    allowance.requests_per_second = limit / len(job.partitions)  # until the others are counted
    sharing = asyncio.create_task(keep_share(folder, number, limit, allowance))
    try:
        yield
    finally:
        await _cancel(sharing)


async def _activate(folder: JobFolder, job: Job, now: Callable[[], datetime]) -> None:
    """Make the job Active, if it isn't: all partitions try to, and none depends on it."""
    try:
        state = await folder.read_state()
        if state is None:
            state = JobState(job_id=job.job_id, status=JobStatus.READY, created=job.created, total=job.total)
        if state.status is not JobStatus.ACTIVE:
            await folder.write_state(state.moved(JobStatus.ACTIVE, at=now()))
    except ReportError as error:
        log.warning("That job %s is active could not be written down: %s", job.job_id, error)


class _Run:
    """One attempt at a partition, on its way."""

    def __init__(
        self,
        job: Job,
        partition: Partition,
        s3: S3Engine,
        journal: Journal,
        *,
        checkpoint_rows: int,
        stop: asyncio.Event,
        on_progress: Callable[[Progress], None],
        clock: Callable[[], float],
    ) -> None:
        in_flight = job.spec.limits.in_flight
        self._job = job
        self._partition = partition
        self._s3 = s3
        self._journal = journal
        self._done_before = journal.rows
        self._uncommitted_most = checkpoint_rows + in_flight
        # As much as keeps the engine busy; entries that only wait there would take room from outcomes.
        self._at_once = max(_HANDFUL, in_flight)
        self._stop = stop
        self._on_progress = on_progress
        self._clock = clock
        self._meter = Meter(partition.rows, len(journal.rows), clock())
        self._read = 0
        self._fed = 0
        self._broken: ManifestError | None = None
        self.allowance = Allowance()

    async def to_its_end(self) -> None:
        """Run it; every row of the partition is committed when this returns."""
        collecting = asyncio.create_task(self._collect())
        keeping = asyncio.create_task(self._journal.keep())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await self._watch(collecting, keeping, stopping)
        except BaseException:  # cancelled from outside
            await _cancel(stopping, collecting, keeping)
            await self._save()
            raise
        await _cancel(stopping, collecting, keeping)
        if failure := _failure(keeping):
            raise failure
        if failure := _failure(collecting) or self._broken:
            await self._save()
            raise failure
        if self._stop.is_set():
            await self._save()
        else:
            await self._journal.write_rest()
        self._check()

    async def _watch(
        self, collecting: asyncio.Task[None], keeping: asyncio.Task[None], stopping: asyncio.Task[bool]
    ) -> None:
        """Wait until all outcomes are collected and written, one of the two fails, or a stop has run its course."""
        await asyncio.wait({collecting, keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done() and not collecting.done():
            self._journal.flush()
            self._journal.wake()
            await asyncio.wait({collecting, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if not keeping.done():
            self._journal.close()
            hurry = stopping.done() or _failure(collecting) is not None
            await asyncio.wait({keeping}, timeout=_SAVING if hurry else None)

    async def _save(self) -> None:
        """Write down what is known, if that can be done quickly: the run fails anyway, for another reason."""
        try:
            await asyncio.wait_for(self._journal.write_rest(), _SAVING)
        except (S3BatchError, asyncio.TimeoutError) as error:
            log.warning(
                "The outcomes since the last checkpoint could not be written; they will be done again: %s", error
            )

    async def _collect(self) -> None:
        operation = self._job.spec.operation
        async with (
            aclosing(self._entries()) as entries,
            aclosing(self._s3.run(entries, operation, stop=self._stop, allowance=self.allowance)) as outcomes,
        ):
            async for some in outcomes:
                failures = self._journal.add(some)
                self._on_progress(self._meter.add(len(some), failures, self._clock()))

    async def _entries(self) -> AsyncGenerator[list[Entry], None]:
        """What the engine is fed with: the rows that haven't succeeded, while there is room for their outcomes."""
        try:
            async for entries in self._job.spec.manifest.read(self._s3, self._partition):
                self._read += len(entries)
                pending = self._done_before.pending(entries)
                while pending:
                    room = await self._room()
                    if self._stop.is_set():
                        return
                    some, pending = pending[:room], pending[room:]
                    self._fed += len(some)
                    yield some
        except ManifestError as error:
            # Not raised here: it would tear down what is in flight.
            self._broken = error

    async def _room(self) -> int:
        """How many entries may be fed now. Waits until some may, or the run is to stop."""
        while True:
            room = self._uncommitted_most - (self._fed - self._journal.committed)
            if room > 0 or self._stop.is_set():
                return min(room, self._at_once)
            await self._journal.changed()

    def _check(self) -> None:
        """See that every row has its outcome.

        Raises:
            Stopped, ManifestError: some have none, because of the stop, or because the manifest hasn't given them.
        """
        rows, done = self._partition.rows, len(self._journal.rows)
        if done == rows and self._read == rows:
            return
        where = f"job {self._job.job_id}, partition {self._partition.number}"
        if self._stop.is_set():
            raise Stopped(f"{where}: stopped after {done:,} of {rows:,} rows; run it again to go on from there")
        if self._read != rows:
            uri = self._job.spec.manifest.location.uri
            raise ManifestError(uri, f"{where} read {self._read:,} rows where prepare counted {rows:,}")
        raise S3BatchError(f"{where}: only {done:,} of {rows:,} rows have an outcome; run it again to do the others")


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _failure(task: asyncio.Task[None]) -> BaseException | None:
    """What made the task fail, None if it ended well or was cancelled."""
    return None if task.cancelled() else task.exception()
