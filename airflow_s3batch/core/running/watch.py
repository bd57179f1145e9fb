"""`Watch`: what goes on beside a partition's run, so that it obeys what happens to the job elsewhere.

The partitions run anywhere and know nothing of each other but the job's folder. Every few seconds each of them leaves
its sign of life there, counts the fresh ones of the others (for its share of the job's requests a second), and reads
what a person wants: the job's status, and its limits. The two lowest-numbered of those that run keep the job's books:
they add up all counts, and have the job fail when too many objects do. Once a second each looks whether the manifest is
still the pinned one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice
from typing import Any

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import (
    JobCancelled,
    JobConflict,
    JobFailed,
    ManifestChanged,
    ManifestError,
    Paused,
    S3BatchError,
)
from airflow_s3batch.core.folder.checkpoint import Counts
from airflow_s3batch.core.folder.documents import Listed
from airflow_s3batch.core.folder.sign import LIVES, Sign
from airflow_s3batch.core.folder.status import THRESHOLD_PASSED, FailureReason, JobState
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.manifest.object import ManifestObject
from airflow_s3batch.core.running.lease import Lease
from airflow_s3batch.core.waiting import happens, in_time

__all__ = ["Watch", "admit", "alive", "settle_pause"]

log = logging.getLogger(__name__)

_BOOKKEEPERS = 2
"""Partitions that keep the books: when one dies, nobody has to notice first."""
_KEEPS_BOOKS = 2.5
"""Beats after which a run without a sign of life no longer keeps the books, so that soon another does."""
_GONE = frozenset({"NoSuchKey", "NoSuchVersion"})
_PATIENCE = 3.0
"""Beats that one look may take."""
_HURRY = 1.0
"""Least seconds between two looks, however urgent."""
_MANIFEST_EVERY = 1.0
"""Seconds between two looks at the manifest: of a change under a running job, that is how long objects go on."""
_FILES_A_LOOK = 8
"""Objects of the manifest that a look is at; where a partition has more, looks take them in turn."""


async def admit(folder: JobFolder, job: Job, now: Callable[[], datetime]) -> JobState:
    """Have the job be Active, as a run begins; return where it stands.

    Raises:
        Paused: it is paused.
        JobCancelled, JobFailed: it is being cancelled or failing, or was cancelled.
        JobConflict: it isn't ready to run.
        ReportError: the folder can't be read or written.
    """

    def active(state: JobState | None) -> JobState:
        if state is None:
            state = JobState(job_id=job.job_id, status=JobStatus.READY, created=job.created, total=job.total)
        if state.status is not JobStatus.FAILED and (verdict := _verdict(state)):
            raise verdict
        return state if state.status is JobStatus.ACTIVE else state.moved(JobStatus.ACTIVE, at=now())

    return await folder.change_state(active)


async def settle_pause(folder: JobFolder, beat: float, now: Callable[[], datetime], at: float | None = None) -> None:
    """Have a job that is Pausing be Paused, if no partition runs any more.

    Args:
        folder: the job's.
        beat: seconds between two signs of life of a run.
        now: the time.
        at: the time by S3's clock; None for that of the newest sign.

    Raises:
        ReportError: the folder can't be read or written.
    """
    before = await folder.read_state()
    if before is None or before.status is not JobStatus.PAUSING:
        return
    signs = await folder.list_signs()
    if at is None:
        at = max((sign.modified for sign in signs.values()), default=0.0)
    if not alive(signs, at, LIVES * beat):
        await folder.change_state(lambda state: _paused(state or before, now))


def _paused(state: JobState, now: Callable[[], datetime]) -> JobState:
    pausing = state.status is JobStatus.PAUSING
    return state.moved(JobStatus.PAUSED, at=now(), reason=state.reason) if pausing else state


def alive(signs: dict[int, Listed], at: float, seconds: float) -> list[int]:
    """The partitions that run: those whose sign isn't older than so many seconds, and doesn't say that it is over."""
    return sorted(number for number, sign in signs.items() if sign.size and sign.modified >= at - seconds)


def _verdict(state: JobState) -> S3BatchError | None:
    """Why a run has to stop, None if it hasn't to."""
    if state.status in {JobStatus.PAUSING, JobStatus.PAUSED}:
        return Paused(f"job {state.job_id} is {state.status.value}" + (f": {state.reason}" if state.reason else ""))
    if state.status in {JobStatus.CANCELLING, JobStatus.CANCELLED}:
        return JobCancelled(state.job_id, state.reason)
    if state.status in {JobStatus.FAILING, JobStatus.FAILED}:
        return JobFailed(state.job_id, state.failures)
    return None


