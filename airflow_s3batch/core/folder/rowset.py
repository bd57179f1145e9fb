"""`RowSet`: which rows of a manifest, as intervals. A million consecutive rows cost two numbers."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.rows import Entry

__all__ = ["RowSet"]

_TEXT = re.compile(r"(?:[0-9]+(?:-[0-9]+)?(?:,(?!$)|$))*", re.ASCII)


class RowSet:
    """An immutable set of row numbers. Its text lists the intervals, ends included: ``1-4017,4019-9990,9993``."""

    __slots__ = ("_count", "_edges")

    def __init__(self, rows: Iterable[int] = ()) -> None:
        """Make it of row numbers in any order (10,000 nearly sorted ones take 0.4 ms)."""
        ordered = sorted(rows)
        breaks = [(row, after) for row, after in zip(ordered, islice(ordered, 1, None)) if after - row > 1]  # noqa: B905 - the second is one shorter
        edges = ordered[:1]
        for row, after in breaks:
            edges += (row + 1, after)
        if ordered:
            edges.append(ordered[-1] + 1)
        # Where the set is entered and left, in turn: rows 1, 2 and 5 are [1, 3, 5, 6].
        self._edges = edges
        self._count = _count(edges)

    @classmethod
    def _of(cls, edges: list[int], count: int) -> RowSet:
        made = cls()
        made._edges = edges
        made._count = count
        return made

    @classmethod
    def parse(cls, text: str) -> RowSet:
        """Read a set's text.

        Raises:
            InvalidInput: it isn't one: not intervals, or not in ascending order.
        """
        edges: list[int] = []
        if not _TEXT.fullmatch(text):
            raise InvalidInput(f"{printable(text)!r} is not a set of rows; write 1-4017,4019")
        for interval in filter(None, text.split(",")):
            first, _, last = interval.partition("-")
            start, end = int(first), int(last or first) + 1
            if start >= end or (edges and start <= edges[-1]):
                raise InvalidInput(f"{printable(text)!r} is not a set of rows: {interval} is out of order")
            edges += (start, end)
        return cls._of(edges, _count(edges))

    def intervals(self) -> Iterator[tuple[int, int]]:
        """First and last row of each interval, in order."""
        edges = iter(self._edges)
        return ((start, end - 1) for start, end in zip(edges, edges))  # noqa: B905 - the same iterator twice

    def pending(self, entries: list[Entry]) -> list[Entry]:
        """Those of the entries (ordered by row) whose rows aren't in the set; the same list where all of them are."""
        if not entries:
            return entries
        edges, first, last = self._edges, entries[0].row, entries[-1].row
        low, high = bisect_right(edges, first), bisect_right(edges, last)
        if low == high:  # no edge in between: all of them are inside one interval, or outside of all
            return [] if low % 2 else entries
        if last - first + 1 > len(entries):
            return [entry for entry in entries if entry.row not in self]
        # Row after row, as in a CSV: the place of a row is known.
        bounds = [0] if low % 2 == 0 else []
        bounds += [edge - first for edge in edges[low:high]]
        places = iter([*bounds, len(entries)])
        left: list[Entry] = []
        for start, end in zip(places, places):  # noqa: B905 - the same iterator twice
            left += entries[start:end]
        return left

    def __or__(self, other: RowSet) -> RowSet:
        mine, theirs = self._edges, other._edges
        if not mine or not theirs:
            return other if not mine else self
        # Only the part of ours that theirs reaches or touches is merged anew: adding a batch to a set of a hundred
        # thousand intervals costs what the batch spans.
        low, high = bisect_left(mine, theirs[0]), bisect_right(mine, theirs[-1])
        low, high = low - low % 2, high + high % 2
        before = mine[low:high]
        merged = _merged(before, theirs)
        return RowSet._of(mine[:low] + merged + mine[high:], self._count - _count(before) + _count(merged))

    def __sub__(self, other: RowSet) -> RowSet:
        theirs = other._edges
        edges: list[int] = []
        for start, end in zip(self._edges[::2], self._edges[1::2]):  # noqa: B905 - edges come in pairs
            low, high = bisect_right(theirs, start), bisect_left(theirs, end)
            # Whether the interval begins or ends within one of theirs shows in how many edges come before.
            edges += ([] if low % 2 else [start]) + theirs[low:high] + ([] if high % 2 else [end])
        return RowSet._of(edges, _count(edges))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, row: int) -> bool:
        return bisect_right(self._edges, row) % 2 == 1

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(range(first, last + 1) for first, last in self.intervals())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowSet) and self._edges == other._edges

    def __hash__(self) -> int:
        return hash(tuple(self._edges))

    def __str__(self) -> str:
        return ",".join([str(first) if first == last else f"{first}-{last}" for first, last in self.intervals()])

    def __repr__(self) -> str:
        return f"RowSet({printable(self)})"


def _count(edges: list[int]) -> int:
    """How many rows there are between the edges."""
    return sum(edges[1::2]) - sum(edges[::2])


def _merged(one: list[int], other: list[int]) -> list[int]:
    """The edges of both sets together."""
    intervals = sorted(zip(chain(one[::2], other[::2]), chain(one[1::2], other[1::2])))  # noqa: B905 - edges come in pairs
    edges = [*intervals[0]]
    for start, end in islice(intervals, 1, None):
        if start > edges[-1]:
            edges += (start, end)
        elif end > edges[-1]:
            edges[-1] = end
    return edges
