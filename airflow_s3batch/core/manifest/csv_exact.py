"""`ExactRows`: rows of a CSV file read one by one, by the rules that say what is wrong with which."""

from __future__ import annotations

import csv
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from airflow_s3batch.core.errors import ManifestInvalid, printable
from airflow_s3batch.core.location import is_bucket
from airflow_s3batch.core.manifest.layout import KEY_MOST, NULL_VERSION, CsvLayout
from airflow_s3batch.core.manifest.naming import columns_at, instead_of_commas

__all__ = ["ExactRow", "ExactRows"]

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_URI, _ARN = "s3://", "arn:aws:s3:::"
_ZIP = "PK\x03\x04"
_SHOWN = 80
"""Characters of a row, in errors."""


class ExactRow(NamedTuple):
    """A row that is right."""

    bucket: str
    key: str
    """Decoded."""
    version: str | None
    spelled: str
    """The key as the manifest spells it."""
    latest: str
    """What stands in IsLatest; empty where there is no such column."""
    marker: str
    """What stands in IsDeleteMarker; empty where there is no such column."""
    facts: tuple[str, ...]
    """The columns that entries are to tell of besides."""


class ExactRows:
    """Reads rows, and remembers what must be the same in all of them.

    Args:
        uri: the file, for errors.
        layout: its columns.
    """

    def __init__(self, uri: str, layout: CsvLayout) -> None:
        self._uri = uri
        self._layout = layout
        self._fields = layout.fields
        self.bucket, self.key, self.version = layout.at("Bucket"), layout.fields.index("Key"), layout.at("VersionId")
        """Which columns they are in."""
        self.latest = layout.at("IsLatest") if layout.inventory else None
        self.marker = layout.at("IsDeleteMarker") if layout.inventory else None
        self.facts = columns_at(uri, layout.fields, layout.facts)
        """In which columns the facts are, by name."""
        self.versioned: bool | None = layout.inventory or None
        """Whether rows have versions, which the first one decides for all; in an inventory all have."""

    def begin(self, line: str, row: int) -> None:
        """Learn from the first row whether rows have versions.

        Raises:
            ManifestError: it is no row.
        """
        if row == 1 and line.startswith("\ufeff"):
            raise self._wrong(1, "the file begins with a byte order mark (BOM); save it as UTF-8 without one")
        if row == 1 and line.startswith(_ZIP):
            raise self._zipped()
        columns = self._split(line, row)
        if row == 1 and not self._layout.header and self._is_header(columns):
            way_out = "a manifest has none, remove it, or say header=True"
            raise self._wrong(1, f"{printable(repr(line))} is a header row; {way_out}")
        self.versioned = self.version is not None and bool(columns[self.version])

    def read(self, line: str, row: int) -> ExactRow:
        """Read one row, number `row`, without its newline.

        Raises:
            ManifestError: it is wrong.
        """
        columns = self._split(line, row)
        key = columns[self.key]
        bucket = columns[self.bucket] if self.bucket is not None else self._layout.bucket or ""
        if not is_bucket(bucket):
            wrong = f"{printable(repr(bucket))} is not a bucket's name{_apart(bucket)}"
            raise self._wrong(row, wrong if bucket else "the bucket is empty")
        version = self._version(columns, row)
        latest, marker = ("" if at is None else columns[at] for at in (self.latest, self.marker))
        facts = tuple(columns[at] for at in self.facts.values())
        return ExactRow(bucket, self._decoded(key, row), version or None, key, latest, marker, facts)

    def not_text(self, block: bytes, row: int, reason: str) -> ManifestInvalid:
        """What is wrong with row number `row`, with which the block begins, and which isn't UTF-8."""
        if row == 1 and block.startswith(b"\x1f\x8b"):
            return self._wrong(1, "the file is compressed twice (gzip in gzip)")
        if row == 1 and block.startswith(_ZIP.encode()):
            return self._zipped()
        if row == 1 and block.startswith((b"\xff\xfe", b"\xfe\xff")):
            return self._wrong(1, "the file is UTF-16; save it as UTF-8 without a byte order mark (BOM)")
        return self._wrong(row, f"not UTF-8 ({reason}); keys are written percent-encoded or in UTF-8")

    def _zipped(self) -> ManifestInvalid:
        return self._wrong(1, "the file is a ZIP archive; unpack it, or pack it with gzip")

    def _is_header(self, columns: list[str]) -> bool:
        return all(
            column.strip().lower().replace("_", "") == field.lower()
            for column, field in zip(columns, self._fields, strict=True)
            if field != "Ignore"
        )

    def _version(self, columns: list[str], row: int) -> str:
        version = columns[self.version] if self.version is not None else ""
        if self._layout.inventory:
            return version or (NULL_VERSION if self.version is not None else "")
        if bool(version) != self.versioned:
            here, there = ("has a", "have none") if version else ("has no", "have one")
            wrong = f"this row {here} version ID where the rows before {there}; give all rows one, or none"
            raise self._wrong(row, wrong)
        return version

    def _split(self, line: str, row: int) -> list[str]:
        line = line.removesuffix("\r")
        if not line:
            raise self._wrong(row, "a blank line; remove it")
        if "\0" in line:
            raise self._wrong(row, "a NUL byte; is this a CSV file in UTF-8?")
        if '"' not in line:
            if "\r" in line:
                way_out = "write %0D in keys, and CRLF or LF between rows"
                raise self._wrong(row, f"a carriage return inside the row; {way_out}")
            columns = line.split(",")
        else:
            columns = self._split_quoted(line, row)
        if len(columns) != len(self._fields):
            way_out = _apart(line) or instead_of_commas(columns)
            if not way_out and len(columns) > len(self._fields):
                way_out = "; a comma in a key is written %2C"
            wrong = f"Unexpected number of task fields: {len(columns)} instead of {len(self._fields)}"
            shown = f"({','.join(self._fields)}) in {printable(repr(line), _SHOWN)}"
            raise self._wrong(row, f"{wrong} {shown}{way_out}")
        return columns

    def _split_quoted(self, line: str, row: int) -> list[str]:
        try:
            return next(csv.reader([line], strict=True))
        except csv.Error as error:
            raise self._wrong(row, f"broken quoting ({error}); a line break inside a key is written %0A") from None

    def _decoded(self, key: str, row: int) -> str:
        if not key:
            raise self._wrong(row, "the key is empty")
        if bad := _BAD_PERCENT.search(key):
            shown = printable(key[bad.start() : bad.start() + 3])
            wrong = f"bad percent-encoding {shown!r} in key {printable(repr(key))}; a percent sign is written %25"
            raise self._wrong(row, wrong)
        decoded = unquote_to_bytes(key.replace("+", " ") if self._layout.inventory else key)
        if len(decoded) > KEY_MOST:
            raise self._wrong(row, f"the key has {len(decoded)} bytes; S3 takes {KEY_MOST}")
        try:
            return decoded.decode("utf-8")
        except UnicodeDecodeError:
            wrong = f"key {printable(repr(key))} is not UTF-8 once its percent-encoding is undone"
            raise self._wrong(row, wrong) from None

    def _wrong(self, row: int, problem: str) -> ManifestInvalid:
        return ManifestInvalid(self._uri, problem, row=row)


def _apart(text: str) -> str:
    """How to write down what somebody has written as a URI or an ARN: the end of an error, empty where it is none."""
    if not text.startswith((_URI, _ARN)):
        return ""
    bucket, _, key = text.removeprefix(_URI).removeprefix(_ARN).partition("/")
    if not key:
        return f"; write {printable(bucket, _SHOWN)}"
    return f"; bucket and key are two columns: write {printable(f'{bucket},{key}', _SHOWN)}"
