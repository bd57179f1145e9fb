"""Laws of manifests in files: whatever the format and the partitions, every row is read once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_s3batch.core.errors import ManifestError
from airflow_s3batch.core.manifest import InventoryManifest
from airflow_s3batch.core.manifest.csv_columns import CsvColumns
from airflow_s3batch.core.manifest.csv_rows import CsvRows
from airflow_s3batch.core.manifest.findings import Findings
from airflow_s3batch.core.manifest.layout import CsvLayout
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.testing import MemoryS3
from tests.core.manifest.inventories import (
    MANIFEST,
    WRITERS,
    Row,
    columns_of,
    csv_of,
    parquet_of,
    put_delivery,
    put_inventory,
    read_in_partitions,
)
from tests.property.test_csv_rows import FIELDS, FILES

COLUMNS = ("bucket", "key", "version_id", "is_latest", "is_delete_marker", "size")
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
ROWS = st.fixed_dictionaries(
    {
        "bucket": st.sampled_from(["src", "src-2"]),
        "key": KEYS,
        "version_id": st.sampled_from(["", "v1", "v2"]),
        "is_latest": st.booleans(),
        "is_delete_marker": st.booleans(),
        "size": st.integers(0, 2**42),
    }
)
TABLES = st.lists(st.lists(ROWS, min_size=1, max_size=20), min_size=1, max_size=3)
Options = dict[str, Any]
OPTIONS: st.SearchStrategy[Options] = st.fixed_dictionaries(
    {"latest_only": st.booleans(), "include_delete_markers": st.booleans()}
)


def wanted(rows: list[Row], options: Options) -> list[Row]:
    return [
        row
        for row in rows
        if (row["is_latest"] or not options["latest_only"])
        and (not row["is_delete_marker"] or options["include_delete_markers"])
    ]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(WRITERS)), TABLES, OPTIONS, st.integers(4, 50))
def test_every_wanted_row_is_read_once_in_order(
    file_format: str, files: list[list[Row]], options: Options, rows_per_partition: int
) -> None:
    expected = [row for rows in files for row in wanted(rows, options)]
    if not expected:
        return
    s3 = MemoryS3("lake")
    put_inventory(s3, file_format, files, COLUMNS)
    manifest = InventoryManifest(MANIFEST, **options)

    found, entries = asyncio.run(read_in_partitions(manifest, s3, rows_per_partition))
    told = asyncio.run(columns_of(manifest, s3)).to_pylist()

    assert [(entry.bucket, entry.key, entry.version) for entry in entries] == [
        (row["bucket"], row["key"], row["version_id"] or "null") for row in expected
    ]
    assert [{**row, "version_id": row["version_id"] or "null"} for row in expected] == told
    assert set(found.buckets) == {row["bucket"] for row in expected}


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=60), st.integers(1, 30))
def test_formats_agree(rows: list[Row], rows_a_group: int) -> None:
    async def entries(body: bytes, **told: str) -> list[tuple[str, str, str | None]]:
        s3 = MemoryS3("lake")
        put_delivery(s3, [body], **told)
        manifest = InventoryManifest(MANIFEST, include_delete_markers=True)
        return [(entry.bucket, entry.key, entry.version) for entry in (await read_in_partitions(manifest, s3))[1]]

    schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size"
    as_csv = asyncio.run(entries(csv_of(rows, COLUMNS), fileSchema=schema))

    assert asyncio.run(entries(parquet_of(rows, COLUMNS, rows_a_group=rows_a_group), fileFormat="Parquet")) == as_csv


# Rows that an inventory can hold, in all the ways the fast reader may stumble over.
FRAGMENTS = st.sampled_from(
    [
        *(
            b'"src","key","","true","false"\n',
            b'"src","k+y","v","false","false"\n',
            b'"src","k%20y","v","true","true"\n',
        ),
        *(b"src,key,,TRUE,FALSE\n", b"src,k%0Ay,v,,\n", b'src,"k,y",v,true,"false"\n', b"src,%e6%97%a5,v,false,true\n"),
        *(
            b"src,,v,true,true\n",
            b"src,%zz,v,true,false\n",
            b"src,key,v,true\n",
            b"s/c,key,v,true,true\n",
            b"\n",
            b"\r",
        ),
        *(
            b'"src","key","v","true","false"\n' * 40,
            b'"src","key","v","false","true"\n' * 40,
            b'"',
            b",",
            b"%",
            b"\xff",
        ),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAGMENTS, min_size=1, max_size=12).map(b"".join), OPTIONS)
def test_a_block_is_read_as_its_rows_are_one_by_one(file: bytes, options: Options) -> None:
    layout = CsvLayout(
        ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker"),
        inventory=True,
        latest_only=options["latest_only"],
        delete_markers=options["include_delete_markers"],
    )

    def verdict(blocks: list[bytes]) -> object:
        findings, line = Findings(), 1
        entries: list[Entry] = []
        kept: list[bool] = []
        reader = CsvRows("s3://lake/m", layout, findings)
        for block in blocks:
            try:
                checked = reader.check(block, line)
            except ManifestError as error:
                return str(error)
            line += checked.lines
            kept += [True] * checked.rows if checked.kept is None else checked.kept
            entries += reader.entries(block, 1 + len(entries))
        return kept, entries, findings.warnings, findings.buckets

    lines = [line + b"\n" for line in file.split(b"\n")]
    assert verdict([file]) == verdict(lines if file.split(b"\n")[-1] else lines[:-1])


@settings(max_examples=400, deadline=None)
@given(FIELDS, FILES)
def test_columns_tell_what_entries_do(fields: tuple[str, ...], file: bytes) -> None:
    layout = CsvLayout(fields)

    def of_entries() -> object:
        rows = CsvRows("s3://lake/m", layout).entries(file, 1)
        return [(row.bucket, row.key, row.version) for row in rows]

    def of_columns() -> object:
        told = CsvColumns("s3://lake/m", layout).batch(file).to_pylist()
        return [(row["bucket"], row["key"], row.get("version_id")) for row in told]

    assert verdict_of(of_columns) == verdict_of(of_entries)


def verdict_of(read: Callable[[], object]) -> object:
    try:
        return read()
    except ManifestError as error:
        return str(error)
