"""Parquet files of one's own are a manifest: any columns, any number of files."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from itertools import chain
from typing import Any

import pyarrow as pa
import pytest

from airflow_s3batch.core.errors import InvalidInput, ManifestChanged, ManifestError, ManifestInvalid, Unreachable
from airflow_s3batch.core.manifest import ParquetManifest, manifest_from_aws
from airflow_s3batch.core.manifest.columnar_rows import ColumnarRows
from airflow_s3batch.core.manifest.findings import Findings
from airflow_s3batch.core.partition import split
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.testing import Call, MemoryS3
from tests.core.manifest.inventories import AWKWARD, Row, columns_of, parquet_of, read_in_partitions

URI = "s3://lake/list/a.parquet"


def stored(rows: list[Row], *, key: str = "list/a.parquet", **options: Any) -> MemoryS3:
    s3 = MemoryS3("lake")
    s3.put("lake", key, parquet_of(rows, list(rows[0]), **options))
    return s3


def rows(*keys: str) -> list[Row]:
    return [{"bucket": "data", "key": key} for key in keys]


def entries_of(manifest: ParquetManifest, s3: MemoryS3, rows_per_partition: int = 3) -> list[Entry]:
    return asyncio.run(read_in_partitions(manifest, s3, rows_per_partition))[1]


# ---- what an author writes


@pytest.mark.parametrize(
    "manifest",
    [
        ParquetManifest(URI),
        ParquetManifest("s3://lake/list/*.parquet", bucket="b", key="k", version="v"),
        ParquetManifest(URI, bucket="s3://data", files=[("list/a.parquet", "etag")]),
    ],
)
def test_a_manifest_comes_back_from_json(manifest: ParquetManifest) -> None:
    assert manifest_from_aws(json.loads(json.dumps(manifest.to_aws()))) == manifest


def test_a_templated_manifest_is_checked_once_rendered() -> None:
    told = json.dumps(ParquetManifest("{{ params.at }}", bucket="{{ params.in }}").to_aws())
    rendered = told.replace("{{ params.at }}", URI).replace("{{ params.in }}", "s3://data")

    assert manifest_from_aws(json.loads(rendered)) == ParquetManifest(URI, bucket="s3://data")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"uri": "a.parquet"}, "'a.parquet' is not an S3 URI"),
        ({"uri": "s3://lake"}, "'s3://lake' names no file; write s3://bucket/key or s3://bucket/folder/*"),
        ({"bucket": "s3://data/folder"}, "'s3://data/folder' names more than a bucket; write s3://bucket"),
        ({"bucket": "s3://x"}, "'x' is not a bucket name"),
        ({"files": [("a",)]}, "files"),
    ],
)
def test_a_wrong_manifest_is_refused_when_it_is_written(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"ParquetManifest: .*{wrong.replace('*', '.')}"):
        ParquetManifest(**{"uri": URI, **arguments})


# ---- columns


@pytest.mark.parametrize("rows_per_partition", [1, 5, 1000])
def test_every_key_is_read_as_it_stands(rows_per_partition: int) -> None:
    assert [
        entry.key for entry in entries_of(ParquetManifest(URI), stored(rows(*AWKWARD)), rows_per_partition)
    ] == AWKWARD


@pytest.mark.parametrize(
    ("row", "manifest"),
    [
        ({"bucket": "data", "key": "k", "version_id": "v"}, ParquetManifest(URI)),
        ({"Bucket": "data", "KEY": "k", "VersionId": "v"}, ParquetManifest(URI)),
        ({"size": 1, "path": "k", "b": "data", "v": "v"}, ParquetManifest(URI, bucket="b", key="path", version="v")),
        ({"Path": "k", "path ": "x", "v": "v"}, ParquetManifest(URI, bucket="s3://data", key="Path", version="v")),
        ({"bucket": "x", "key": "k", "version_id": "v"}, ParquetManifest(URI, bucket="s3://data")),
    ],
)
def test_columns_are_found_by_their_names(row: Row, manifest: ParquetManifest) -> None:
    assert entries_of(manifest, stored([row])) == [Entry(1, "data", "k", "v", "k")]


@pytest.mark.parametrize(
    ("row", "manifest", "wrong"),
    [
        ({"bucket": "data", "name": "k"}, ParquetManifest(URI), "no column is named Key; the columns are bucket, name"),
        ({"key": "k"}, ParquetManifest(URI), "no column is named Bucket; the columns are key"),
        (
            {"bucket": "data", "key": "k"},
            ParquetManifest(URI, version="v"),
            "no column is named v; the columns are bucket",
        ),
        ({"bucket": "d", "KEY": "k", "Key": "k"}, ParquetManifest(URI, key="key"), "several columns are named key"),
        ({"bucket": "data", "key": 1.5}, ParquetManifest(URI), "the column key holds double, not text"),
    ],
)
def test_a_column_that_is_not_there_is_named(row: Row, manifest: ParquetManifest, wrong: str) -> None:
    with pytest.raises(ManifestInvalid, match=wrong):
        entries_of(manifest, stored([row]))


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.binary()),
    ],
    ids=str,
)
def test_text_may_be_of_any_type(kind: pa.DataType) -> None:
    told = [{"bucket": pa.scalar("data", pa.string()), "key": key} for key in AWKWARD]
    table = {name: pa.array([row[name] for row in told], pa.string()).cast(kind) for name in ("bucket", "key")}
    s3 = stored([{name: column[at] for name, column in table.items()} for at in range(len(told))])

    assert [(entry.bucket, entry.key) for entry in entries_of(ParquetManifest(URI), s3)] == [
        ("data", k) for k in AWKWARD
    ]


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "zstd", "brotli", "lz4"])
def test_columns_may_be_compressed(compression: str) -> None:
    s3 = stored(rows(*AWKWARD), compression=compression)

    assert [entry.key for entry in entries_of(ParquetManifest(URI), s3)] == AWKWARD


def test_several_buckets_may_occur() -> None:
    told = [{"bucket": f"data-{number % 3}", "key": "k"} for number in range(10)]
    found, entries = asyncio.run(read_in_partitions(ParquetManifest(URI), stored(told)))

    assert found.buckets == ("data-0", "data-1", "data-2")
    assert [entry.bucket for entry in entries] == [row["bucket"] for row in told]


@pytest.mark.parametrize("nothing", ["", None])
def test_no_row_may_have_a_version_and_then_none_has(nothing: str | None) -> None:
    told: list[Row] = [{"bucket": "data", "key": "k", "version_id": nothing}] * 3 + [
        {"bucket": "data", "key": "k", "version_id": ""}
    ]

    assert {entry.version for entry in entries_of(ParquetManifest(URI), stored(told))} == {None}


@pytest.mark.parametrize(("first", "then"), [("v", None), (None, "v"), ("v", "")])
def test_a_version_in_some_rows_only_is_refused(first: str | None, then: str | None) -> None:
    told = [{"bucket": "data", "key": "k", "version_id": version} for version in [first] * 10 + [then]]

    with pytest.raises(ManifestInvalid, match=r"row 11: this row has (a|no) version ID where the rows before have"):
        entries_of(ParquetManifest(URI), stored(told))


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids=["with first", "without first"])
@pytest.mark.parametrize("without", [["bucket", "key"], ["bucket", "key", "version_id"]], ids=["no column", "no value"])
def test_files_with_and_without_versions_are_both_named(order: tuple[str, str], without: list[str]) -> None:
    s3 = MemoryS3("lake")
    some = [{"bucket": "data", "key": f"k{n}", "version_id": "v"} for n in range(30)]
    none = [{**row, "version_id": ""} for row in some]
    with_versions, without_versions = order
    s3.put("lake", f"list/{with_versions}.parquet", parquet_of(some, ["bucket", "key", "version_id"]))
    s3.put("lake", f"list/{without_versions}.parquet", parquet_of(none, without))

    with pytest.raises(
        ManifestInvalid,
        match=rf"^s3://lake/list/\*: rows of s3://lake/list/{with_versions}.parquet have version IDs, and rows of "
        rf"s3://lake/list/{without_versions}.parquet have none; give all files",
    ):
        entries_of(ParquetManifest("s3://lake/list/*"), s3)


def test_all_columns_are_there_for_who_asks() -> None:
    told = [{"b": "x", "k": "a b", "size": 3, "tags": ["t"], "kind": "c"}]
    s3 = stored(told, use_dictionary=True)
    table = asyncio.run(columns_of(ParquetManifest(URI, bucket="s3://data", key="k"), s3))

    assert table.to_pylist() == [{"bucket": "data", "key": "a b", "b": "x", "size": 3, "tags": ["t"], "kind": "c"}]


def test_a_dictionary_is_told_as_what_it_means() -> None:
    table = {"bucket": pa.array(["data"]), "key": pa.array(["k"]), "kind": pa.array(["c"]).dictionary_encode()}
    s3 = stored([{name: column[0] for name, column in table.items()}])
    told = asyncio.run(columns_of(ParquetManifest(URI), s3))

    assert told.schema.field("kind").type == pa.string()
    assert told.to_pylist() == [{"bucket": "data", "key": "k", "kind": "c"}]


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.dictionary(pa.int8(), pa.binary())], ids=str)
def test_a_key_that_is_no_text_is_named(kind: pa.DataType) -> None:
    bad = pa.array([b"good", "ü".encode(), b"\xff"], pa.binary())
    # A writer may call bytes a string without looking at them.
    keys = pa.StringArray.from_buffers(3, *bad.buffers()[1:]) if kind == pa.string() else bad.cast(kind)
    s3 = stored([{"bucket": "data", "key": key} for key in keys])

    with pytest.raises(ManifestInvalid, match="row 3: key is not UTF-8"):
        entries_of(ParquetManifest(URI), s3)


def test_the_column_that_tells_the_bucket_has_its_name() -> None:
    told = [{"bucket": "old", "where": "data", "key": "k", "v": ""}]
    table = asyncio.run(columns_of(ParquetManifest(URI, bucket="where", version="v"), stored(told)))

    assert table.to_pylist() == [{"bucket": "data", "key": "k", "version_id": None}]


# ---- files


def test_a_pattern_is_all_files_that_match_in_the_order_of_their_keys() -> None:
    s3 = MemoryS3("lake", page_size=2)
    for key in ("b.parquet", "a.parquet", "c.csv", "x/d.parquet", "a2.parquet"):
        s3.put("lake", f"list/{key}", parquet_of(rows(key), ["bucket", "key"]))
    s3.put("lake", "list/.parquet", b"")

    def found(pattern: str) -> list[str]:
        return [entry.key for entry in entries_of(ParquetManifest(f"s3://lake/list/{pattern}"), s3)]

    assert found("*.parquet") == ["a.parquet", "a2.parquet", "b.parquet"]
    assert found("?.parquet") == ["a.parquet", "b.parquet"]
    assert found("**.parquet") == ["a.parquet", "a2.parquet", "b.parquet", "x/d.parquet"]


def test_files_are_pinned_by_their_etags() -> None:
    s3 = stored(rows("a"))
    s3.put("lake", "list/b.parquet", parquet_of(rows("b"), ["bucket", "key"]))
    pinned = asyncio.run(ParquetManifest("s3://lake/list/*").pin(s3))
    s3.put("lake", "list/c.parquet", b"not there when the job was prepared")

    assert [key for key, _ in pinned.files] == ["list/a.parquet", "list/b.parquet"]
    assert asyncio.run(pinned.pin(s3)) == pinned
    assert [entry.key for entry in entries_of(pinned, s3)] == ["a", "b"]


def test_a_change_under_a_job_stops_it() -> None:
    s3 = stored(rows("a"))
    pinned = asyncio.run(ParquetManifest(URI).pin(s3))
    s3.put("lake", "list/a.parquet", parquet_of(rows("b"), ["bucket", "key"]))

    with pytest.raises(ManifestChanged, match=r"^s3://lake/list/a\.parquet: .*no further object is touched"):
        entries_of(pinned, s3)


def test_a_run_can_look_at_the_files_its_rows_come_from() -> None:
    async def run() -> list[list[str]]:
        s3 = stored(rows("a", "b"))
        for name in "bc":
            s3.put("lake", f"list/{name}.parquet", parquet_of(rows("a", "b"), ["bucket", "key"]))
        pinned = await ParquetManifest("s3://lake/list/*").pin(s3)
        partitions = split((await pinned.survey(s3)).marks, 2, 3)
        found = [await pinned.pinned_objects(s3, partition) for partition in partitions]
        for one in chain.from_iterable(found):
            await one.looked_at(s3)
        return [[one.location.key for one in some] for some in found]

    assert asyncio.run(run()) == [["list/a.parquet"], ["list/b.parquet"], ["list/c.parquet"]]


@pytest.mark.parametrize(
    ("s3", "uri", "wrong"),
    [
        (MemoryS3("lake"), URI, "the manifest doesn't exist"),
        (MemoryS3("lake"), "s3://lake/list/*", "no file matches, or all are empty"),
        (MemoryS3(forbidden=["lake"]), "s3://lake/list/*", "the files can't be listed: AccessDenied: Access Denied"),
    ],
)
def test_files_that_are_not_there_are_told_so(s3: MemoryS3, uri: str, wrong: str) -> None:
    with pytest.raises(ManifestError, match=wrong):
        asyncio.run(ParquetManifest(uri).pin(s3))


def test_too_many_files_are_refused() -> None:
    class Crowded(MemoryS3):
        async def call(self, *_: str, **__: Any) -> dict[str, Any]:
            about = {"Size": 1, "ETag": "e", "LastModified": datetime(2026, 11, 24, tzinfo=timezone.utc)}
            return {"Contents": [{"Key": f"list/{number}", **about} for number in range(10_001)]}

    with pytest.raises(ManifestInvalid, match="over 10,000 files match; write fewer, larger ones"):
        asyncio.run(ParquetManifest("s3://lake/list/*").pin(Crowded("lake")))


def test_a_manifest_has_to_be_pinned_before_it_is_read() -> None:
    with pytest.raises(InvalidInput, match="has to be pinned before it is read"):
        asyncio.run(ParquetManifest(URI).survey(MemoryS3("lake")))


# ---- size, and what happens on the way


def test_a_row_group_may_be_cut_and_a_partition_takes_several() -> None:
    keys = [f"{number:06}" for number in range(150_000)]
    s3 = stored(rows(*keys), rows_a_group=100_000)
    pinned = asyncio.run(ParquetManifest(URI).pin(s3))
    found = asyncio.run(pinned.survey(s3))
    partitions = split(found.marks, 40_000, 100)

    async def read(number: int) -> list[str]:
        return [entry.key async for some in pinned.read(s3, partitions[number]) for entry in some]

    assert all(partition.rows == pytest.approx(37_500, rel=0.01) for partition in partitions)
    assert [key for number in range(4) for key in asyncio.run(read(number))] == keys


def test_what_is_read_is_a_part_of_the_file() -> None:
    keys = [f"{number:07}" for number in range(150_000)]
    told = [{"bucket": "data", "key": key, "etag": key * 9} for key in keys]
    s3 = stored(told, rows_a_group=150_000, use_dictionary=False, compression="none")
    size = len(s3.get("lake", "list/a.parquet"))

    assert len(entries_of(ParquetManifest(URI), s3, 150_000)) == 150_000
    asked = [
        call.parameters["Range"].removeprefix("bytes=").split("-") for call in s3.calls if "Range" in call.parameters
    ]
    read = sum(int(last) - int(first) + 1 for first, last in asked)
    assert read < 2 * size * 0.5  # a survey and a run, of two columns of three
    assert max(int(last) - int(first) for first, last in asked) < 2**20


def test_a_row_group_is_not_held_as_a_whole() -> None:
    def most(rows: int) -> int:
        told = [{"bucket": "data", "key": f"{number:0500}"} for number in range(rows)]
        s3 = stored(told, rows_a_group=rows, use_dictionary=False, compression="none")
        del told
        before = pa.total_allocated_bytes()
        peak = 0

        async def surveyed() -> None:
            nonlocal peak
            async for _ in pinned.batches(s3):
                peak = max(peak, pa.total_allocated_bytes() - before)

        pinned = asyncio.run(ParquetManifest(URI).pin(s3))
        asyncio.run(surveyed())
        return peak

    assert most(160_000) < 1.2 * most(80_000)  # 80 and 40 MB


def breaking(change: Callable[[], object], after: int) -> MemoryS3:
    gets = 0

    def count(call: Call) -> None:
        nonlocal gets
        gets += call.action == "GetObject"
        if gets > after:
            change()

    s3 = MemoryS3("lake", before=count)
    told = [{"bucket": "data", "key": f"{number:0500}"} for number in range(20_000)]
    s3.put("lake", "list/a.parquet", parquet_of(told, ["bucket", "key"], rows_a_group=2_000, compression="none"))
    return s3


def test_a_change_between_two_row_groups_stops_a_job() -> None:
    s3 = breaking(lambda: s3.put("lake", "list/a.parquet", b"x" * 20_000_000), 6)

    with pytest.raises(ManifestChanged):
        entries_of(ParquetManifest(URI), s3)


def test_a_store_that_goes_away_is_told_with_its_own_words() -> None:
    def away() -> None:
        raise Unreachable("GetObject", URI, status=0, code="ConnectTimeout", message="nobody there")

    with pytest.raises(ManifestError, match=r"the manifest can't be read: GetObject .*ConnectTimeout: nobody there"):
        entries_of(ParquetManifest(URI), breaking(away, 6))


def test_a_reader_that_stops_early_leaves_nothing_behind() -> None:
    async def first_rows() -> int:
        s3 = breaking(lambda: None, 0)
        pinned = await ParquetManifest(URI).pin(s3)
        found = await pinned.survey(s3)
        entries = pinned.read(s3, split(found.marks, 100_000, 1)[0])
        count = len(await anext(entries))
        await entries.aclose()
        return count

    assert asyncio.run(first_rows()) > 0


def test_a_reader_that_is_cancelled_while_it_waits_ends_at_once() -> None:
    class Stuck(MemoryS3):
        stuck = False

        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if self.stuck and parameters["Range"] != "bytes=0-1":
                await asyncio.sleep(3600)
            return await super().call(action, **parameters)

    async def run() -> None:
        s3 = Stuck("lake")
        s3.put("lake", "list/a.parquet", parquet_of(rows("a"), ["bucket", "key"]))
        pinned = await ParquetManifest(URI).pin(s3)
        s3.stuck = True
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pinned.survey(s3), 0.2)

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_survey_reads_no_column_that_it_does_not_check() -> None:
    keys = [f"{number:07}" for number in range(150_000)]
    told = [{"bucket": "data", "key": key, "size": key * 9, "etag": key * 9} for key in keys]
    s3 = stored(told, rows_a_group=150_000, use_dictionary=False, compression="none")
    pinned = asyncio.run(ParquetManifest(URI).pin(s3))

    def asked(columns: Sequence[str]) -> set[str]:
        s3.calls.clear()
        assert asyncio.run(pinned.survey(s3, columns)).rows == 150_000
        return {call.parameters["Range"] for call in s3.calls}

    assert asked(["size", "etag"]) == asked([])


def test_all_files_are_decoded_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    check = ColumnarRows.check

    def noted(self: ColumnarRows, batch: pa.RecordBatch, row: int, findings: Findings) -> pa.BooleanArray | None:
        threads.add(threading.get_ident())
        return check(self, batch, row, findings)

    monkeypatch.setattr(ColumnarRows, "check", noted)
    s3 = MemoryS3("lake")
    for number in range(12):
        s3.put("lake", f"list/{number}.parquet", parquet_of(rows(f"{number}/a", f"{number}/b"), ["bucket", "key"]))

    assert len(entries_of(ParquetManifest("s3://lake/list/*.parquet"), s3)) == 24
    assert len(threads) == 1
    assert threading.get_ident() not in threads
