"""`CsvLayout` and `ColumnarLayout`: what the columns of a file are, and which of its rows are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import and_, not_

from airflow_s3batch.core.manifest.findings import Findings

__all__ = ["KEY_MOST", "NULL_VERSION", "ColumnarLayout", "CsvLayout"]

KEY_MOST = 1024
"""Bytes of a key: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""
NULL_VERSION = "null"
"""The version ID of an object that was written without one.

An inventory of all versions leaves it empty:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/inventory-configure-bops.html
"""


@dataclass(frozen=True)
class CsvLayout:
    """A CSV file's columns, and what they mean."""

    fields: tuple[str, ...]
    """The columns' names, in order: Bucket, Key, VersionId, IsLatest and IsDeleteMarker have a meaning."""
    bucket: str | None = None
    """The bucket of all rows, where there is no such column."""
    header: bool = False
    """Whether the first row holds names, and is known to."""
    inventory: bool = False
    """Whether S3 Inventory wrote it: ``+`` in a key is a space, and an empty version the null version."""
    latest_only: bool = False
    """Leave out versions that aren't the latest."""
    delete_markers: bool = True
    """Keep delete markers."""
    facts: tuple[str, ...] = ()
    """The columns that entries are to tell of besides, where they are: by any spelling that `column_at` finds."""

    def at(self, field: str) -> int | None:
        """The field's column, None if there is none."""
        return self.fields.index(field) if field in self.fields else None

    def kept(self, latest: Sequence[str], markers: Sequence[str], findings: Findings) -> list[bool] | None:
        """Which rows are kept, by the texts in their IsLatest and IsDeleteMarker; None for all of them.

        Either may be empty, as it is where there is no such column. What is left out is counted.
        """
        kept: list[bool] | None = None
        if not self.delete_markers and markers.count("false") != len(markers):
            kept = list(map(not_, _flags(markers)))
            findings.delete_markers += kept.count(False)
        if latest.count("true") == len(latest):
            return kept
        wanted = _flags(latest) if kept is None else list(map(and_, kept, _flags(latest)))
        noncurrent = (len(latest) if kept is None else kept.count(True)) - wanted.count(True)
        if self.latest_only:
            findings.noncurrent += noncurrent
            return wanted
        findings.noncurrent_kept += noncurrent
        return kept


def _flags(texts: Sequence[str]) -> list[bool]:
    if texts.count("true") + texts.count("false") == len(texts):  # as S3 writes them: a fifth of the cost
        return [text == "true" for text in texts]
    return [text.lower() == "true" for text in texts]


@dataclass(frozen=True)
class ColumnarLayout:
    """Which columns of ORC or Parquet files are what; each file is looked through for them by name."""

    bucket: str | None = None
    """The bucket column's name; None for the usual one."""
    key: str | None = None
    """The key column's name; None for the usual one."""
    version: str | None = None
    """The version column's name; None for the usual one, which may be missing."""
    bucket_of_all: str | None = None
    """The bucket of all rows, where no column tells it."""
    inventory: bool = False
    """Whether S3 Inventory wrote it: an empty version is the null version, and times are UTC."""
    latest_only: bool = False
    """Leave out versions that aren't the latest."""
    delete_markers: bool = True
    """Keep delete markers."""
    facts: tuple[str, ...] = ()
    """The columns that entries are to tell of besides, as in `CsvLayout`."""