class Watch:
    """Keeps one run in step with its job.

    Args:
        job: the job.
        lease: the run's.
        s3: S3.
        sign: makes the sign of life of now.
        allowance: is set to what the run may use.
        halt: is set when the run has to stop; `verdict` is why then.
        beat: seconds between two looks.
        now: the time.
    """

    def __init__(
        self,
        job: Job,
        lease: Lease,
        s3: S3Calls,
        *,
        sign: Callable[[], Sign],
        allowance: Allowance,
        halt: asyncio.Event,
        beat: float,
        now: Callable[[], datetime],
    ) -> None:
        self._job = job
        self._lease = lease
        self._s3 = s3
        self._folder = lease.folder
        self._number = lease.partition
        self._opened = lease.attempt.opened
        self._sign = sign
        self._allowance = allowance
        self._halt = halt
        self._beat = beat
        self._now = now
        self._urgent = asyncio.Event()
        self._told: dict[int, tuple[Listed, Counts]] = {}
        self._manifest: deque[ManifestObject] = deque()
        self._lost = False
        self.verdict: S3BatchError | None = None
        """Why the run has to stop."""

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None, None]:
        """Look once, and then again and again."""
        limits = self._job.spec.limits
        if limits.requests_per_second is not None:  # until the others are counted
            self._allowance.requests_per_second = limits.requests_per_second / len(self._job.partitions)
        # Each by itself: whatever hangs or is refused, a run does the others.
        await asyncio.gather(*map(self._tried, (self._show(), self._obey(), self._see_others(), self._see_manifest())))
        loops = (self._keep_showing(), self._keep_obeying(), self._keep_counting(), self._keep_to_manifest())
        beside = [asyncio.create_task(loop) for loop in loops]
        for task in beside:
            task.add_done_callback(self._ended)
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            for end in await asyncio.gather(*beside, return_exceptions=True):
                if isinstance(end, Exception):  # a fault of ours; not to be passed over
                    raise end

    def suspect(self, counts: Counts) -> None:
        """Look soon, if so many failures of this partition's own may be too many for the job."""
        threshold = self._job.spec.threshold
        if threshold is not None and threshold.is_passed(sum(counts), counts.failed):
            self._urgent.set()

    async def end(self) -> None:
        """Take the sign of life away; of a job that is pausing, the last that does has it Paused."""
        try:
            await self._lease.end_sign()
            await settle_pause(self._folder, self._beat, self._now)
        except S3BatchError as error:
            log.warning("The sign of life could not be taken away; it will go stale: %s", error)

    async def _keep_showing(self) -> None:
        while not self._lost:
            await asyncio.sleep(self._beat)
            await self._tried(self._show())

    async def _keep_obeying(self) -> None:
        while self.verdict is None:
            await asyncio.sleep(self._beat)
            await self._tried(self._obey(), beats=1)

    async def _keep_counting(self) -> None:
        while self.verdict is None:
            await asyncio.sleep(min(_HURRY, self._beat))
            await happens(self._urgent, max(0.0, self._beat - _HURRY))
            self._urgent.clear()
            await self._tried(self._see_others())

    async def _tried(self, work: Coroutine[Any, Any, None], *, beats: float = _PATIENCE) -> None:
        try:
            await in_time(work, beats * self._beat)
        except asyncio.TimeoutError:
            log.warning("S3 doesn't answer; going on with what is known")
        except S3BatchError as error:
            log.warning("S3 refuses; going on with what is known: %s", error)

    async def _show(self) -> None:
        """Leave a sign of life, also while a run that has to stop saves what it did."""
        try:
            await self._lease.renew(self._sign())
        except JobConflict as lost:
            self._lost = True
            self._stop(lost)

    async def _obey(self) -> None:
        state = await self._folder.read_state()
        if state is not None and (verdict := _verdict(state)):
            self._stop(verdict)

    async def _see_others(self) -> None:
        """Count those that run, and set what this one may use; keep the books, if it is one of the first."""
        signs, overrides = await self._folder.list_signs(), await self._folder.read_overrides()
        at = max((sign.modified for sign in signs.values()), default=0.0)
        running = alive(signs, at, LIVES * self._beat)
        limits = overrides.on(self._job.spec.limits)
        self._allowance.in_flight = limits.in_flight
        rate = limits.requests_per_second
        self._allowance.requests_per_second = None if rate is None else rate / max(1, len(running))
        keepers = alive(signs, at, _KEEPS_BOOKS * self._beat)[:_BOOKKEEPERS]
        if not keepers or self._number in keepers:
            await self._keep_books(signs)

    async def _keep_to_manifest(self) -> None:
        """Stop at a change that reading would find later, or never: it is some thousand rows ahead of the objects."""
        while self.verdict is None:
            await asyncio.sleep(min(_MANIFEST_EVERY, self._beat))
            await self._tried(self._see_manifest())

    async def _see_manifest(self) -> None:
        try:
            if not self._manifest:
                partition = self._job.partitions[self._number]
                self._manifest += await self._job.spec.manifest.pinned_objects(self._s3, partition)
            looked_at = list(islice(self._manifest, _FILES_A_LOOK))
            self._manifest.rotate(-len(looked_at))
            await each(lambda one: one.looked_at(self._s3), looked_at)
        except ManifestError as error:
            if not isinstance(error, ManifestChanged) and error.code not in _GONE:
                raise
            self._stop(error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A fault of ours in what goes on beside the run: it would be deaf from now on, and so it stops."""
        if not task.cancelled() and task.exception() is not None:
            self._halt.set()

    def _stop(self, verdict: S3BatchError) -> None:
        self.verdict = self.verdict or verdict
        self._halt.set()

    async def _keep_books(self, signs: dict[int, Listed]) -> None:
        """Add up what all partitions have counted; have the job fail if too many objects have failed."""
        threshold = self._job.spec.threshold
        if threshold is None:
            return
        numbers = [number for number in signs if number != self._number]
        counts = [self._sign().counts, *await each(lambda number: self._counts(number, signs[number]), numbers)]
        ran, failed = sum(map(sum, counts)), sum(count.failed for count in counts)
        if not threshold.is_passed(ran, failed):
            return
        state = await self.fail(FailureReason(THRESHOLD_PASSED, threshold.told(ran, failed)))
        if verdict := _verdict(state):
            self._stop(verdict)

    async def fail(self, reason: FailureReason) -> JobState:
        """Have the job fail, so that all its partitions stop; return where it stands then.

        Raises:
            ReportError: the folder can't be read or written.
        """
        return await self._folder.change_state(lambda state: self._failing(state, reason))

    def _failing(self, state: JobState | None, reason: FailureReason) -> JobState:
        if state is None:
            state = JobState(
                job_id=self._job.job_id, status=JobStatus.ACTIVE, created=self._job.created, total=self._job.total
            )
        if state.status in {JobStatus.FAILING, JobStatus.FAILED, JobStatus.CANCELLING, JobStatus.CANCELLED}:
            return state
        return state.moved(JobStatus.FAILING, at=self._now(), failures=[reason])

    async def _counts(self, number: int, listed: Listed) -> Counts:
        """What a partition has counted since the job was opened last; failures before that are done again."""
        told, counts = self._told.get(number, (None, Counts(0, 0)))
        if told != listed:
            one = await (self._folder.read_sign(number) if listed.size else self._folder.read_attempt(number))
            if one is not None:
                counts = one.counts if one.opened >= self._opened else one.counts._replace(failed=0)
            self._told[number] = (listed, counts)
        return counts
