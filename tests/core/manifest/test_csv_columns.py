"""CSV files beyond AWS's: with a header, in gzip, about one bucket; and all their columns."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any
from urllib.parse import quote

import pytest

from airflow_s3batch.core.errors import InvalidInput, ManifestChanged, ManifestInvalid
from airflow_s3batch.core.manifest import CsvManifest, manifest_from_aws
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.testing import MemoryS3
from tests.core.manifest.inventories import AWKWARD, columns_of, read_in_partitions

URI = "s3://lake/m.csv"


def stored(text: bytes | str) -> MemoryS3:
    s3 = MemoryS3("lake")
    s3.put("lake", "m.csv", text)
    return s3


def entries_of(manifest: CsvManifest, text: bytes | str, rows_per_partition: int = 2) -> list[Entry]:
    return asyncio.run(read_in_partitions(manifest, stored(text), rows_per_partition))[1]


def columns(manifest: CsvManifest, text: bytes | str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = asyncio.run(columns_of(manifest, stored(text))).to_pylist()
    return told


# ---- what an author writes


@pytest.mark.parametrize(
    "manifest",
    [
        CsvManifest(URI, header=True),
        CsvManifest(URI, header=True, bucket="b", key="k", version="v"),
        CsvManifest(URI, header=True, bucket="s3://data", key="k"),
        CsvManifest(URI, header=True, fields=("Ignore", "Bucket", "Key")),
        CsvManifest(URI, bucket="s3://data"),
        CsvManifest(URI, bucket="s3://data", fields=("Ignore", "Key", "VersionId")),
    ],
)
def test_a_manifest_comes_back_from_json(manifest: CsvManifest) -> None:
    assert manifest_from_aws(json.loads(json.dumps(manifest.to_aws()))) == manifest


def test_a_templated_header_is_checked_once_rendered() -> None:
    told = json.dumps(CsvManifest(URI, header="{{ params.header }}", bucket="{{ params.bucket }}").to_aws())
    rendered = told.replace("{{ params.header }}", "True").replace("{{ params.bucket }}", "s3://data")

    assert manifest_from_aws(json.loads(rendered)) == CsvManifest(URI, header=True, bucket="s3://data")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"key": "k"}, "key='k' names a column: say header=True, and leave fields out$"),
        ({"version": "v"}, "version='v' names a column"),
        (
            {"bucket": "photos"},
            "'photos' names a column: .* leave fields out; if it is the bucket of all rows, write bucket='s3://photos'$",
        ),
        ({"bucket": "the bucket"}, "bucket='the bucket' names a column: say header=True, and leave fields out$"),
        ({"bucket": "b", "fields": ("Bucket", "Key")}, "bucket='b' names a column"),
        ({"header": True, "fields": ("Bucket", "Key"), "key": "k"}, "key='k' names a column"),
        ({"fields": "Bucket,Key"}, r"fields='Bucket,Key' is one text; write \['Bucket', 'Key'\]$"),
        ({"fields": "Key"}, r"is one text; write \['Key'\]$"),
        ({"bucket": "s3://data/x"}, "'s3://data/x' names more than a bucket"),
        ({"bucket": "s3://data", "fields": ("Bucket", "Key")}, "both tell the bucket; name the column Ignore"),
        ({"bucket": "s3://data", "fields": ("Bucket",)}, "Required fields are missing in the schema: Key"),
    ],
)
def test_a_wrong_manifest_is_refused_when_it_is_written(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"CsvManifest: .*{wrong}"):
        CsvManifest(URI, **arguments)


# ---- a header


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("Bucket,Key,VersionId", {}),
        ("bucket,key,version_id", {}),
        ('\ufeff"bucket","KEY","versionid"', {}),
        ("b,path,v", {"bucket": "b", "key": "path", "version": "v"}),
        ("B,Path,V", {"bucket": "b", "key": "path", "version": "v"}),
        ("any,thing,here", {"fields": ("Bucket", "Key", "VersionId")}),
    ],
)
def test_a_header_tells_the_columns(header: str, options: dict[str, Any], newline: str) -> None:
    text = f"{header}{newline}data,a%20b,v1{newline}data2,c,v2{newline}"

    assert entries_of(CsvManifest(URI, header=True, **options), text, 1) == [
        Entry(1, "data", "a b", "v1", "a%20b"),
        Entry(2, "data2", "c", "v2", "c"),
    ]


def test_other_columns_are_passed_over() -> None:
    manifest = CsvManifest(URI, header=True, bucket="s3://data")

    assert entries_of(manifest, "size,key,note\n3,a,x\n4,b,y") == [
        Entry(1, "data", "a", None, "a"),
        Entry(2, "data", "b", None, "b"),
    ]


def test_columns_are_found_when_the_manifest_is_pinned() -> None:
    s3 = stored("size,key,bucket\n3,a,data\n")
    pinned = asyncio.run(CsvManifest(URI, header=True).pin(s3))

    assert pinned.fields == ("Ignore", "Key", "Bucket")
    assert asyncio.run(pinned.pin(s3)) == pinned


@pytest.mark.parametrize(
    ("text", "options", "wrong"),
    [
        ("bucket,name\n", {}, "no column is named Key; the columns are bucket, name"),
        ("a,b\nd,k\n", {"key": "k", "bucket": "b"}, "no column is named k; the columns are a, b"),
        (
            "a,key\n",
            {"bucket": "lake"},
            "no column is named lake; the columns are a, key; if it is the bucket of all rows, write bucket='s3://lake'",
        ),
        ("key,key\n", {"bucket": "s3://data"}, "several columns are named Key; the columns are key, key"),
        (b"\xff,\n", {}, "row 1: the header can't be read ('utf-8' codec can't decode byte 0xff"),
        ('"a\n', {}, "row 1: the header can't be read (unexpected end of data)"),
        ("bucket,key\n", {}, "the manifest lists no object"),
        ("bucket,key", {}, "the manifest lists no object"),
        (
            "Bucket Name;Object Key\ndata;k\n",
            {},
            "no column is named Bucket; the columns are Bucket Name;Object Key; commas separate columns, not ';'",
        ),
        ("bucket,key\ndata\n", {}, "row 1: Unexpected number of task fields: 1 instead of 2"),
        (gzip.compress(b"", mtime=0), {}, "the manifest is empty: it lists no object"),
    ],
)
def test_a_wrong_file_is_named(text: bytes | str, options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        entries_of(CsvManifest(URI, header=True, **options), text)

    assert str(caught.value).startswith(URI)
    assert wrong in str(caught.value)


def test_a_header_that_is_not_told_of_is_refused() -> None:
    with pytest.raises(ManifestInvalid, match="is a header row; a manifest has none, remove it, or say header=True"):
        entries_of(CsvManifest(URI), "bucket,key\ndata,k\n")


def test_a_file_may_list_keys_alone() -> None:
    assert entries_of(CsvManifest(URI, bucket="s3://data"), "a\nb%20c\n") == [
        Entry(1, "data", "a", None, "a"),
        Entry(2, "data", "b c", None, "b%20c"),
    ]


# ---- gzip


@pytest.mark.parametrize("rows_per_partition", [1, 7, 1000])
@pytest.mark.parametrize("members", [1, 3])
def test_gzip_is_read_as_what_it_holds(members: int, rows_per_partition: int) -> None:
    text = "".join(f"data,{quote(key, safe='/')}\n" for key in AWKWARD)
    packed = b"".join(gzip.compress(text.encode()) for _ in range(members)) + bytes(8)

    entries = entries_of(CsvManifest(URI), packed, rows_per_partition)

    assert [entry.key for entry in entries] == AWKWARD * members


def test_gzip_may_have_a_header() -> None:
    entries = entries_of(CsvManifest(URI, header=True), gzip.compress(b"key,bucket\nk,data\nl,data\n"), 1)

    assert [entry.key for entry in entries] == ["k", "l"]


def test_what_a_large_gzip_file_holds_is_cut_anywhere() -> None:
    text = "".join(f"data,{'folder/' * 20}{number}\n" for number in range(60_000))  # 9 MB
    entries = entries_of(CsvManifest(URI), gzip.compress(text.encode()), 7_000)

    assert [entry.key.rpartition("/")[2] for entry in entries] == list(map(str, range(60_000)))


def test_gzip_that_is_damaged_is_told_so() -> None:
    packed = bytearray(gzip.compress(b"data,k\n" * 1000))
    packed[-5] ^= 1  # its checksum

    with pytest.raises(ManifestInvalid, match=r"the file is no gzip file, or is damaged .*incorrect data check"):
        entries_of(CsvManifest(URI), bytes(packed))


def test_what_follows_a_gzip_file_is_not_passed_over() -> None:
    with pytest.raises(ManifestInvalid, match=r"the file is no gzip file, or is damaged .*incorrect header check"):
        entries_of(CsvManifest(URI), gzip.compress(b"data,k\n") + b"data,l\n")


def test_a_change_of_a_gzip_file_stops_a_job() -> None:
    s3 = stored(gzip.compress(b"data,k\n"))
    pinned = asyncio.run(CsvManifest(URI).pin(s3))
    s3.put("lake", "m.csv", gzip.compress(b"data,l\n"))

    with pytest.raises(ManifestChanged, match="no further object is touched"):
        asyncio.run(pinned.survey(s3))


# ---- columns


def test_all_columns_of_a_header_are_there_for_who_asks() -> None:
    text = 'size,Path,note,where\n3,a%20b+c,"x, y",data\n4,%C3%BC,,data\n'
    manifest = CsvManifest(URI, header=True, bucket="where", key="path")

    assert columns(manifest, text) == [
        {"size": "3", "key": "a b+c", "note": "x, y", "bucket": "data"},
        {"size": "4", "key": "ü", "note": "", "bucket": "data"},
    ]


@pytest.mark.parametrize("name", ["key", "Key", "bucket", "Bucket", "IsLatest"])
def test_a_column_that_has_a_name_and_is_not_what_it_says_takes_no_ones_place(name: str) -> None:
    manifest = CsvManifest(URI, header=True, bucket="where", key="path")
    [row] = columns(manifest, f"{name},path,where\nfalse,k,data\n")

    assert (row["key"], row["bucket"]) == ("k", "data")
    assert entries_of(manifest, f"{name},path,where\nfalse,k,data\n") == [Entry(1, "data", "k", None, "k")]


def test_a_header_that_does_not_fit_the_fields_tells_no_columns() -> None:
    manifest, text = CsvManifest(URI, header=True, fields=("Bucket", "Key")), "a note\ndata,k\n"

    assert entries_of(manifest, text) == [Entry(1, "data", "k", None, "k")]
    with pytest.raises(ManifestInvalid, match=r"row 1: the header names 1 columns instead of 2 \(Bucket,Key\)"):
        columns(manifest, text)


def test_without_a_header_bucket_key_and_version_are_the_columns() -> None:
    fields = ("Ignore", "VersionId", "Key", "Bucket")

    assert columns(CsvManifest(URI, fields=fields), "x,v,k,data\n") == [
        {"version_id": "v", "key": "k", "bucket": "data"}
    ]
    assert columns(CsvManifest(URI, fields=fields), "x,,k,data\n") == [
        {"version_id": None, "key": "k", "bucket": "data"}
    ]
    assert columns(CsvManifest(URI, bucket="s3://data"), "k") == [{"bucket": "data", "key": "k"}]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_columns_hold_every_key_as_entries_do(newline: str) -> None:
    text = "".join(f"data,{quote(key, safe='/')}{newline}" for key in AWKWARD)

    assert [row["key"] for row in columns(CsvManifest(URI), text)] == AWKWARD


def test_columns_are_as_many_as_the_rows_of_a_large_file() -> None:
    text = "".join(f"data,{'folder/' * 20}{number}\n" for number in range(30_000))

    assert len(columns(CsvManifest(URI), gzip.compress(text.encode()))) == 30_000


@pytest.mark.parametrize("bad", ["data,", "data,%zz", "data", ",k"])
def test_a_bad_row_is_named_by_who_asks_for_columns_too(bad: str) -> None:
    with pytest.raises(ManifestInvalid, match=f"^{URI}, row 3: "):
        columns(CsvManifest(URI), f"data,a\ndata,b\n{bad}\n")


def test_columns_need_a_pinned_manifest() -> None:
    async def run() -> None:
        async for _ in CsvManifest(URI).batches(stored("data,k\n")):
            pass

    with pytest.raises(InvalidInput, match="has to be pinned before it is read"):
        asyncio.run(run())
