"""`Work`: one attempt at a partition, from the manifest through the engine into the journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from airflow_s3batch.core.engine.promise import S3Engine
from airflow_s3batch.core.errors import ManifestChanged, ManifestError, S3BatchError, Stopped
from airflow_s3batch.core.folder.checkpoint import Counts
from airflow_s3batch.core.job import Job
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.partition import Partition
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.running.journal import Journal
from airflow_s3batch.core.running.progress import Meter, Progress
from airflow_s3batch.core.waiting import in_time
from airflow_s3batch.core.wording import counted

__all__ = ["Work"]

log = logging.getLogger(__name__)

_SAVING = 10.0
"""Seconds to write down what is known, when the run is failing anyway."""
_HANDFUL = 64
"""Entries that are fed at once, at least."""


class Work:
    """One attempt at a partition, on its way.

    Args:
        job: the job.
        partition: the partition.
        s3: the engine.
        journal: takes the outcomes.
        allowance: what the engine may use; changes meanwhile.
        checkpoint_rows: outcomes that may be waiting to be written.
        halt: once it is set, nothing new is begun.
        on_progress: called as outcomes come.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        job: Job,
        partition: Partition,
        s3: S3Engine,
        journal: Journal,
        *,
        allowance: Allowance,
        checkpoint_rows: int,
        halt: asyncio.Event,
        on_progress: Callable[[Progress], None],
        clock: Callable[[], float],
    ) -> None:
        self._job = job
        self.partition = partition
        self._s3 = s3
        self._journal = journal
        self._done_before = journal.rows
        self._checkpoint_rows = checkpoint_rows
        self._allowance = allowance
        self._halt = halt
        self._on_progress = on_progress
        self._clock = clock
        self._meter = Meter(partition.rows, len(journal.rows), clock())
        self._read = 0
        self._fed = 0
        self._broken: ManifestError | None = None

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        return self._meter.add(0, 0, self._clock())

    @property
    def counts(self) -> Counts:
        """Rows that have succeeded by now, and that have failed in this attempt."""
        progress = self.progress
        return Counts(progress.done - progress.failed, progress.failed)

    async def to_its_end(self, on_counts: Callable[[Counts], None]) -> None:
        """Run it; every row of the partition is committed when this returns.

        Args:
            on_counts: called with the counts as they grow.
        """
        self._on_counts = on_counts
        if before := len(self._done_before):
            rest = counted(self.partition.rows - before, "object")
            log.info("%s succeeded before; this run goes on with the other %s", f"{before:,}", rest)
        collecting = asyncio.create_task(self._collect())
        keeping = asyncio.create_task(self._journal.keep())
        stopping = asyncio.create_task(self._halt.wait())
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
        if self._halt.is_set():
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
            await in_time(self._journal.write_rest(), _SAVING)
        except (S3BatchError, asyncio.TimeoutError) as error:
            log.warning(
                "The outcomes since the last checkpoint could not be written; they will be done again: %s", error
            )

    async def _collect(self) -> None:
        operation = self._job.spec.operation
        async with (
            aclosing(self._entries()) as entries,
            aclosing(self._s3.run(entries, operation, stop=self._halt, allowance=self._allowance)) as outcomes,
        ):
            async for some in outcomes:
                failures = self._journal.add(some)
                self._on_progress(self._meter.add(len(some), failures, self._clock(), self._journal.tally.codes))
                self._on_counts(self.counts)

    async def _entries(self) -> AsyncGenerator[list[Entry], None]:
        """What the engine is fed with: the rows that haven't succeeded, while there is room for their outcomes."""
        try:
            columns = self._job.spec.operation.manifest_columns
            async for entries in self._job.spec.manifest.read(self._s3, self.partition, columns):
                self._read += len(entries)
                pending = self._done_before.pending(entries)
                at = 0
                while at < len(pending):
                    some = pending[at : at + await self._room()]
                    if self._halt.is_set():
                        return
                    at += len(some)
                    self._fed += len(some)
                    yield some
        except ManifestError as error:
            # Not raised here: it would tear down what is in flight.
            self._broken = error
            if isinstance(error, ManifestChanged):  # what was read before it and isn't begun yet, stays so
                self._halt.set()

    async def _room(self) -> int:
        """How many entries may be fed now. Waits until some may, or the run is to stop."""
        while True:
            in_flight = self._in_flight
            room = self._checkpoint_rows + in_flight - (self._fed - self._journal.committed)
            if room > 0 or self._halt.is_set():
                # As much as keeps the engine busy; entries that only wait there would take room from outcomes.
                return min(room, max(_HANDFUL, in_flight))
            await self._journal.changed()

    @property
    def _in_flight(self) -> int:
        """Most rows that the engine may be at."""
        spec = self._job.spec
        return spec.operation.rows_in_flight(self._allowance.in_flight or spec.limits.in_flight)

    def _check(self) -> None:
        """See that every row has its outcome.

        Raises:
            Stopped, ManifestError: some have none, because of the stop, or because the manifest hasn't given them.
        """
        rows, done = self.partition.rows, len(self._journal.rows)
        if done == rows and self._read == rows:
            return
        where = f"job {self._job.job_id}, partition {self.partition.number}"
        if self._halt.is_set():
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
