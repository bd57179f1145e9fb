"""`run_partition`: one partition's entries through the engine, its outcomes into the job's folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from airflow_s3batch.core.engine.promise import S3Engine
from airflow_s3batch.core.errors import InvalidInput, ManifestChanged, S3BatchError, Stopped
from airflow_s3batch.core.folder.checkpoint import Attempt, Counts, Halt, History, Span
from airflow_s3batch.core.folder.sign import BEAT, Sign
from airflow_s3batch.core.folder.status import MANIFEST_CHANGED, FailureReason, utc_now
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.folder.summary import Summary
from airflow_s3batch.core.folder.tally import Tally
from airflow_s3batch.core.job import Job
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.operations.base import RUNNING_JOB, RUNNING_NOTES, RUNNING_SINCE
from airflow_s3batch.core.running.journal import Journal
from airflow_s3batch.core.running.lease import Lease, take
from airflow_s3batch.core.running.progress import Progress
from airflow_s3batch.core.running.watch import Watch, admit
from airflow_s3batch.core.running.work import Work
from airflow_s3batch.core.waiting import in_time

__all__ = ["run_partition"]

log = logging.getLogger(__name__)

_ENDING = 10.0
"""Seconds to write down how a run has come to a stop, when it fails anyway."""


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
    beat: float = BEAT,
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
        beat: seconds between two looks at the job's folder, which are signs of life: a run without one for five times
            as long counts as dead.
        clock: monotonic seconds.
        now: the time.

    Raises:
        Stopped: `stop` was set before the end.
        Paused: the job is paused; run the partition again once it is resumed.
        JobFailed: too many of the job's objects have failed; `JobCancelled` if somebody has cancelled it.
        ManifestError: the manifest changed, or can't be read any more. What was in flight is written down.
        ReportError: the folder can't be written.
        JobConflict: another run of the same partition is alive, or the job isn't ready to run.
        Unreachable: S3 can't be reached any more.
    """
    if not 0 <= number < len(job.partitions):
        raise InvalidInput(f"job {job.job_id} has partitions 0 to {len(job.partitions) - 1}, not {number}")
    folder, halt = JobFolder.of(s3, job), asyncio.Event()
    RUNNING_JOB.set(job.job_id)
    RUNNING_SINCE.set(datetime.fromisoformat(job.created.replace("Z", "+00:00")))
    RUNNING_NOTES.set(folder)
    latest = await folder.read_attempt(number)
    if latest is not None and (done := latest.finished):
        log.info("Partition %d has been done before, without a failure", number)
        return done
    async with _relayed(stop, halt):
        state = await admit(folder, job, now)
        ended = latest.number if latest is not None and latest.over else 0
        lease = await take(folder, number, opened=state.opened, stop=halt, beat=beat, ended=ended)
        if isinstance(lease, Summary):
            return lease
        history = await _read_history(lease)
        journal = Journal(
            folder,
            number,
            max(lease.attempt.number, history.attempts + 1),
            history,
            batch_rows=max(1, checkpoint_rows // 2),
            batch_seconds=checkpoint_seconds,
            report_succeeded=job.spec.report.scope == "AllTasks",
            confirm=lease.confirm,
            time=lambda: now().timestamp(),
        )
        allowance = Allowance()
        work = Work(
            job,
            job.partitions[number],
            s3,
            journal,
            allowance=allowance,
            checkpoint_rows=checkpoint_rows,
            halt=halt,
            on_progress=on_progress,
            clock=clock,
        )
        run = _Run(lease, history, journal, work, clock)
        return await run.to_its_end(
            Watch(job, lease, s3, sign=run.sign, allowance=allowance, halt=halt, beat=beat, now=now)
        )


class _Run:
    """One attempt at a partition, from the claim to what is written at its end."""

    def __init__(
        self, lease: Lease, history: History, journal: Journal, work: Work, clock: Callable[[], float]
    ) -> None:
        self._lease = lease
        self._history = history
        self._journal = journal
        self._work = work
        self._clock = clock
        self._began = clock()

    def sign(self) -> Sign:
        """The sign of life of now."""
        attempt = self._lease.attempt
        return Sign(
            owner=attempt.owner,
            attempt=self._journal.attempt,
            opened=attempt.opened,
            counts=self._work.counts,
            rate=self._work.progress.rate,
            spans=self._spans,
        )

    async def to_its_end(self, watch: Watch) -> Summary:
        """Run it, with the watch beside it, and write down how it ended."""
        try:
            async with watch.kept():
                await self._work.to_its_end(watch.suspect)
            summary = self._summary()
            await self._lease.end(
                Attempt(
                    number=self._journal.attempt,
                    summary=summary,
                    files=(*self._history.files, *self._journal.files),
                    spans=self._spans,
                )
            )
        except Stopped as stopped:
            why = watch.verdict or stopped
            await self._stop(why, watch)
            raise why from stopped
        except BaseException as error:
            await self._stop(error, watch)
            raise
        await watch.end()
        return summary

    async def _stop(self, why: BaseException, watch: Watch) -> None:
        """Write down how the attempt came to a stop, if that can be done quickly, so that nobody has to wait for it."""
        halt = Halt(FailureReason.of(why), self._work.counts)
        try:
            await in_time(self._say_stopped(halt, watch, final=isinstance(why, ManifestChanged)), _ENDING)
        except (S3BatchError, asyncio.TimeoutError) as error:
            log.warning("That the run has stopped could not be written down; the next one will wait a while: %s", error)

    async def _say_stopped(self, halt: Halt, watch: Watch, *, final: bool) -> None:
        if final:
            await watch.fail(halt.cause._replace(code=MANIFEST_CHANGED))
        await self._lease.end(Attempt(number=self._journal.attempt, halt=halt, spans=self._spans))
        await watch.end()

    def _summary(self) -> Summary:
        skipped = len(self._history.succeeded)
        return Summary(
            partition=self._lease.partition,
            attempt=self._journal.attempt,
            rows=self._work.partition.rows,
            skipped=skipped,
            elapsed_seconds=round(self._clock() - self._began, 3),
            tally=Tally(succeeded=skipped) + self._journal.tally,
        )

    @property
    def _spans(self) -> tuple[Span, ...]:
        return (*self._history.spans, self._journal.span)


async def _read_history(lease: Lease) -> History:
    """What the attempts before have left; the partition is given back if that can't be read."""
    try:
        return History.of(await lease.folder.read_checkpoints(lease.partition))
    except S3BatchError as error:
        halt = Halt(FailureReason.of(error), Counts(0, 0))
        with contextlib.suppress(S3BatchError, asyncio.TimeoutError):
            await in_time(lease.end(Attempt(number=lease.attempt.number, halt=halt)), _ENDING)
            await in_time(lease.end_sign(), _ENDING)
        raise


@asynccontextmanager
async def _relayed(stop: asyncio.Event | None, halt: asyncio.Event) -> AsyncGenerator[None, None]:
    """Set `halt` once `stop` is set."""
    if stop is None:
        yield
        return
    if stop.is_set():
        halt.set()
    relaying = asyncio.create_task(_relay(stop, halt))
    try:
        yield
    finally:
        relaying.cancel()
        await asyncio.gather(relaying, return_exceptions=True)


async def _relay(stop: asyncio.Event, halt: asyncio.Event) -> None:
    await stop.wait()
    halt.set()
