"""`ColumnarRows`: rows in Arrow's columns, checked and made entries of by the batch.

Checks are Arrow's own loops: 30 ns a row, where an entry costs 0.6 µs to make.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import cast
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from airflow_s3batch.core.errors import ManifestInvalid, printable
from airflow_s3batch.core.location import is_bucket
from airflow_s3batch.core.manifest.findings import Findings
from airflow_s3batch.core.manifest.layout import KEY_MOST, NULL_VERSION, ColumnarLayout
from airflow_s3batch.core.manifest.naming import column_at, columns_at, found_column
from airflow_s3batch.core.rows import Entry, FactualEntry

__all__ = ["ColumnarRows"]

_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~/!$&'()*:;=@"
"""What stands for itself in the report; all else is percent-encoded, so that every decoder gets the key back."""
_QUOTED = re.compile(rf"[^{re.escape(_PLAIN.decode())}]")


class ColumnarRows:
    """Reads batches of one file, in order.

    Args:
        uri: the file, for errors.
        layout: its columns, and which rows are kept.
        schema: the columns it has.

    Raises:
        ManifestError: a column is missing or holds no text.
    """

    def __init__(self, uri: str, layout: ColumnarLayout, schema: pa.Schema) -> None:
        self._uri = uri
        self._layout = layout
        names = schema.names
        everywhere = layout.bucket_of_all is not None
        self._bucket = None if everywhere else names[found_column(uri, names, layout.bucket, "Bucket")]
        self._key: str = names[found_column(uri, names, layout.key, "Key")]
        self._version = self._name(names, "VersionId", layout.version)
        self._latest = self._name(names, "IsLatest") if layout.inventory else None
        self._marker = self._name(names, "IsDeleteMarker") if layout.inventory else None
        self._facts = {fact: names[at] for fact, at in columns_at(uri, names, layout.facts).items()}
        self._versioned: bool | None = None
        for name in filter(None, (self._bucket, self._key, self._version)):
            if not _is_text(schema.field(name).type):
                raise ManifestInvalid(uri, f"the column {printable(name)} holds {schema.field(name).type}, not text")
        for name in self._facts.values():
            if not (_is_text(schema.field(name).type) or _is_number(schema.field(name).type)):
                raise ManifestInvalid(
                    uri, f"the column {printable(name)} holds {schema.field(name).type}, neither text nor numbers"
                )
        if layout.latest_only and self._version is not None and self._latest is None:
            raise ManifestInvalid(uri, "latest_only needs the column is_latest, which this inventory lacks")

    def _name(self, names: Sequence[str], field: str, wanted: str | None = None) -> str | None:
        at = column_at(self._uri, names, wanted, field)
        return None if at is None else names[at]

    @property
    def checked(self) -> list[str]:
        """The columns that `check` looks at. Facts aren't among them: any text is one, and their types are known."""
        roles = (self._bucket, self._key, self._version, self._latest, self._marker)
        return list(dict.fromkeys(name for name in roles if name))

    @property
    def names(self) -> list[str]:
        """The columns that entries are made of."""
        return list(dict.fromkeys([*self.checked, *self._facts.values()]))

    def check(self, batch: pa.RecordBatch, row: int, findings: Findings) -> pa.BooleanArray | None:
        """Check the rows of a batch that begins with the file's row number `row`; return which are kept, None for all.

        Raises:
            ManifestError: a row is wrong; names the first that is wrong in the first column where one is.
        """
        buckets = self._check_buckets(batch, row)
        self._check_keys(batch, row)
        self._check_versions(batch, row)
        findings.add_versions(self._uri, versioned=bool(self._versioned))
        kept = self._kept(batch, findings)
        if kept is not None and len(buckets) > 1:
            buckets = self._bucket_column(batch.filter(kept)).unique().to_pylist()
        findings.add_buckets(buckets if kept is None or kept.true_count else ())
        return kept

    def entries(self, batch: pa.RecordBatch, row: int) -> list[Entry]:
        """The entries of a batch, which `check` would let pass; the first is number `row`."""
        batch = self._left(batch)
        keys = spelled = _texts(batch.column(self._key))
        if "".join(keys).encode().translate(None, _PLAIN):  # a tenth of what looking by the pattern costs
            spelled = [_QUOTED.sub(_percent_encoded, key) for key in keys]
        made = zip(range(row, row + len(keys)), self._buckets(batch), keys, self._versions(batch), spelled, strict=True)
        entries = list(cast("Iterator[Entry]", map(tuple.__new__, repeat(Entry), made)))
        return list(map(FactualEntry.of, entries, self._facts_of(batch))) if self._facts else entries

    def columns(self, batch: pa.RecordBatch, row: int) -> pa.RecordBatch:
        """The kept rows of a batch with all columns, checked; see `Manifest.batches`.

        Where two columns would have one name, the one that tells bucket, key or version has it: the other is left out.
        """
        self.check(batch, row, Findings())
        batch = self._left(batch)
        told = {"bucket": self._bucket_column(batch), "key": _text(batch.column(self._key))}
        if self._version is not None:
            told["version_id"] = self._version_column(batch)
        for name in batch.schema.names:
            if name not in {self._bucket, self._key, self._version}:
                told.setdefault(name, self._plain(name, batch.column(name)))
        return pa.RecordBatch.from_arrays(list(told.values()), names=list(told))

    def _check_buckets(self, batch: pa.RecordBatch, row: int) -> list[str]:
        """The rows' buckets, each once."""
        if self._bucket is None:
            return [self._layout.bucket_of_all or ""]
        column = self._checked_text(batch, self._bucket, row)
        if column.null_count:
            raise self._wrong(row + pc.index(pc.is_null(column), True).as_py(), "the bucket is empty")
        buckets: list[str] = column.unique().to_pylist()
        for bucket in buckets:
            if not is_bucket(bucket):
                wrong = f"{printable(repr(bucket))} is not a bucket's name" if bucket else "the bucket is empty"
                raise self._wrong(row + pc.index(column, bucket).as_py(), wrong)
        return buckets

    def _check_keys(self, batch: pa.RecordBatch, row: int) -> None:
        keys = self._checked_text(batch, self._key, row)
        lengths = pc.fill_null(pc.binary_length(keys), 0)
        extremes = pc.min_max(lengths).as_py()
        if extremes["min"] == 0:
            raise self._wrong(row + pc.index(lengths, 0).as_py(), "the key is empty")
        if extremes["max"] > KEY_MOST:
            at = pc.index(pc.greater(lengths, KEY_MOST), True).as_py()
            raise self._wrong(row + at, f"the key has {lengths[at].as_py()} bytes; S3 takes {KEY_MOST}")

    def _check_versions(self, batch: pa.RecordBatch, row: int) -> None:
        if self._version is None:
            return
        missing = pc.equal(pc.fill_null(self._checked_text(batch, self._version, row), ""), "")
        if self._layout.inventory:  # where none is named, it is the version null
            self._versioned = True
            return
        if self._versioned is None:
            self._versioned = not missing[0].as_py()
        at = pc.index(missing, self._versioned).as_py()
        if at >= 0:
            here, there = ("has no", "have one") if self._versioned else ("has a", "have none")
            wrong = f"this row {here} version ID where the rows before {there}; give all rows one, or none"
            raise self._wrong(row + at, wrong)

    def _kept(self, batch: pa.RecordBatch, findings: Findings) -> pa.BooleanArray | None:
        """Which rows are kept; None for all of them. What is left out is counted."""
        kept = None
        if self._marker is not None and not self._layout.delete_markers:
            markers = _flags(batch.column(self._marker))
            if markers.true_count:
                kept = pc.invert(markers)
                findings.delete_markers += markers.true_count
        if self._latest is None:
            return kept
        latest = _flags(batch.column(self._latest))
        wanted = latest if kept is None else pc.and_(latest, kept)
        noncurrent = (len(batch) if kept is None else kept.true_count) - wanted.true_count
        if not noncurrent:
            return kept
        if self._layout.latest_only:
            findings.noncurrent += noncurrent
            return wanted
        findings.noncurrent_kept += noncurrent
        return kept

    def _left(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        kept = self._kept(batch, Findings())
        return batch if kept is None else batch.filter(kept)

    def _buckets(self, batch: pa.RecordBatch) -> list[str]:
        if self._bucket is None:
            return [self._layout.bucket_of_all or ""] * len(batch)
        column = _text(batch.column(self._bucket))
        some = column.unique()
        return [some[0].as_py()] * len(batch) if len(some) == 1 else _texts(column)

    def _facts_of(self, batch: pa.RecordBatch) -> Iterator[dict[str, str]]:
        """What the rows say besides, each for itself."""
        columns = [_decimals_or_texts(batch.column(name)) for name in self._facts.values()]
        facts = map(dict, map(zip, repeat(tuple(self._facts)), zip(*columns, strict=True)))
        if any("" in column for column in columns):
            return ({fact: told for fact, told in row.items() if told} for row in facts)
        return facts  # without looking into each

    def _bucket_column(self, batch: pa.RecordBatch) -> pa.StringArray:
        if self._bucket is None:
            return pa.repeat(pa.scalar(self._layout.bucket_of_all), len(batch))
        return _text(batch.column(self._bucket))

    def _versions(self, batch: pa.RecordBatch) -> Sequence[str | None]:
        if self._version is None:
            return [None] * len(batch)
        versions = _texts(pc.fill_null(_text(batch.column(self._version)), ""))
        return [version or self._no_version for version in versions] if "" in versions else versions

    def _version_column(self, batch: pa.RecordBatch) -> pa.StringArray:
        versions = _text(batch.column(self._version))
        missing = pc.equal(pc.fill_null(versions, ""), "")
        return pc.if_else(missing, pa.scalar(self._no_version, pa.string()), versions)

    @property
    def _no_version(self) -> str | None:
        return NULL_VERSION if self._layout.inventory else None

    def _plain(self, name: str, column: pa.Array) -> pa.Array:
        """A column as SQL likes it: flags are flags, and an inventory's times are UTC."""
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if name in {self._latest, self._marker}:
            return _flags(column)
        if self._layout.inventory and pa.types.is_timestamp(column.type) and column.type.tz is None:
            return column.cast(pa.timestamp(column.type.unit, "UTC"))
        return column

    def _checked_text(self, batch: pa.RecordBatch, name: str, row: int) -> pa.StringArray:
        column = batch.column(name)
        try:
            text = _text(column)
            text.validate(full=True)
        except pa.ArrowInvalid:
            at = next(
                at for at, value in enumerate(_decoded(column).cast(pa.binary()).to_pylist()) if not _is_utf8(value)
            )
            raise self._wrong(row + at, f"{printable(name)} is not UTF-8") from None
        return text

    def _wrong(self, row: int, problem: str) -> ManifestInvalid:
        return ManifestInvalid(self._uri, problem, row=row)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary)
    return any(test(kind) for test in (*texts, pa.types.is_large_binary, pa.types.is_binary_view))


def _is_number(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))


def _decimals_or_texts(column: pa.Array) -> list[str]:
    """Its values as texts, empty for null. Text that isn't UTF-8, which nobody has checked, has marks instead."""
    if _is_number(column.type):
        return ["" if value is None else str(value) for value in column.to_pylist()]
    values = _decoded(column).cast(pa.binary()).to_pylist()
    return [(value or b"").decode("utf-8", "replace") for value in values]


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _text(column: pa.Array) -> pa.StringArray:
    return column if column.type == pa.string() else _decoded(column).cast(pa.string())


def _texts(column: pa.Array) -> list[str]:
    texts: list[str] = _text(column).to_pylist()
    return texts


def _percent_encoded(found: re.Match[str]) -> str:
    return quote(found[0])


def _flags(column: pa.Array) -> pa.BooleanArray:
    """True and False, of a column of flags or of their names; what is null is False."""
    if not pa.types.is_boolean(column.type):
        column = pc.equal(pc.utf8_lower(_text(column)), "true")
    return pc.fill_null(column, False)  # noqa: FBT003 - the value that stands for null


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
