"""`CsvRows`: rows of a CSV file, checked and decoded by the block.

A block of plain rows costs a few passes in C over its text: 0.3 µs a row to check, 0.5 to make entries, where the exact
rules, row by row, take 4 (``benchmarks/parts.py``). A block that isn't plain is halved until the rows that
aren't stand nearly alone, and those get the exact rules. Plain rows are some about which these have nothing to say.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, compress, repeat
from typing import Any, NamedTuple, cast
from urllib.parse import unquote_to_bytes

from airflow_s3batch.core.errors import ManifestError, printable
from airflow_s3batch.core.location import is_bucket
from airflow_s3batch.core.manifest.findings import Findings
from airflow_s3batch.core.manifest.layout import KEY_MOST, NULL_VERSION, CsvLayout
from airflow_s3batch.core.manifest.naming import columns_at
from airflow_s3batch.core.rows import Entry, FactualEntry

__all__ = ["Checked", "CsvRows"]

_FEW = 16
"""Rows that are no longer halved."""
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# A percent sign that doesn't begin an ASCII character, or begins a newline: all other keys are known to decode.
_DOUBTFUL_PERCENT = re.compile(r"%(?!0[0-9B-Fb-f]|[1-7][0-9A-Fa-f])")


class Checked(NamedTuple):
    """What a block of rows holds."""

    lines: int
    """How many rows there are."""
    rows: int
    """How many of them are kept."""
    kept: Sequence[bool] | None
    """Which of them are kept; None if all are."""


class _Columns(NamedTuple):
    """Some rows, as columns of equal length; the rows that are left out are in `kept` alone."""

    buckets: Sequence[str]
    keys: Sequence[str] | None
    """The keys, decoded; None if that is known to work and hasn't been needed yet."""
    versions: Sequence[str | None]
    spelled: Sequence[str]
    """The keys as the manifest spells them."""
    distinct: Iterable[str]
    """The buckets, each once."""
    facts: Sequence[Sequence[str]]
    """The columns that entries are to tell of besides."""
    kept: Sequence[bool] | None = None


class _Odd(Exception):
    """Some of these rows aren't plain: they take a closer look."""


