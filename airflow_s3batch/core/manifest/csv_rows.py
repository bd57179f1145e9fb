"""`CsvRows`: rows of a CSV manifest, checked and decoded by the block.

A block of plain rows costs a few passes in C over its text: 0.3 µs a row to check, 0.5 to make entries, where the exact
rules, row by row, take 4 (``benchmarks/parts.py``). A block that isn't plain is halved until the rows that
aren't stand nearly alone, and those get the exact rules. Plain rows are some about which these have nothing to say.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, cast
from urllib.parse import unquote_to_bytes

from airflow_s3batch.core.errors import ManifestError, printable
from airflow_s3batch.core.location import is_bucket
from airflow_s3batch.core.rows import Entry

__all__ = ["CsvRows"]

_KEY_MOST = 1024
"""Bytes of a key: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""
_FEW = 16
"""Rows that are no longer halved."""
_BUCKETS_MOST = 100
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# A percent sign that doesn't begin an ASCII character, or begins a newline: all other keys are known to decode.
_DOUBTFUL_PERCENT = re.compile(r"%(?!0[0-9B-Fb-f]|[1-7][0-9A-Fa-f])")


class _Columns(NamedTuple):
    """Some rows, as columns of equal length."""

    buckets: Sequence[str]
    keys: Sequence[str] | None
    """The keys, decoded; None if that is known to work and hasn't been needed yet."""
    versions: Sequence[str | None]
    spelled: Sequence[str]
    """The keys as the manifest spells them."""


class _Odd(Exception):
    """Some of these rows aren't plain: they take a closer look."""


