"""S3 inventories and tables, written as S3 and others write them, into a `MemoryS3`."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
from pyarrow import orc
from pyarrow import parquet as pq

from airflow_s3batch.core.manifest import Manifest, Survey
from airflow_s3batch.core.partition import split
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.testing import MemoryS3

FOLDER = "s3://lake/inv/src/all/"
MANIFEST = f"{FOLDER}2026-11-01T01-00Z/manifest.json"
AWKWARD = [
    "plain", "a b", "naïve-ü", "日本/キー", "a+b", "100%", "%41", "a//b", "/lead", "../x", "q?x=1", "a&b=c", "'q'",
    '"dq"', "a,b", "back\\slash", "tab\t", "new\nline", "cr\r", "😀", "a%20b", "+", " ", "\u2028", "\0",
]  # fmt: skip
FIELDS = {
    "bucket": "Bucket",
    "key": "Key",
    "version_id": "VersionId",
    "is_latest": "IsLatest",
    "is_delete_marker": "IsDeleteMarker",
    "size": "Size",
    "last_modified_date": "LastModifiedDate",
    "e_tag": "ETag",
    "storage_class": "StorageClass",
    "object_owner": "ObjectOwner",
}
Row = dict[str, Any]


def csv_of(rows: Iterable[Row], columns: Sequence[str]) -> bytes:
    """As S3 Inventory writes it: gzip, every field quoted, a space in a key as ``+``."""
    told = io.StringIO()
    writer = csv.writer(told, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(column, row[column]) for column in columns])
    return gzip.compress(told.getvalue().encode(), mtime=0)


def _cell(column: str, value: Any) -> str:
    if column == "key":
        return quote_plus(value, safe="/")
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "isoformat"):
        return f"{value.isoformat(timespec='milliseconds')[:23]}Z"
    return "" if value is None else str(value)


def parquet_of(rows: Sequence[Row], columns: Sequence[str], *, rows_a_group: int = 7, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(_table(rows, columns), file, row_group_size=rows_a_group, **options)
    return file.getvalue()


def orc_of(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    file = io.BytesIO()
    orc.write_table(_table(rows, columns), file, stripe_size=1, batch_size=1024)
    return file.getvalue()


def _table(rows: Sequence[Row], columns: Sequence[str]) -> pa.Table:
    return pa.table({column: pa.array([row[column] for row in rows]) for column in columns})


WRITERS: dict[str, Callable[[Sequence[Row], Sequence[str]], bytes]] = {
    "CSV": csv_of,
    "Parquet": parquet_of,
    "ORC": orc_of,
}


def put_inventory(
    s3: MemoryS3, file_format: str, files: Sequence[Sequence[Row]], columns: Sequence[str] = ("bucket", "key")
) -> None:
    """An inventory of so many files, as S3 delivers it."""
    bodies = [WRITERS[file_format](rows, columns) for rows in files]
    schema = ", ".join(FIELDS[column] for column in columns) if file_format == "CSV" else "what the files say"
    put_delivery(s3, bodies, fileFormat=file_format, fileSchema=schema)


def put_delivery(s3: MemoryS3, bodies: Sequence[bytes], *, at: str = "2026-11-01T01-00Z", **told: Any) -> bytes:
    """Data files, a manifest.json that lists them, and its checksum."""
    listed = []
    for number, body in enumerate(bodies):
        key = f"inv/src/all/data/{at}-{number}"
        s3.put("lake", key, body)
        listed.append({"key": key, "size": len(body), "MD5checksum": hashlib.md5(body).hexdigest()})
    document = {
        "sourceBucket": "src",
        "destinationBucket": "arn:aws:s3:::lake",
        "version": "2016-11-30",
        "creationTimestamp": "1793494800000",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key",
        "files": listed,
        **told,
    }
    return put_document(s3, document, at=at)


def put_document(s3: MemoryS3, document: Any, *, at: str = "2026-11-01T01-00Z") -> bytes:
    told = document if isinstance(document, bytes) else json.dumps(document).encode()
    s3.put("lake", f"inv/src/all/{at}/manifest.json", told)
    s3.put("lake", f"inv/src/all/{at}/manifest.checksum", hashlib.md5(told).hexdigest() + "\n")
    return told


async def read_in_partitions(
    manifest: Manifest, s3: MemoryS3, rows_per_partition: int = 3
) -> tuple[Survey, list[Entry]]:
    """Survey a manifest, and read all its partitions, in order."""
    pinned = await manifest.pin(s3)
    found = await pinned.survey(s3)
    entries: list[Entry] = []
    for partition in split(found.marks, rows_per_partition, 10_000):
        before = len(entries)
        async for some in pinned.read(s3, partition):
            entries += some
        assert len(entries) - before == partition.rows
    assert [entry.row for entry in entries] == list(range(1, found.rows + 1))
    return found, entries


async def columns_of(manifest: Manifest, s3: MemoryS3) -> pa.Table:
    """All its batches."""
    pinned = await manifest.pin(s3)
    return pa.Table.from_batches([batch async for batch in pinned.batches(s3)])
