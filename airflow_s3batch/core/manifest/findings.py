"""`Findings`: what a pass over a manifest's rows finds, beside that they are right."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_s3batch.core.errors import printable

__all__ = ["BUCKETS_MOST", "PLUS", "SPACE", "Findings", "is_doubtful"]

BUCKETS_MOST = 10_000
"""Buckets that one manifest may name: prepare looks at each of them."""
PLUS, SPACE = "+", " "
_DOUBTFUL = {
    PLUS: (
        "the key holds a '+'",
        "If its writer meant a space, the object will not be found: write %20 for a space, %2B for a plus",
    ),
    SPACE: (
        "the key begins with a space",
        "If its writer meant the key without it, another object is named: leave it out, or write %20 to keep it",
    ),
}
"""What keys hold that stands for itself, and may have been meant otherwise: a ``+`` anywhere, a space before them."""


def is_doubtful(sign: str, key: str) -> bool:
    """Whether the key, as it is spelled, holds this sign where it may have been meant otherwise."""
    return key.startswith(sign) if sign == SPACE else sign in key


class Findings:
    """Collected over all files of a manifest."""

    def __init__(self) -> None:
        self._buckets: dict[str, None] = {}
        self._doubtful: dict[str, tuple[str, int]] = {}
        self._versions: dict[bool, str] = {}
        self.delete_markers = 0
        """Rows that were left out, since they are delete markers."""
        self.noncurrent = 0
        """Rows that were left out, since their versions aren't the latest."""
        self.noncurrent_kept = 0
        """Rows that are kept, although their versions aren't the latest."""

    @property
    def buckets(self) -> tuple[str, ...]:
        """The buckets that occur, in order of appearance; if there are too many, one more than there may be."""
        return tuple(self._buckets)

    def add_buckets(self, buckets: Iterable[str]) -> None:
        """Take note of the buckets of some rows, each named once."""
        for bucket in buckets:
            if len(self._buckets) <= BUCKETS_MOST:
                self._buckets.setdefault(bucket)

    @property
    def wanted(self) -> frozenset[str]:
        """The signs that no key has been noted with yet, of those that make one doubtful."""
        return frozenset(_DOUBTFUL.keys() - self._doubtful.keys())

    def add_doubtful(self, sign: str, uri: str, row: int) -> None:
        """Take note of a key with such a sign, in a file in which that means itself; the first is told of."""
        self._doubtful.setdefault(sign, (uri, row))

    def add_versions(self, uri: str, *, versioned: bool) -> None:
        """Take note of whether the rows of a file have version IDs; the first file of either kind is told of."""
        self._versions.setdefault(versioned, uri)

    @property
    def mixed_versions(self) -> tuple[str, str] | None:
        """A file whose rows have version IDs, and one whose rows have none; None if all files are of one kind."""
        return (self._versions[True], self._versions[False]) if len(self._versions) > 1 else None

    def add(self, other: Findings) -> None:
        """Take in what was found in the files that follow."""
        self.add_buckets(other.buckets)
        self._doubtful = {**other._doubtful, **self._doubtful}
        self._versions = {**other._versions, **self._versions}
        self.delete_markers += other.delete_markers
        self.noncurrent += other.noncurrent
        self.noncurrent_kept += other.noncurrent_kept

    @property
    def warnings(self) -> tuple[str, ...]:
        """What no rule forbids and a person should know."""
        found = []
        for sign, (uri, row) in sorted(self._doubtful.items()):
            what, advice = _DOUBTFUL[sign]
            found.append(f"{printable(uri)}, row {row}: {what}, which stands for itself here. {advice}")
        if self.delete_markers:
            found.append(f"{self.delete_markers:,} delete markers are left out; include_delete_markers=True keeps them")
        if self.noncurrent:
            found.append(f"{self.noncurrent:,} versions that are not the latest are left out (latest_only)")
        if self.noncurrent_kept:
            told = "versions that are not the latest are in the manifest; latest_only=True leaves them out"
            found.append(f"{self.noncurrent_kept:,} {told}")
        return tuple(found)
