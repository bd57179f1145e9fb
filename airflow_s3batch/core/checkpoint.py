"""What a partition's runs leave behind: `Checkpoint`s, each the commit marker of a batch, and the latest `Attempt`.

Every run of a partition is an attempt: it does all rows that haven't succeeded before, those that failed included. So
when an attempt has run to its end, the rows that succeeded in any attempt and those that failed in this one are exactly
one row an object.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.rowset import RowSet
from airflow_s3batch.core.summary import Summary

__all__ = ["Attempt", "Checkpoint", "History", "ResultFile", "Span"]

log = logging.getLogger(__name__)


class Span(NamedTuple):
    """A time in which a partition ran: Unix seconds."""

    began: float
    ended: float


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
    """From the attempt's begin to this checkpoint."""

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
        try:
            return cls(
                number=told["Checkpoint"],
                attempt=told["Attempt"],
                succeeded=RowSet.parse(told["Succeeded"]["Rows"]),
                failed=RowSet.parse(told["Failed"]["Rows"]),
                files=_read_files(told["Files"]),
                span=Span(*told["Span"]),
            )
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"not a checkpoint: {error!r}") from error


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The latest attempt at a partition."""

    number: int
    summary: Summary | None = None
    """None until the attempt has run to its end."""
    files: tuple[ResultFile, ...] = ()
    """All files that tell of the partition's rows, each row once."""
    spans: tuple[Span, ...] = ()
    """When the partition ran, all attempts."""

    def to_json(self) -> dict[str, Any]:
        """The attempt as JSON."""
        if self.summary is None:
            return {"Attempt": self.number, "Summary": None}
        spans = [list(span) for span in self.spans]
        return {"Attempt": self.number, "Summary": self.summary.as_dict(), "Spans": spans, "Files": _files(self.files)}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Attempt:
        """Read what `to_json` wrote.

        Raises:
            InvalidInput: it isn't that.
        """
        try:
            if told["Summary"] is None:
                return cls(number=told["Attempt"])
            return cls(
                number=told["Attempt"],
                summary=Summary.from_dict(told["Summary"]),
                files=_read_files(told["Files"]),
                spans=tuple(Span(*span) for span in told["Spans"]),
            )
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"not an attempt: {error!r}") from error


@dataclass(frozen=True, kw_only=True)
class History:
    """What all checkpoints of a partition together say."""

    succeeded: RowSet
    """Rows that needn't be done again."""
    files: tuple[ResultFile, ...]
    """Those that tell of them."""
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
        return cls(
            succeeded=succeeded,
            files=tuple(files),
            spans=tuple(spans.values()),
            attempts=max(spans, default=0),
            checkpoints=last,
        )
