"""`Journal`: takes the outcomes of one attempt at a partition, and writes them in batches while the engine goes on.

One batch is being written while the next one fills. A batch is result files first, and then the checkpoint that
commits them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from airflow_s3batch.core.errors import JobConflict
from airflow_s3batch.core.folder.checkpoint import Checkpoint, History, ResultFile, Span
from airflow_s3batch.core.folder.rowset import RowSet
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.folder.tally import Tally
from airflow_s3batch.core.results import result_rows
from airflow_s3batch.core.rows import Outcome
from airflow_s3batch.core.waiting import happens

__all__ = ["Journal"]


class _Sealed(NamedTuple):
    """A batch as it will be written."""

    number: int
    succeeded: RowSet
    failed: RowSet
    rows: RowSet
    """Both."""
    bodies: tuple[tuple[bytes, bool], ...]
    """Content of a result file, and whether its rows succeeded."""
    tally: Tally
    span: Span


class Journal:
    """The record of one attempt at a partition.

    Args:
        folder: the job's folder.
        partition: the partition's number.
        attempt: this attempt's number.
        history: what the attempts before have left.
        batch_rows: a batch is written when it has so many outcomes …
        batch_seconds: … or after so many seconds.
        report_succeeded: whether objects that succeeded have rows in the report.
        confirm: asked before a checkpoint is written; raises JobConflict if this attempt may write no more.
        time: Unix seconds.
    """

    def __init__(
        self,
        folder: JobFolder,
        partition: int,
        attempt: int,
        history: History,
        *,
        batch_rows: int,
        batch_seconds: float,
        report_succeeded: bool,
        confirm: Callable[[], Awaitable[None]],
        time: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._partition = partition
        self.attempt = attempt
        """This attempt's number."""
        self._batch_rows = batch_rows
        self._batch_seconds = batch_seconds
        self._report_succeeded = report_succeeded
        self._confirm = confirm
        self._time = time
        self._began = time()
        self._checkpoints = history.checkpoints
        self._due = asyncio.Event()
        self._changed = asyncio.Event()
        self._closing = False
        self._sealed: _Sealed | None = None
        self._begin_batch()
        self.rows = history.succeeded
        """Rows that are committed: those that had succeeded before, and all that this attempt has done."""
        self.committed = 0
        """How many rows of this attempt are committed."""
        self.tally = Tally()
        """Of this attempt, as far as committed."""
        self.files: list[ResultFile] = []
        """Of this attempt, as far as committed."""

    @property
    def span(self) -> Span:
        """From the attempt's start until now."""
        return Span(self._began, self._time())

    def add(self, outcomes: list[Outcome]) -> int:
        """Take in outcomes; return how many of them are failures."""
        succeeded = [outcome for outcome in outcomes if outcome[1]]
        if succeeded:
            self._succeeded += [outcome[0][0] for outcome in succeeded]
            if self._report_succeeded:
                self._succeeded_rows.append(result_rows(succeeded))
        failures = len(outcomes) - len(succeeded)
        if failures:
            self._failures += [outcome for outcome in outcomes if not outcome[1]]
        if len(self._succeeded) + len(self._failures) >= self._batch_rows:
            self._due.set()
        return failures

    async def keep(self) -> None:
        """Write batches as they become due, until `close`.

        Raises:
            ReportError: they can't be written.
            JobConflict: another run writes this partition's history, or a row has two outcomes.
        """
        while not self._closing:
            await happens(self._due, self._batch_seconds)
            self._due.clear()
            await self._write_batch()

    def flush(self) -> None:
        """Have what there is written now, by `keep`."""
        self._due.set()

    def close(self) -> None:
        """Let `keep` end, after what there is."""
        self._closing = True
        self._due.set()

    async def write_rest(self) -> None:
        """Once `keep` has ended: write what it may have been stopped at, and what there is.

        Raises:
            ReportError, JobConflict: as `keep`.
        """
        await self._write_batch()
        await self._write_batch()

    async def changed(self) -> None:
        """Wait until more rows are committed (or `wake` is called)."""
        self._changed.clear()
        await self._changed.wait()

    def wake(self) -> None:
        """Let who waits for `changed` go."""
        self._changed.set()

    def _begin_batch(self) -> None:
        self._succeeded: list[int] = []
        self._succeeded_rows: list[bytes] = []
        self._failures: list[Outcome] = []

    async def _write_batch(self) -> None:
        # A batch stays sealed until it is committed: if this is cancelled in the middle, the next call writes the same
        # bytes again.
        if self._sealed is None:
            self._sealed = self._seal()
        sealed = self._sealed
        if sealed is None:
            return
        batch = f"{self._partition}/{self.attempt}/{sealed.number}"
        writing = [
            self._folder.write_result(body, succeeded=succeeded, batch=batch) for body, succeeded in sealed.bodies
        ]
        files = await asyncio.gather(*writing)
        await self._confirm()
        await self._folder.write_checkpoint(
            self._partition,
            Checkpoint(
                number=sealed.number,
                attempt=self.attempt,
                succeeded=sealed.succeeded,
                failed=sealed.failed,
                files=tuple(files),
                span=sealed.span,
            ),
        )
        self._commit(sealed, files)

    def _seal(self) -> _Sealed | None:
        succeeded, rows = self._succeeded, self._succeeded_rows
        # In the order of their rows: which line of the file is which row's, the checkpoint tells thereby.
        failures = sorted(self._failures, key=lambda outcome: outcome.entry.row)
        if not succeeded and not failures:
            return None
        self._begin_batch()
        self._checkpoints += 1
        done, failed = RowSet(succeeded), RowSet([outcome[0][0] for outcome in failures])
        bodies = [(b"".join(rows), True)] if rows else []
        if failures:
            bodies.append((result_rows(failures), False))
        sealed = _Sealed(
            self._checkpoints,
            done,
            failed,
            done | failed,
            tuple(bodies),
            Tally.of(len(succeeded), failures),
            self.span,
        )
        self._check(sealed, len(succeeded) + len(failures))
        return sealed

    def _check(self, sealed: _Sealed, outcomes: int) -> None:
        if len(self.rows | sealed.rows) != len(self.rows) + outcomes:
            raise JobConflict(
                f"job {self._folder.job_id}, partition {self._partition}: a row got two outcomes; "
                f"nothing of checkpoint {sealed.number} is committed"
            )

    def _commit(self, sealed: _Sealed, files: list[ResultFile]) -> None:
        self._sealed = None
        self.rows |= sealed.rows
        self.committed += sealed.tally.succeeded + sealed.tally.failed
        self.tally += sealed.tally
        self.files += files
        self._changed.set()
