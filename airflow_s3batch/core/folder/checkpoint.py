"""What a partition's runs leave behind: `Checkpoint`s, each the commit marker of a batch, and the latest `Attempt`.

Every run of a partition is an attempt: it does all rows that haven't succeeded before, those that failed included. So
when an attempt has run to its end, the rows that succeeded in any attempt and those that failed in this one are exactly
one row an object. Of an attempt that was stopped in the middle, what the checkpoints say of every row last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_s3batch.core.folder.rowset import RowSet
from airflow_s3batch.core.folder.status import FailureReason
from airflow_s3batch.core.folder.summary import Summary
from airflow_s3batch.core.values import as_written

__all__ = ["Attempt", "Checkpoint", "Counts", "Halt", "History", "ResultFile", "Span", "Unsettled", "covered_seconds"]

log = logging.getLogger(__name__)


class Span(NamedTuple):
    """A time in which a partition ran: Unix seconds."""

    began: float
    ended: float


def covered_seconds(spans: Iterable[Span]) -> float:
    """Seconds that at least one of the spans covers."""
    covered, until = 0.0, float("-inf")
    for began, ended in sorted(spans):
        covered += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return covered


class Counts(NamedTuple):
    """How many rows have which outcome."""

    succeeded: int
    """In this attempt or an earlier one."""
    failed: int
    """In this attempt."""


class ResultFile(NamedTuple):
    """A file of report rows, all succeeded or all failed."""

    name: str
    """40 hex digits, without folder and ``.csv``."""
    succeeded: bool
    md5: str
    """Hex."""


def _files(files: Iterable[ResultFile]) -> list[dict[str, Any]]:
    return [{"Name": name, "Succeeded": succeeded, "MD5": md5} for name, succeeded, md5 in files]


def _read_files(told: Iterable[dict[str, Any]]) -> tuple[ResultFile, ...]:
    return tuple(ResultFile(file["Name"], file["Succeeded"], file["MD5"]) for file in told)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The commit marker of a batch of outcomes: these rows have them, and these files tell them."""

    number: int
    """From 1, through all attempts at the partition."""
    attempt: int
    succeeded: RowSet
    failed: RowSet
    files: tuple[ResultFile, ...]
    span: Span
    """From the attempt's start to this checkpoint."""

    def to_json(self) -> dict[str, Any]:
        """The checkpoint as JSON."""
        return {
            "Checkpoint": self.number,
            "Attempt": self.attempt,
            "Succeeded": {"Count": len(self.succeeded), "Rows": str(self.succeeded)},
            "Failed": {"Count": len(self.failed), "Rows": str(self.failed)},
            "Files": _files(self.files),
            "Span": list(self.span),
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Checkpoint:
        """Read what `to_json` wrote.

        Raises:
            InvalidInput: it isn't that.
        """
        with as_written("a checkpoint"):
            return cls(
                number=told["Checkpoint"],
                attempt=told["Attempt"],
                succeeded=RowSet.parse(told["Succeeded"]["Rows"]),
                failed=RowSet.parse(told["Failed"]["Rows"]),
                files=_read_files(told["Files"]),
                span=Span(*told["Span"]),
            )


class Halt(NamedTuple):
    """How an attempt came to a stop before its end."""

    cause: FailureReason
    counts: Counts


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The latest attempt at a partition. One with neither summary nor halt runs, or was killed."""

    number: int
    opened: int = 1
    """How often the job had been opened when it began (`JobState.opened`)."""
    owner: str = ""
    """Tells this run from any other: only it may write, until it has come to an end or has shown no sign of life."""
    summary: Summary | None = None
    """None until the attempt has run to its end."""
    halt: Halt | None = None
    """How it stopped before that, where it could still be written down."""
    files: tuple[ResultFile, ...] = ()
    """Once it has run to its end: all files that tell of the partition's rows, each row once."""
    spans: tuple[Span, ...] = ()
    """When the partition ran, all attempts; once it has come to a stop."""

    @property
    def over(self) -> bool:
        """Whether it has said that it came to a stop."""
        return self.summary is not None or self.halt is not None

    @property
    def finished(self) -> Summary | None:
        """Its summary, if nothing is left to do: it has run to its end, without a failure."""
        return self.summary if self.summary is not None and not self.summary.tally.failed else None

    @property
    def counts(self) -> Counts:
        """Rows that succeeded and failed, as far as the attempt has told."""
        if self.summary is not None:
            return Counts(self.summary.tally.succeeded, self.summary.tally.failed)
        return self.halt.counts if self.halt is not None else Counts(0, 0)

    def to_json(self) -> dict[str, Any]:
        """The attempt as JSON."""
        told: dict[str, Any] = {
            "Attempt": self.number,
            "Opened": self.opened,
            "Owner": self.owner,
            "Summary": None,
        }
        if self.summary is not None:
            told |= {"Summary": self.summary.to_json(), "Files": _files(self.files)}
        if self.halt is not None:
            told["Halt"] = {**self.halt.cause._asdict(), **self.halt.counts._asdict()}
        return {**told, "Spans": [list(span) for span in self.spans]} if self.over else told

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Attempt:
        """Read what `to_json` wrote.

        Raises:
            InvalidInput: it isn't that.
        """
        with as_written("an attempt"):
            summary, halt = told["Summary"], told.get("Halt")
            return cls(
                number=told["Attempt"],
                opened=told.get("Opened", 1),
                owner=told.get("Owner", ""),
                summary=None if summary is None else Summary.from_json(summary),
                halt=None if halt is None else _read_halt(**halt),
                files=_read_files(told.get("Files", ())),
                spans=tuple(Span(*span) for span in told.get("Spans", ())),
            )


def _read_halt(code: str, reason: str, succeeded: int, failed: int) -> Halt:
    return Halt(FailureReason(code, reason), Counts(succeeded, failed))


class Unsettled(NamedTuple):
    """A file of failed rows, and those of them that no later checkpoint tells of."""

    file: ResultFile
    rows: RowSet
    """All rows of the file: its lines, in this order."""
    left: RowSet


@dataclass(frozen=True, kw_only=True)
class History:
    """What all checkpoints of a partition together say."""

    succeeded: RowSet
    """Rows that needn't be done again."""
    files: tuple[ResultFile, ...]
    """Those that tell of them."""
    unsettled: tuple[Unsettled, ...]
    """Those that tell of rows which failed, and haven't been done again since."""
    spans: tuple[Span, ...]
    """One an attempt, as far as its last checkpoint."""
    attempts: int
    """The number of the last attempt that left a checkpoint."""
    checkpoints: int
    """The number of the last checkpoint."""

    @classmethod
    def of(cls, checkpoints: Iterable[Checkpoint]) -> History:
        """Fold the checkpoints of one partition, in order of their numbers."""
        succeeded, files, last, spans = RowSet(), [], 0, {}
        failed: list[tuple[ResultFile, RowSet]] = []
        for checkpoint in checkpoints:
            last = checkpoint.number
            spans[checkpoint.attempt] = checkpoint.span
            both = succeeded | checkpoint.succeeded
            if len(both) != len(succeeded) + len(checkpoint.succeeded):
                # Two runs at once, on a store that can't refuse to overwrite. One of the two is believed, or a row
                # would be told twice.
                log.warning(
                    "Checkpoint %d tells of rows that others tell of; its rows are done again", checkpoint.number
                )
                continue
            succeeded = both
            files += [file for file in checkpoint.files if file.succeeded]
            failed += [(file, checkpoint.failed) for file in checkpoint.files if not file.succeeded]
        return cls(
            succeeded=succeeded,
            files=tuple(files),
            unsettled=_unsettled(failed, succeeded),
            spans=tuple(spans.values()),
            attempts=max(spans, default=0),
            checkpoints=last,
        )


def _unsettled(failed: list[tuple[ResultFile, RowSet]], succeeded: RowSet) -> tuple[Unsettled, ...]:
    settled, found = succeeded, []
    for file, rows in reversed(failed):
        if left := rows - settled:
            found.append(Unsettled(file, rows, left))
        settled |= rows
    return tuple(reversed(found))