class CsvRows:
    """Reads blocks of whole rows, in order, and remembers what must be the same in all of them.

    Args:
        uri: the file, for errors.
        layout: its columns, and which rows are kept.
        findings: what `check` finds goes here.
    """

    def __init__(self, uri: str, layout: CsvLayout, findings: Findings | None = None) -> None:
        self._uri = uri
        self._layout = layout
        self._fields = layout.fields
        self._findings = findings or Findings()
        self._bucket, self._key = layout.at("Bucket"), layout.fields.index("Key")
        self._version = layout.at("VersionId")
        self._latest = layout.at("IsLatest") if layout.inventory else None
        self._marker = layout.at("IsDeleteMarker") if layout.inventory else None
        self._facts = columns_at(uri, layout.fields, layout.facts)
        roles = {self._bucket, self._key, self._version, self._latest, self._marker, *self._facts.values()}
        self._wanted = tuple(sorted(at for at in roles if at is not None))
        fields = ('"([^"]*)"' if at in self._wanted else '"[^"]*"' for at in range(len(layout.fields)))
        self._quoted = re.compile(f"^{','.join(fields)}\n", re.MULTILINE)
        self._versioned: bool | None = layout.inventory or None
        """Whether rows have versions, which the first one decides for all; in an inventory all have."""

    def check(self, block: bytes, row: int) -> Checked:
        """Check the rows of a block that begins with the file's row number `row`.

        Raises:
            ManifestError: a row is wrong; names the first that is.
        """
        lines = rows = 0
        kept: list[Sequence[bool] | int] = []
        for columns in self._read(block, row):
            self._findings.add_buckets(columns.distinct)
            if self._findings.wants_plus and not self._layout.inventory and b"+" in block:
                at = next((at for at, key in enumerate(columns.spelled) if "+" in key), None)
                if at is not None:
                    self._findings.add_plus(self._uri, row + lines + at)
            rows += len(columns.spelled)
            lines += len(columns.spelled if columns.kept is None else columns.kept)
            kept.append(len(columns.spelled) if columns.kept is None else columns.kept)
        if lines == rows:
            return Checked(lines, rows, None)
        every = (repeat(True, part) if isinstance(part, int) else part for part in kept)  # noqa: FBT003 - what is repeated
        return Checked(lines, rows, list(chain.from_iterable(every)))

    def entries(self, block: bytes, row: int) -> list[Entry]:
        """Give the entries of a block, which `check` would let pass; the first is number `row`.

        Raises:
            ManifestError: as `check`.
        """
        entries: list[Entry] = []
        for buckets, decoded, versions, spelled, _, facts, _ in self._read(block, row):
            first = row + len(entries)
            keys = decoded if decoded is not None else self._unquoted_keys("\n".join(spelled))
            shown = self._for_the_report(spelled)
            made = _made(zip(range(first, first + len(keys)), buckets, keys, versions, shown, strict=True))
            entries += map(self._told, made, zip(*facts, strict=True)) if facts else made
        return entries

    def _told(self, entry: Entry, facts: Sequence[str]) -> FactualEntry:
        return FactualEntry.of(entry, {name: fact for name, fact in zip(self._facts, facts, strict=True) if fact})

    def _read(self, block: bytes, row: int) -> Iterator[_Columns]:
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError as error:
            before = block.rfind(b"\n", 0, error.start) + 1
            if before:  # an earlier row may be wrong as well, and the first one is what we report
                yield from self._read(block[:before], row)
            raise self._not_text(block, row + block.count(b"\n", 0, before), error.reason) from None
        if not text.endswith("\n"):
            text += "\n"
        if self._versioned is None:
            self._begin(text.partition("\n")[0], row)
        yield from self._halves(text, row)

    def _halves(self, text: str, row: int) -> Iterator[_Columns]:
        """The columns of plain rows at one go, of others row by row."""
        with contextlib.suppress(_Odd):
            yield self._plain(text)
            return
        if text.count("\n") <= _FEW:
            yield self._exact(text, row)
            return
        cut = text.rfind("\n", 0, len(text) // 2) + 1 or text.find("\n") + 1
        yield from self._halves(text[:cut], row)
        yield from self._halves(text[cut:], row + text.count("\n", 0, cut))

    def _plain(self, text: str) -> _Columns:
        columns = self._split_all(text)
        spelled = columns[self._key]
        buckets = columns[self._bucket] if self._bucket is not None else [self._layout.bucket or ""] * len(spelled)
        # A key within the limit as it is spelled is so once decoded; beyond ASCII a character has up to 4 bytes.
        most = KEY_MOST if text.isascii() else KEY_MOST // 4
        # Most manifests are about one bucket: counting it costs a third of hashing each row's.
        distinct = buckets[:1] if buckets.count(buckets[0]) == len(buckets) else dict.fromkeys(buckets)
        if not all(spelled) or max(map(len, spelled)) > most or not all(map(is_bucket, distinct)):
            raise _Odd
        versions: Sequence[str | None] = [None] * len(spelled)
        if self._version is not None:
            column = columns[self._version]
            if self._layout.inventory:
                versions = [version or NULL_VERSION for version in column] if "" in column else column
            elif column.count("") != (0 if self._versioned else len(column)):
                raise _Odd
            else:
                versions = column if self._versioned else versions
        keys = self._decoded(spelled) if "%" in text or self._has_spaces(text) else spelled
        latest, markers = (columns[at] if at is not None else () for at in (self._latest, self._marker))
        facts = [columns[at] for at in self._facts.values()]
        return self._kept(_Columns(buckets, keys, versions, spelled, distinct, facts), latest, markers)

    def _split_all(self, text: str) -> dict[int, Sequence[str]]:
        """The columns that are wanted, if all rows have this width and either all fields are quoted or none is."""
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if "\r" in text or "\0" in text:
            raise _Odd
        if text.startswith('"'):
            rows = self._quoted.findall(text)
            # Each match holds a row's newline, and another one if that stands in a field.
            if len(rows) != text.count("\n"):
                raise _Odd
            columns: Iterable[Sequence[str]] = zip(*rows, strict=True) if len(self._wanted) > 1 else [rows]
            return dict(zip(self._wanted, columns, strict=True))
        cells, step = _cells(text, len(self._fields)), len(self._fields) + 1
        return {at: cells[at::step] for at in self._wanted}

    def _exact(self, text: str, row: int) -> _Columns:
        """The columns of rows read one by one: the rules that decide what `_plain` may take."""
        # Not splitlines(), which also splits at what may stand in a key (U+2028, form feed).
        rows = [self._row(line, row + at) for at, line in enumerate(text.split("\n")[:-1])]
        buckets, keys, versions, spelled, latest, markers, *facts = zip(*rows, strict=True)
        told = _Columns(buckets, keys, versions, spelled, dict.fromkeys(buckets), facts)
        return self._kept(told, latest if self._latest is not None else (), markers if self._marker is not None else ())

    def _kept(self, columns: _Columns, latest: Sequence[str], markers: Sequence[str]) -> _Columns:
        """The columns without the rows that are to be left out."""
        kept = self._layout.kept(latest, markers, self._findings)
        if kept is None:
            return columns
        keys = None if columns.keys is None else list(compress(columns.keys, kept))
        buckets, versions = list(compress(columns.buckets, kept)), list(compress(columns.versions, kept))
        spelled = list(compress(columns.spelled, kept))
        facts = [list(compress(column, kept)) for column in columns.facts]
        return _Columns(buckets, keys, versions, spelled, dict.fromkeys(buckets), facts, kept)

    def _begin(self, line: str, row: int) -> None:
        """Learn from the first row whether rows have versions, and refuse what is no row."""
        if row == 1 and line.startswith("\ufeff"):
            raise self._wrong(1, "the file begins with a byte order mark (BOM); save it as UTF-8 without one")
        columns = self._split(line, row)
        if row == 1 and not self._layout.header and self._is_header(columns):
            way_out = "a manifest has none, remove it, or say header=True"
            raise self._wrong(1, f"{printable(repr(line))} is a header row; {way_out}")
        self._versioned = self._version is not None and bool(columns[self._version])

    def _is_header(self, columns: list[str]) -> bool:
        return all(
            column.strip().lower().replace("_", "") == field.lower()
            for column, field in zip(columns, self._fields, strict=True)
            if field != "Ignore"
        )

    def _row(self, line: str, row: int) -> tuple[Any, ...]:
        columns = self._split(line, row)
        key = columns[self._key]
        bucket = columns[self._bucket] if self._bucket is not None else self._layout.bucket or ""
        version = columns[self._version] if self._version is not None else ""
        if not is_bucket(bucket):
            wrong = f"{printable(repr(bucket))} is not a bucket's name" if bucket else "the bucket is empty"
            raise self._wrong(row, wrong)
        if self._layout.inventory:
            version = version or (NULL_VERSION if self._version is not None else "")
        elif bool(version) != self._versioned:
            here, there = ("has a", "have none") if version else ("has no", "have one")
            raise self._wrong(
                row, f"this row {here} version ID where the rows before {there}; give all rows one, or none"
            )
        latest, marker = ("" if at is None else columns[at] for at in (self._latest, self._marker))
        facts = [columns[at] for at in self._facts.values()]
        return bucket, self._decode(key, row), version or None, key, latest, marker, *facts

    def _split(self, line: str, row: int) -> list[str]:
        line = line.removesuffix("\r")
        if not line:
            raise self._wrong(row, "a blank line; remove it")
        if "\0" in line:
            raise self._wrong(row, "a NUL byte; is this a CSV file in UTF-8?")
        if '"' not in line:
            if "\r" in line:
                raise self._wrong(
                    row, "a carriage return inside the row; write %0D in keys, and CRLF or LF between rows"
                )
            columns = line.split(",")
        else:
            columns = self._split_quoted(line, row)
        if len(columns) != len(self._fields):
            hint = "; a comma in a key is written %2C" if len(columns) > len(self._fields) else ""
            wrong = f"Unexpected number of task fields: {len(columns)} instead of {len(self._fields)}"
            raise self._wrong(row, f"{wrong} ({','.join(self._fields)}){hint}")
        return columns

    def _split_quoted(self, line: str, row: int) -> list[str]:
        try:
            return next(csv.reader([line], strict=True))
        except csv.Error as error:
            raise self._wrong(row, f"broken quoting ({error}); a line break inside a key is written %0A") from None

    def _decode(self, key: str, row: int) -> str:
        if not key:
            raise self._wrong(row, "the key is empty")
        if bad := _BAD_PERCENT.search(key):
            shown = printable(key[bad.start() : bad.start() + 3])
            wrong = f"bad percent-encoding {shown!r} in key {printable(repr(key))}; a percent sign is written %25"
            raise self._wrong(row, wrong)
        decoded = unquote_to_bytes(self._with_spaces(key))
        if len(decoded) > KEY_MOST:
            raise self._wrong(row, f"the key has {len(decoded)} bytes; S3 takes {KEY_MOST}")
        try:
            return decoded.decode("utf-8")
        except UnicodeDecodeError:
            raise self._wrong(
                row, f"key {printable(repr(key))} is not UTF-8 once its percent-encoding is undone"
            ) from None

    def _decoded(self, spelled: Sequence[str]) -> Sequence[str] | None:
        """The keys, or None if decoding them is known to work."""
        joined = "\n".join(spelled)
        if "%" not in joined:
            return None if self._has_spaces(joined) else spelled
        if not _DOUBTFUL_PERCENT.search(joined):
            return None
        if _BAD_PERCENT.search(joined):
            raise _Odd
        try:
            keys = self._unquoted_keys(joined)
        except UnicodeDecodeError:
            raise _Odd from None
        if len(keys) != len(spelled):  # an encoded newline
            raise _Odd
        return keys

    def _unquoted_keys(self, joined: str) -> list[str]:
        """Keys that are known to decode, from their spellings with newlines between them."""
        return unquote_to_bytes(self._with_spaces(joined)).decode("utf-8").split("\n") if joined else []

    def _for_the_report(self, spelled: Sequence[str]) -> Sequence[str]:
        """The keys as the manifest spells them, but with %20 for the ``+`` by which an inventory means a space.

        Nothing in a report says which of the two a ``+`` is.
        """
        if not self._layout.inventory or "+" not in "".join(spelled):
            return spelled
        return [key.replace("+", "%20") for key in spelled]

    def _has_spaces(self, spelled: str) -> bool:
        return self._layout.inventory and "+" in spelled

    def _with_spaces(self, spelled: str) -> str:
        return spelled.replace("+", " ") if self._layout.inventory else spelled

    def _not_text(self, block: bytes, row: int, reason: str) -> ManifestError:
        if row == 1 and block.startswith(b"\x1f\x8b"):
            return self._wrong(1, "the file is compressed twice (gzip in gzip)")
        if row == 1 and block.startswith((b"\xff\xfe", b"\xfe\xff")):
            return self._wrong(1, "the file is UTF-16; save it as UTF-8 without a byte order mark (BOM)")
        return self._wrong(row, f"not UTF-8 ({reason}); keys are written percent-encoded or in UTF-8")

    def _wrong(self, row: int, problem: str) -> ManifestError:
        return ManifestError(self._uri, problem, row=row)


def _made(rows: Iterable[tuple[int, str, str, str | None, str]]) -> Iterator[Entry]:
    # A third cheaper than Entry._make, of which a manifest needs millions.
    return cast("Iterator[Entry]", map(tuple.__new__, repeat(Entry), rows))


def _cells(text: str, width: int) -> list[str]:
    """All fields of all rows, with a newline after each row's, if all rows have this width and no quotes."""
    if '"' in text:
        raise _Odd
    cells = text.replace("\n", ",\n,").split(",")
    cells.pop()
    # If all newlines are where rows of this width have theirs, all rows have this width.
    rows = text.count("\n")
    if len(cells) != rows * (width + 1) or cells[width :: width + 1].count("\n") != rows:
        raise _Odd
    return cells
