"""`CsvColumns`: rows of a CSV file as Arrow's columns, for those who look at more than bucket and key."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from airflow_s3batch.core.errors import ManifestInvalid, printable
from airflow_s3batch.core.manifest.csv_rows import CsvRows
from airflow_s3batch.core.manifest.findings import Findings
from airflow_s3batch.core.manifest.layout import NULL_VERSION, CsvLayout

__all__ = ["CsvColumns"]

_WORD_BEGINS = re.compile(r"(?<!^)(?=[A-Z])")
_ROLES = {"Bucket": "bucket", "Key": "key", "VersionId": "version_id"}


class CsvColumns:
    """Reads blocks of whole rows, in order.

    Args:
        uri: the file, for errors.
        layout: its columns, and which rows are kept. A column named Ignore is left out.
        findings: what the rows are found to hold goes here.
    """

    def __init__(self, uri: str, layout: CsvLayout, findings: Findings | None = None) -> None:
        self._uri = uri
        self._layout = layout
        self._rows = CsvRows(uri, layout, findings)
        self._row = 1
        places = [str(at) for at in range(len(layout.fields))]
        kept = {place: field for place, field in zip(places, layout.fields, strict=True) if field != "Ignore"}
        self._names = {
            place: _ROLES.get(field) or (_snake_case(field) if layout.inventory else field)
            for place, field in kept.items()
        }
        self._reading = csv.ReadOptions(column_names=places, use_threads=False)
        self._parsing = csv.ParseOptions(ignore_empty_lines=False)
        self._converting = csv.ConvertOptions(
            column_types=dict.fromkeys(places, pa.string()), include_columns=list(kept), strings_can_be_null=False
        )

    def batch(self, block: bytes) -> pa.RecordBatch:
        """The kept rows of a block.

        Raises:
            ManifestError: a row is wrong; as `CsvRows.check`.
        """
        checked = self._rows.check(block, self._row)
        self._row += checked.lines
        self._reading.block_size = len(block) + 1
        try:
            table = csv.read_csv(pa.BufferReader(block), self._reading, self._parsing, self._converting)
        except pa.ArrowInvalid as error:
            raise ManifestInvalid(self._uri, f"rows can't be read as columns: {printable(error)}") from None
        batch = table.combine_chunks().to_batches()[0]
        if checked.kept is not None:
            batch = batch.filter(pa.array(checked.kept))
        return self._typed_columns(batch)

    def _typed_columns(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        told = {}
        if self._layout.bucket is not None:
            told["bucket"] = pa.repeat(pa.scalar(self._layout.bucket), len(batch))
        for place, name in self._names.items():
            told.setdefault(name, self._typed(name, batch.column(place)))
        return pa.RecordBatch.from_arrays(list(told.values()), names=list(told))

    def _typed(self, name: str, column: pa.StringArray) -> pa.Array:
        if name == "key":
            return self._keys(column)
        if name == "version_id":
            none = pa.scalar(NULL_VERSION if self._layout.inventory else None, pa.string())
            return pc.if_else(pc.equal(column, ""), none, column)
        return _converted(self._uri, name, column) if self._layout.inventory else column

    def _keys(self, column: pa.StringArray) -> pa.StringArray:
        if self._layout.inventory:
            column = pc.replace_substring(column, "+", " ")
        encoded = pc.match_substring(column, "%")
        if not encoded.true_count:
            return column
        return pc.replace_with_mask(column, encoded, pa.array(map(unquote, column.filter(encoded).to_pylist())))


def _snake_case(field: str) -> str:
    """S3 Inventory's name of a CSV field in its ORC and Parquet files: ``e_tag`` for ETag."""
    return _WORD_BEGINS.sub("_", field).lower()


def _converted(uri: str, field: str, column: pa.StringArray) -> pa.Array:
    """An inventory's column with its type, by its name."""
    if field.startswith("is_"):
        return pc.equal(pc.utf8_lower(column), "true")
    number, moment = field == "size", field.endswith("_date")
    if not (number or moment):
        return column
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    try:
        return column.cast(pa.int64() if number else pa.timestamp("ms", "UTC"))
    except pa.ArrowInvalid as error:
        raise ManifestInvalid(uri, f"{field} can't be read: {printable(error)}") from None
