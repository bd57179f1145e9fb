"""`take`: the right to run a partition, which one run has at a time.

A run claims the partition's ``attempt.json`` under a name of its own, and leaves a sign of life while it runs. Who
finds a claim that hasn't ended waits until it does, or until no sign has come for longer than a run that lives would
take; then it claims the partition itself. Of two that claim at once, S3 refuses one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import uuid

from airflow_s3batch.core.errors import JobConflict, Stopped
from airflow_s3batch.core.folder.checkpoint import Attempt, Counts
from airflow_s3batch.core.folder.documents import Document
from airflow_s3batch.core.folder.sign import LIVES, Sign
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.folder.summary import Summary
from airflow_s3batch.core.waiting import happens

__all__ = ["Lease", "take"]

log = logging.getLogger(__name__)

_PATIENCE = 20
"""Beats that a run which lives is waited for."""


class Lease:
    """The right to run a partition.

    Args:
        folder: the job's.
        partition: the partition's number.
        attempt: the claim.
        etag: the claim's.
    """

    def __init__(self, folder: JobFolder, partition: int, attempt: Attempt, etag: str) -> None:
        self.folder = folder
        self.partition = partition
        self.attempt = attempt
        self._claim = etag
        self._sign: str | None = None

    async def renew(self, sign: Sign) -> None:
        """Leave a sign of life.

        Raises:
            JobConflict: the right is another run's by now.
        """
        etag = self._sign and await self.folder.replace_sign(self.partition, sign, self._sign)
        if not etag:
            # There is another one: of a run that has taken over, or of one that doesn't know yet that this one has; or
            # this one's, written although its answer never came. Signs don't tell whose the partition is.
            found = await self.folder.find_sign(self.partition)
            await self.confirm()
            etag = await self.folder.replace_sign(self.partition, sign, None if found is None else found.etag)
        self._sign = etag

    async def confirm(self) -> None:
        """See that the right is still this run's: before anything is committed that another run would do again.

        Raises:
            JobConflict: it is another run's.
        """
        found = await self.folder.find_attempt(self.partition)
        if found is None or found.value.owner != self.attempt.owner:
            raise self._lost()

    async def end(self, attempt: Attempt) -> None:
        """Write down how the attempt has come to a stop, which gives the right back.

        Raises:
            JobConflict: the right is another run's by now.
        """
        await self.confirm()  # a store without conditional writes would let it write over the other's end
        ended = dataclasses.replace(attempt, owner=self.attempt.owner, opened=self.attempt.opened)
        if not await self.folder.replace_attempt(self.partition, ended, self._claim):
            raise self._lost()

    async def end_sign(self) -> None:
        """Take the sign of life away, once the run has come to a stop."""
        if self._sign is not None and await self.folder.end_sign(self.partition, self._sign):
            return
        found = await self.folder.find_sign(self.partition)  # the answer to the last one may never have been read
        if found is not None and found.value is not None and found.value.owner == self.attempt.owner:
            await self.folder.end_sign(self.partition, found.etag)

    def _lost(self) -> JobConflict:
        return JobConflict(
            f"job {self.folder.job_id}, partition {self.partition}: another run has taken it over, since this one had "
            "shown no sign of life; that one goes on from what both have done"
        )


async def take(
    folder: JobFolder, partition: int, *, opened: int, stop: asyncio.Event, beat: float, ended: int = 0
) -> Lease | Summary:
    """Claim a partition; or find that all its objects have succeeded, or that another run has done it meanwhile.

    Args:
        folder: the job's.
        partition: the partition's number.
        opened: how often the job has been opened (`JobState.opened`).
        stop: once it is set, nothing is waited for.
        beat: seconds between two signs of life of a run.
        ended: the number of the attempt that had ended when this run began, 0 if none had. Where a later one has come
            to its end, that is the end of this run as well: its failures aren't done again unasked.

    Raises:
        JobConflict: another run lives on.
        Stopped: `stop` was set.
    """
    owner = uuid.uuid4().hex
    waited = 0
    while True:
        found = await folder.find_attempt(partition)
        if found is not None and (done := _done(found.value, ended)):
            return done
        silence = None if found is None or found.value.over else await _silence(folder, partition, found)
        if silence is None or silence >= LIVES * beat:
            attempt = Attempt(number=found.value.number + 1 if found is not None else 1, owner=owner, opened=opened)
            claim = await folder.replace_attempt(partition, attempt, found.etag if found is not None else None)
            if claim:
                return await _begun(Lease(folder, partition, attempt, claim), before=found)
            continue
        if waited == 0:
            log.info("Partition %d is being run by another run, or was until it was killed; waiting", partition)
        if waited >= _PATIENCE:
            raise JobConflict(
                f"job {folder.job_id}, partition {partition}: another run of it is alive (its last sign of life is "
                f"{silence:.0f} s old); let that one end, or end it, and run this again"
            )
        waited += 1
        if await happens(stop, min(beat, LIVES * beat - silence + 0.1)):
            raise Stopped(f"job {folder.job_id}, partition {partition}: stopped before it began; run it again")


def _done(attempt: Attempt, ended: int) -> Summary | None:
    return attempt.summary if attempt.number > ended else attempt.finished


async def _begun(lease: Lease, *, before: Document[Attempt] | None) -> Lease:
    """Have the lease show life at once, whatever is read before the run; with what had succeeded before."""
    attempt, sign = lease.attempt, await lease.folder.read_sign(lease.partition)
    known = sign or (None if before is None else before.value)
    await lease.renew(
        Sign(
            owner=attempt.owner,
            attempt=attempt.number,
            opened=attempt.opened,
            counts=Counts(0, 0) if known is None else known.counts._replace(failed=0),
            rate=0.0,
            spans=() if known is None else known.spans,
        )
    )
    return lease


async def _silence(folder: JobFolder, partition: int, claim: Document[Attempt]) -> float:
    """Seconds since the last sign of life of the run that has claimed the partition."""
    sign = await folder.find_sign(partition)
    last = claim.modified
    if sign is not None and sign.value is not None and sign.value.owner == claim.value.owner:
        last = max(last, sign.modified)
    return max(0.0, await folder.read_clock() - last)