class CsvRows:
    """Reads blocks of whole rows, in order, and remembers what must be the same in all of them."""

    def __init__(self, uri: str, fields: Sequence[str]) -> None:
        self._uri = uri
        self._fields = fields
        self._bucket, self._key = fields.index("Bucket"), fields.index("Key")
        self._version = fields.index("VersionId") if "VersionId" in fields else None
        self._versioned: bool | None = None
        """Whether rows have versions, which the first one decides for all."""
        self._buckets: dict[str, None] = {}
        self._plus: int | None = None

    @property
    def buckets(self) -> tuple[str, ...]:
        """The buckets seen by `check`, up to 100, in order of appearance."""
        return tuple(self._buckets)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What `check` saw that no rule forbids and a person should know."""
        if self._plus is None:
            return ()
        place = f"{printable(self._uri)}, row {self._plus}"
        advice = "If its writer meant a space, the object will not be found: write %20 for a space, %2B for a plus"
        return (f"{place}: the key holds a '+', which stands for itself here. {advice}",)

    def check(self, block: bytes, row: int) -> int:
        """Check the rows of a block that begins with number `row`; return how many there are.

        Raises:
            ManifestError: a row is wrong; names the first that is.
        """
        rows = 0
        for columns in self._read(block, row):
            if len(self._buckets) < _BUCKETS_MOST:
                for bucket in dict.fromkeys(columns.buckets):
                    self._note(bucket)
            if self._plus is None and b"+" in block:
                at = next((at for at, key in enumerate(columns.spelled) if "+" in key), None)
                self._plus = None if at is None else row + rows + at
            rows += len(columns.spelled)
        return rows

    def entries(self, block: bytes, row: int) -> list[Entry]:
        """Give the entries of a block that begins with number `row`, which `check` would let pass.

        Raises:
            ManifestError: as `check`.
        """
        entries: list[Entry] = []
        for buckets, decoded, versions, spelled in self._read(block, row):
            first = row + len(entries)
            keys = decoded or _decode("\n".join(spelled))
            entries += _made(zip(range(first, first + len(keys)), buckets, keys, versions, spelled, strict=True))
        return entries

    def _note(self, bucket: str) -> None:
        if len(self._buckets) < _BUCKETS_MOST:
            self._buckets.setdefault(bucket)

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
        width = len(self._fields)
        cells = _cells(text, width)
        buckets, spelled = cells[self._bucket :: width + 1], cells[self._key :: width + 1]
        # A key within the limit as it is spelled is so once decoded; beyond ASCII a character has up to 4 bytes.
        most = _KEY_MOST if text.isascii() else _KEY_MOST // 4
        if not all(spelled) or max(map(len, spelled)) > most or not all(map(is_bucket, dict.fromkeys(buckets))):
            raise _Odd
        versions: Sequence[str | None] = [None] * len(spelled)
        if self._version is not None:
            column = cells[self._version :: width + 1]
            if column.count("") != (0 if self._versioned else len(column)):
                raise _Odd
            versions = column if self._versioned else versions
        return _Columns(buckets, _decoded(spelled) if "%" in text else spelled, versions, spelled)

    def _exact(self, text: str, row: int) -> _Columns:
        """The columns of rows read one by one: the rules that decide what `_plain` may take."""
        # Not splitlines(), which also splits at what may stand in a key (U+2028, form feed).
        rows = [self._row(line, row + at) for at, line in enumerate(text.split("\n")[:-1])]
        buckets, keys, versions, spelled = zip(*rows, strict=True)
        return _Columns(buckets, keys, versions, spelled)

    def _begin(self, line: str, row: int) -> None:
        """Learn from the first row whether rows have versions, and refuse what is no row."""
        if row == 1 and line.startswith("\ufeff"):
            raise self._wrong(1, "the file begins with a byte order mark (BOM); save it as UTF-8 without one")
        columns = self._split(line, row)
        if row == 1 and self._is_header(columns):
            raise self._wrong(1, f"{printable(repr(line))} is a header row; a manifest has none, remove it")
        self._versioned = self._version is not None and bool(columns[self._version])

    def _is_header(self, columns: list[str]) -> bool:
        return all(
            column.strip().lower().replace("_", "") == field.lower()
            for column, field in zip(columns, self._fields, strict=True)
            if field != "Ignore"
        )

    def _row(self, line: str, row: int) -> tuple[str, str, str | None, str]:
        columns = self._split(line, row)
        bucket, key = columns[self._bucket], columns[self._key]
        version = columns[self._version] if self._version is not None else ""
        if not is_bucket(bucket):
            wrong = f"{printable(repr(bucket))} is not a bucket's name" if bucket else "the bucket is empty"
            raise self._wrong(row, wrong)
        if bool(version) != self._versioned:
            here, there = ("has a", "have none") if version else ("has no", "have one")
            raise self._wrong(
                row, f"this row {here} version ID where the rows before {there}; give all rows one, or none"
            )
        return bucket, self._decode(key, row), version or None, key

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
        decoded = unquote_to_bytes(key)
        if len(decoded) > _KEY_MOST:
            raise self._wrong(row, f"the key has {len(decoded)} bytes; S3 takes {_KEY_MOST}")
        try:
            return decoded.decode("utf-8")
        except UnicodeDecodeError:
            raise self._wrong(
                row, f"key {printable(repr(key))} is not UTF-8 once its percent-encoding is undone"
            ) from None

    def _not_text(self, block: bytes, row: int, reason: str) -> ManifestError:
        if row == 1 and block.startswith(b"\x1f\x8b"):
            return self._wrong(1, "the file is compressed (gzip); a manifest is plain text")
        if row == 1 and block.startswith((b"\xff\xfe", b"\xfe\xff")):
            return self._wrong(1, "the file is UTF-16; save it as UTF-8 without a byte order mark (BOM)")
        return self._wrong(row, f"not UTF-8 ({reason}); keys are written percent-encoded or in UTF-8")

    def _wrong(self, row: int, problem: str) -> ManifestError:
        return ManifestError(self._uri, problem, row=row)


def _made(rows: Iterable[tuple[int, str, str, str | None, str]]) -> Iterator[Entry]:
    # A third cheaper than Entry._make, of which a manifest needs millions.
    return cast("Iterator[Entry]", map(tuple.__new__, repeat(Entry), rows))


def _cells(text: str, width: int) -> list[str]:
    """All fields of all rows, with a newline after each row's, if all rows have this width."""
    if '"' in text:
        text = _unquoted(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if '"' in text or "\r" in text or "\0" in text:
        raise _Odd
    cells = text.replace("\n", ",\n,").split(",")
    cells.pop()
    # If all newlines are where rows of this width have theirs, all rows have this width.
    rows = text.count("\n")
    if len(cells) != rows * (width + 1) or cells[width :: width + 1].count("\n") != rows:
        raise _Odd
    return cells


def _decoded(spelled: Sequence[str]) -> Sequence[str] | None:
    """The keys, or None if decoding them is known to work."""
    joined = "\n".join(spelled)
    if "%" not in joined:
        return spelled
    if not _DOUBTFUL_PERCENT.search(joined):
        return None
    if _BAD_PERCENT.search(joined):
        raise _Odd
    try:
        keys = _decode(joined)
    except UnicodeDecodeError:
        raise _Odd from None
    if len(keys) != len(spelled):  # an encoded newline
        raise _Odd
    return keys


def _decode(joined: str) -> list[str]:
    return unquote_to_bytes(joined).decode("utf-8").split("\n")


def _unquoted(text: str) -> str:
    """The text without its quotes, if every field is quoted and none holds a comma; S3 writes manifests so."""
    end = '"\r\n' if text.endswith('"\r\n') else '"\n'
    between = f'{end}"'
    if not (text.startswith('"') and text.endswith(end)):
        return text
    # Each comma and each newline stands between two quotes; quotes that are left over will show.
    if text.count('","') != text.count(",") or text.count(between) != text.count("\n") - 1:
        return text
    return text[1 : -len(end)].replace(between, "\n").replace('","', ",") + "\n"
