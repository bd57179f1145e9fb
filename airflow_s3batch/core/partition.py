"""Partitions: row ranges that cover a manifest exactly once. Pure arithmetic."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from airflow_s3batch.core.errors import InvalidInput, printable

__all__ = ["MAX_PARTITIONS", "ROWS_PER_PARTITION", "Mark", "Marks", "Partition", "check_sizes", "split"]

ROWS_PER_PARTITION = 500_000
"""Two to three minutes of work at the 3,500 requests a second that S3 takes a prefix."""
MAX_PARTITIONS = 256

_MARKS_MOST = 32_768
_COARSE = 64
_SHORT = 12
"""Stretches that are no longer than so many strides are marked where they begin only, from a stride of `_COARSE` on: a
CSV file's blocks in a manifest of two million rows. So half a stretch is at most a tenth of a partition, of which there
are no more than `MAX_PARTITIONS`."""


def check_sizes(rows_per_partition: Any, max_partitions: Any = MAX_PARTITIONS) -> None:
    """See that partitions can be cut so.

    Raises:
        InvalidInput: one is no whole number, or less than 1.
    """
    for name, given in (("rows_per_partition", rows_per_partition), ("max_partitions", max_partitions)):
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise InvalidInput(f"{name}={printable(repr(given))}; it is a whole number, at least 1")


class Mark(NamedTuple):
    """A place where a manifest can be cut."""

    row: int
    """1-based number of the row that begins here (rows + 1 at the end)."""
    offset: int
    """Its position, in the manifest's own unit: in a CSV file the byte; what else there is, its reader says."""


class Partition(NamedTuple):
    """A contiguous range of a manifest's rows."""

    number: int
    """From 0 on, in the manifest's order."""
    first_row: int
    """1-based."""
    rows: int
    start: int
    """The first row's position, in the manifest's own unit."""
    end: int
    """The position of what follows the last row."""

    def __str__(self) -> str:
        return f"rows {self.first_row:,} to {self.first_row + self.rows - 1:,}"


class Marks:
    """Collects marks while a manifest goes by: every row's at first, then every second's, fourth's … as it grows.

    Memory stays flat, and a partition's end is no further from where it should be than a share of the manifest (two
    `most`-ths), or half a stretch.
    """

    def __init__(self, most: int = _MARKS_MOST) -> None:
        self._most = most
        self._stride = 1
        self._marks: list[Mark] = []

    def add(self, row: int, rows: int, offset: int, begins: Callable[[int, int], Sequence[int]]) -> None:
        """Take in a stretch of `rows` rows, the first of which is number `row`.

        Args:
            row: the first row's number.
            rows: how many there are.
            offset: where the stretch begins.
            begins: ``begins(first, step)`` gives the positions of every `step`-th row from the one after `first` others
                on. It is asked while the manifest is small: finding the rows of a block of CSV costs a third of what
                checking it does.
        """
        first = -(row - 1) % self._stride  # the first of them whose 0-based number the stride divides
        if first < rows:
            if self._stride >= _COARSE and rows <= _SHORT * self._stride:
                self._marks.append(Mark(row, offset))
            else:
                rows_begin = range(row + first, row + rows, self._stride)
                self._marks += map(Mark._make, zip(rows_begin, begins(first, self._stride), strict=False))
        while len(self._marks) > self._most:
            del self._marks[1::2]
            self._stride *= 2

    def ended(self, row: int, offset: int) -> list[Mark]:
        """The marks, and the end's: the row after the last, and the size."""
        return [*self._marks, Mark(row, offset)]


def split(marks: Sequence[Mark], rows_per_partition: int, max_partitions: int) -> tuple[Partition, ...]:
    """Cut a manifest into partitions of about equal numbers of rows, at marks, covering every row exactly once.

    As few as hold at most `rows_per_partition` rows each, but never more than `max_partitions`.
    """
    rows = marks[-1].row - marks[0].row
    count = max(1, min(max_partitions, -(-rows // rows_per_partition), rows))
    cuts = [marks[0]]
    for number in range(1, count):
        wanted = marks[0].row + rows * number // count
        at = bisect_left(marks, (wanted,))
        nearest = min(marks[max(0, at - 1) : at + 1], key=lambda mark: abs(mark.row - wanted))
        if cuts[-1].row < nearest.row < marks[-1].row:
            cuts.append(nearest)
    cuts.append(marks[-1])
    return tuple(
        Partition(number, begin.row, end.row - begin.row, begin.offset, end.offset)
        for number, (begin, end) in enumerate(pairwise(cuts))
        if end.row > begin.row
    )
