"""`PlainRows`: blocks of CSV rows checked by a few passes in C over their bytes, not row by row.

*Plain* are rows of the right width whose fields are all quoted or all not, without commas, quotes or line breaks in
them. Nothing here says what is wrong with a block: one of which it can't be said that it is right gets the exact rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from typing import NamedTuple

from airflow_s3batch.core.location import is_bucket
from airflow_s3batch.core.manifest.findings import PLUS, SPACE
from airflow_s3batch.core.manifest.layout import KEY_MOST, CsvLayout
from airflow_s3batch.core.manifest.percent import decodes

__all__ = ["Counted", "PlainRows"]

_NO_STRUCTURE = bytes(set(range(256)) - set(b',\n"\r\0'))
_NO_PLUS = bytes(set(range(256)) - set(b",\n+"))
_FIRST_FIELD = re.compile(rb'\n"?([^,"]+)"?,')
_FEW = 4
"""Buckets that are counted one after the other, at 0.04 µs a row each."""


class Counted(NamedTuple):
    """What a block of rows holds that are all right."""

    rows: int
    buckets: Sequence[str]
    """The buckets that rows may be about, in order of appearance."""
    doubtful: Mapping[str, int]
    """How many rows are before the first whose key has a ``+``, or begins with a space, of those that were wanted."""


class PlainRows:
    """Checks blocks of rows of one file, where Bucket and Key come first and nothing else need be looked at row by row.

    Args:
        layout: the file's columns.
    """

    def __init__(self, layout: CsvLayout) -> None:
        bucket, key, version = layout.at("Bucket"), layout.at("Key"), layout.at("VersionId")
        self._width = len(layout.fields)
        self._has_bucket = bucket is not None
        self._has_version = version is not None and not layout.inventory
        flags = layout.inventory and {"IsLatest", "IsDeleteMarker"} & set(layout.fields)
        self._able = (
            bucket in {0, None}
            and key == (0 if bucket is None else 1)
            and not flags
            and (not self._has_version or version == self._width - 1)
        )
        self._after_key = b"\n" if key == self._width - 1 else b","
        self._buckets: list[str] = []

    def count(self, block: bytes, *, versioned: bool, wanted: Collection[str]) -> Counted | None:
        """How many rows a block has, all of them right; None if that can't be said.

        Args:
            block: whole rows, the last one with its newline, too.
            versioned: whether they have to have versions.
            wanted: what to look for in keys, of ``+`` and a space before them.
        """
        if not self._able:
            return None
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        quote = block[:1] if block.startswith(b'"') else b""
        rows = _rows(block, self._width, quote)
        if not rows or not _are_short(block) or not decodes(block):
            return None
        # So that the first row begins as the others do: after a newline, between the quotes of two rows.
        text = b"%b\n%b" % (quote, block)
        begins = self._begins(text, rows, quote)
        if begins is None or any(begin + (quote or self._after_key) in text for begin in begins):  # keys that are empty
            return None
        if self._has_version and _without_last(text, begins, quote) != (0 if versioned else rows):
            return None
        firsts = {
            PLUS: self._first_plus(text) if PLUS in wanted else None,
            SPACE: _first_space(text, begins) if SPACE in wanted else None,
        }
        return Counted(rows, self._buckets, {sign: before for sign, before in firsts.items() if before is not None})

    def _begins(self, text: bytes, rows: int, quote: bytes) -> Sequence[bytes] | None:
        """What rows begin with, up to their keys; None if some begin otherwise."""
        if not self._has_bucket:
            begin = b"%b\n%b" % (quote, quote)
            return [begin] if not quote or text.count(begin) == rows else None
        return self._as_before(text, rows, quote) or self._anew(text, rows, quote)

    def _as_before(self, text: bytes, rows: int, quote: bytes) -> Sequence[bytes] | None:
        """With the buckets that rows of the block before were about."""
        begins = [b"%b\n%b%b%b,%b" % (quote, quote, bucket.encode(), quote, quote) for bucket in self._buckets]
        counts = list(map(text.count, begins))
        if sum(counts) != rows:
            return None
        self._buckets = list(compress(self._buckets, counts))
        return list(compress(begins, counts))

    def _anew(self, text: bytes, rows: int, quote: bytes) -> Sequence[bytes] | None:
        """With the buckets of these rows, if they are few."""
        buckets = [bucket.decode() for bucket in dict.fromkeys(_FIRST_FIELD.findall(text))]
        if len(buckets) > _FEW:  # telling rows apart costs less than counting them for each
            self._able = False
        elif all(map(is_bucket, buckets)):
            self._buckets = buckets
            return self._as_before(text, rows, quote)
        return None

    def _first_plus(self, text: bytes) -> int | None:
        # Buckets have none: a + after the newline (and the bucket's comma) is the key's.
        signs = text.translate(None, _NO_PLUS)
        at = signs.find(b"\n,+" if self._has_bucket else b"\n+")
        return None if at < 0 else signs.count(b"\n", 0, at)


def _first_space(text: bytes, begins: Sequence[bytes]) -> int | None:
    found = [at for begin in begins if (at := text.find(begin + b" ")) >= 0]
    return text.count(b"\n", 0, min(found)) if found else None


def _rows(block: bytes, width: int, quote: bytes) -> int:
    """How many rows there are, if each has so many fields, with a quote before and after each or none at all; or 0.

    Of the quotes around newlines this tells the last one's only: the others are looked at with what rows begin with.
    """
    structure = block.translate(None, _NO_STRUCTURE)
    row = (quote * 2 + b",") * (width - 1) + quote * 2 + b"\n"
    rows = len(structure) // len(row)
    if structure != row * rows:
        return 0
    # Two quotes a field there are; now that they stand at its ends.
    apart = not quote or (block.count(b'","') == rows * (width - 1) and block.endswith(b'"\n'))
    return rows if apart else 0


def _without_last(text: bytes, begins: Sequence[bytes], quote: bytes) -> int:
    """How many rows have nothing in their last field, where this isn't the key."""
    inside = sum(text.count(b",%b%b" % (quote, begin), 0, len(text) - 1) for begin in begins)
    return inside + text.endswith(b",%b%b\n" % (quote, quote))


def _are_short(text: bytes) -> bool:
    """Whether no row is longer than a key may be: among that many bytes after a newline there is always another."""
    at, end = -1, len(text) - 1
    while at < end:
        at = text.rfind(b"\n", at + 1, at + 2 + KEY_MOST)
        if at < 0:
            return False
    return True
