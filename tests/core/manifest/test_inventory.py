"""Inventories are read as S3 wrote them, whatever their format, and only if they are what S3 wrote."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import chain
from typing import Any

import pytest
from pyarrow import orc

from airflow_s3batch.core.errors import InvalidInput, ManifestChanged, ManifestError, ManifestInvalid, S3Error
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import InventoryManifest, manifest_from_aws
from airflow_s3batch.core.partition import Partition, split
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.testing import Call, MemoryS3
from tests.core.manifest.inventories import (
    AWKWARD,
    FOLDER,
    MANIFEST,
    WRITERS,
    Row,
    columns_of,
    csv_of,
    orc_of,
    parquet_of,
    put_delivery,
    put_document,
    put_inventory,
    read_in_partitions,
)

EVERY_FORMAT = pytest.mark.parametrize("file_format", WRITERS)
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc)
PLACE, NOW = S3Location("lake", "job/generated"), datetime(2026, 11, 24, tzinfo=timezone.utc)


def rows(*keys: str, **columns: Any) -> list[Row]:
    return [{"bucket": "src", "key": key, **columns} for key in keys]


def inventory(file_format: str, files: list[list[Row]], *columns: str, **options: Any) -> MemoryS3:
    s3 = MemoryS3("lake", **options)
    put_inventory(s3, file_format, files, ("bucket", "key", *columns))
    return s3


def versions() -> list[Row]:
    """Two versions of a, a delete marker over one of b, and c, which is older than versioning."""
    told = [("a", "v2", True, False), ("a", "v1", False, False), ("b", "v4", True, True), ("b", "v3", False, False)]
    return [
        {"bucket": "src", "key": key, "version_id": version, "is_latest": latest, "is_delete_marker": marker}
        for key, version, latest, marker in [*told, ("c", "", True, False)]
    ]


VERSIONED = ("version_id", "is_latest", "is_delete_marker")


# ---- what an author writes


def test_an_inventory_is_told_in_awss_words() -> None:
    manifest = InventoryManifest(MANIFEST, etag="abc", version_id="v1")

    assert manifest.to_aws() == {
        "Spec": {"Format": "S3InventoryReport_CSV_20161130"},
        "Location": {
            "ObjectArn": "arn:aws:s3:::lake/inv/src/all/2026-11-01T01-00Z/manifest.json",
            "ObjectVersionId": "v1",
            "ETag": "abc",
        },
    }


@pytest.mark.parametrize(
    "manifest",
    [
        InventoryManifest(MANIFEST),
        InventoryManifest(FOLDER),
        InventoryManifest("s3://lake/"),
        InventoryManifest("s3://lake/manifest.json"),
        InventoryManifest(MANIFEST, latest_only=True, include_delete_markers=True, verify_checksums=False),
        InventoryManifest(MANIFEST, etag="e", file_etags=("", "f-2")),
    ],
)
def test_an_inventory_comes_back_from_json(manifest: InventoryManifest) -> None:
    assert manifest_from_aws(json.loads(json.dumps(manifest.to_aws()))) == manifest


def test_a_templated_inventory_is_checked_once_rendered() -> None:
    told = json.dumps(InventoryManifest("{{ params.at }}", latest_only="{{ params.latest }}").to_aws())
    rendered = told.replace("{{ params.at }}", MANIFEST).replace("{{ params.latest }}", "True")

    assert manifest_from_aws(json.loads(rendered)) == InventoryManifest(MANIFEST, latest_only=True)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"uri": "s3://lake/inv/data.csv.gz"}, "'s3://lake/inv/data.csv.gz' is no inventory; write s3://"),
        ({"uri": "s3://lake/inv/old-manifest.json"}, "is no inventory"),
        ({"uri": "lake"}, "'lake' is not an S3 URI"),
        ({"uri": FOLDER, "etag": "abc"}, "a folder's newest inventory has no etag or version_id yet"),
        ({"latest_only": "perhaps"}, "latest_only: 'perhaps' is neither True nor False"),
    ],
)
def test_a_wrong_inventory_is_refused_when_it_is_written(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"InventoryManifest: .*{wrong}"):
        InventoryManifest(**{"uri": MANIFEST, **arguments})


# ---- rows


@EVERY_FORMAT
@pytest.mark.parametrize("rows_per_partition", [1, 4, 1000])
def test_every_key_is_read_whatever_the_format(file_format: str, rows_per_partition: int) -> None:
    s3 = inventory(file_format, [rows(*AWKWARD), rows("x"), rows(*reversed(AWKWARD))])
    found, entries = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3, rows_per_partition))

    assert [entry.key for entry in entries] == [*AWKWARD, "x", *reversed(AWKWARD)]
    assert {(entry.bucket, entry.version) for entry in entries} == {("src", None)}
    assert found.buckets == ("src",)
    assert found.warnings == ()


def test_the_reports_key_is_as_a_csv_spells_it() -> None:
    _, entries = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), inventory("CSV", [rows("a b", "a+b")])))

    assert [entry.manifest_key for entry in entries] == ["a%20b", "a%2Bb"]


@pytest.mark.parametrize("file_format", ["Parquet", "ORC"])
def test_the_reports_key_is_percent_encoded_where_the_file_holds_it_plain(file_format: str) -> None:
    s3 = inventory(file_format, [rows("year=2026/a b", "a+b", "50%", "new\nline", "ü", "a,b", "\0")])
    _, entries = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3, 1000))

    spelled = ["year=2026/a%20b", "a%2Bb", "50%25", "new%0Aline", "%C3%BC", "a%2Cb", "%00"]
    assert [entry.manifest_key for entry in entries] == spelled


@EVERY_FORMAT
def test_columns_may_be_any_in_any_order(file_format: str) -> None:
    s3 = MemoryS3("lake")
    told = [{"key": "k", "e_tag": "e", "bucket": "src", "size": 5, "object_owner": "me"}]
    put_inventory(s3, file_format, [told], ("object_owner", "key", "size", "bucket", "e_tag"))

    _, entries = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3))

    assert entries == [Entry(1, "src", "k", None, "k")]


@EVERY_FORMAT
@pytest.mark.parametrize(
    ("options", "kept", "warnings"),
    [
        (
            {},
            [("a", "v2"), ("a", "v1"), ("b", "v3"), ("c", "null")],
            (
                "1 delete markers are left out; include_delete_markers=True keeps them",
                "2 versions that are not the latest are in the manifest; latest_only=True leaves them out",
            ),
        ),
        (
            {"latest_only": True},
            [("a", "v2"), ("c", "null")],
            (
                "1 delete markers are left out; include_delete_markers=True keeps them",
                "2 versions that are not the latest are left out (latest_only)",
            ),
        ),
        (
            {"include_delete_markers": True},
            [("a", "v2"), ("a", "v1"), ("b", "v4"), ("b", "v3"), ("c", "null")],
            ("2 versions that are not the latest are in the manifest; latest_only=True leaves them out",),
        ),
        (
            {"latest_only": True, "include_delete_markers": True},
            [("a", "v2"), ("b", "v4"), ("c", "null")],
            ("2 versions that are not the latest are left out (latest_only)",),
        ),
    ],
)
def test_versions_and_delete_markers_are_kept_as_asked(
    file_format: str, options: dict[str, Any], kept: list[tuple[str, str]], warnings: tuple[str, ...]
) -> None:
    s3 = inventory(file_format, [versions()], *VERSIONED)
    found, entries = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST, **options), s3, 1))

    assert [(entry.key, entry.version) for entry in entries] == kept
    assert found.warnings == warnings


@EVERY_FORMAT
def test_rows_that_are_left_out_may_be_whole_blocks(file_format: str) -> None:
    gone = [dict(row, is_delete_marker=True) for row in versions()]
    s3 = inventory(file_format, [gone * 400, versions(), gone * 400], *VERSIONED)
    found, entries = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3, 2))

    assert [entry.key for entry in entries] == ["a", "a", "b", "c"]
    assert found.warnings[0].startswith("4,001 delete markers")


@EVERY_FORMAT
def test_an_inventory_all_of_whose_rows_are_left_out_lists_nothing(file_format: str) -> None:
    s3 = inventory(file_format, [[dict(row, is_delete_marker=True) for row in versions()]], *VERSIONED)

    with pytest.raises(ManifestInvalid, match=r"^s3://lake/inv/.*the manifest lists no object 5 delete markers are"):
        asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3))


@EVERY_FORMAT
def test_the_latest_cannot_be_told_without_their_column(file_format: str) -> None:
    s3 = inventory(file_format, [rows("k", version_id="v")], "version_id")

    with pytest.raises(ManifestInvalid, match=r"latest_only needs the (field IsLatest|column is_latest)"):
        asyncio.run(read_in_partitions(InventoryManifest(MANIFEST, latest_only=True), s3))


def test_flags_may_be_texts_in_any_case() -> None:
    told = [dict(row, is_latest=str(row["is_latest"]), is_delete_marker="TRUE") for row in versions()]
    s3 = inventory("Parquet", [[dict(told[0], is_delete_marker="False"), *told]], *VERSIONED)
    _, entries = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST, latest_only=True), s3))

    assert [entry.version for entry in entries] == ["v2"]


@EVERY_FORMAT
@pytest.mark.parametrize(
    ("bad", "wrong"),
    [
        ({"bucket": "no/bucket"}, "'no/bucket' is not a bucket's name"),
        ({"bucket": ""}, "the bucket is empty"),
        ({"key": ""}, "the key is empty"),
        ({"key": "ü" * 513}, "the key has 1026 bytes; S3 takes 1024"),
    ],
)
def test_a_bad_row_is_named_by_its_place_in_its_file(file_format: str, bad: dict[str, str], wrong: str) -> None:
    good = rows(*(f"k{number}" for number in range(20)))
    s3 = inventory(file_format, [good, [*good, {**good[0], **bad}, *good]])

    with pytest.raises(ManifestInvalid) as caught:
        asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3))

    assert str(caught.value) == f"s3://lake/inv/src/all/data/2026-11-01T01-00Z-1, row 21: {wrong}"


@pytest.mark.parametrize("file_format", ["Parquet", "ORC"])
@pytest.mark.parametrize("column", ["bucket", "key"])
def test_a_missing_value_is_named(file_format: str, column: str) -> None:
    s3 = inventory(file_format, [[*rows("a"), {**rows("b")[0], column: None}]])

    with pytest.raises(ManifestInvalid, match=f"row 2: the {column} is empty"):
        asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3))


def test_files_of_no_rows_are_passed_over() -> None:
    told = [[], rows("a"), [], rows("b"), []]
    s3 = MemoryS3("lake")
    put_delivery(s3, [b"", *(csv_of(some, ("bucket", "key")) for some in told)])

    assert [entry.key for entry in asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3, 1))[1]] == ["a", "b"]


def test_data_files_may_be_plain_text() -> None:
    s3 = MemoryS3("lake")
    put_delivery(s3, [b'"src","a+b"\n', b"src,c%20d\nsrc,e\n"])
    _, entries = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3, 1))

    assert [entry.key for entry in entries] == ["a b", "c d", "e"]


# ---- columns


@EVERY_FORMAT
def test_columns_have_their_names_and_types_in_every_format(file_format: str) -> None:
    more = {"size": 2**40, "last_modified_date": WHEN, "e_tag": "e", "storage_class": "GLACIER_IR"}
    told = [{**row, **more, "key": key} for row, key in zip(versions(), AWKWARD[1:6], strict=True)]
    s3 = inventory(file_format, [told, told], *VERSIONED, *more)
    table = asyncio.run(columns_of(InventoryManifest(MANIFEST), s3))

    kept = [{**row, "version_id": row["version_id"] or "null"} for row in told if not row["is_delete_marker"]]
    assert table.to_pylist() == kept * 2
    assert str(table.schema.field("last_modified_date").type).endswith("tz=UTC]")


def test_a_time_without_a_zone_is_utc() -> None:
    s3 = inventory("Parquet", [rows("k", last_modified_date=WHEN.replace(tzinfo=None))], "last_modified_date")
    told = asyncio.run(columns_of(InventoryManifest(MANIFEST), s3)).to_pylist()

    assert told[0]["last_modified_date"] == WHEN


def test_a_value_that_is_none_of_its_type_is_an_error() -> None:
    s3 = inventory("CSV", [rows("k", size="large")], "size")

    with pytest.raises(ManifestInvalid, match="size can't be read: Failed to parse"):
        asyncio.run(columns_of(InventoryManifest(MANIFEST), s3))


def test_what_an_inventory_leaves_empty_is_missing() -> None:
    s3 = inventory(
        "CSV", [rows("k", size=None, last_modified_date=None, e_tag=None)], "size", "last_modified_date", "e_tag"
    )
    told = asyncio.run(columns_of(InventoryManifest(MANIFEST), s3)).to_pylist()

    assert told == [{"bucket": "src", "key": "k", "size": None, "last_modified_date": None, "e_tag": ""}]


# ---- what S3 wrote


@EVERY_FORMAT
def test_an_inventory_is_pinned_by_its_etag_and_its_files_by_theirs(file_format: str) -> None:
    s3 = inventory(file_format, [rows("a"), rows("b")])
    pinned = asyncio.run(InventoryManifest(MANIFEST).pin(s3))

    assert pinned.etag
    assert pinned.file_etags == ()  # they are the MD5s
    assert manifest_from_aws(json.loads(json.dumps(pinned.to_aws()))) == pinned


class InParts(MemoryS3):
    """A store in which every data file was uploaded in parts: its ETag isn't its MD5."""

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        if "/data/" in parameters.get("Key", "") and "IfMatch" in parameters:
            parameters["IfMatch"] = parameters["IfMatch"].replace('-2"', '"')
        answer = await super().call(action, **parameters)
        if "/data/" in parameters.get("Key", ""):
            answer["ETag"] = answer["ETag"][:-1] + '-2"'
        return answer


@EVERY_FORMAT
def test_files_uploaded_in_parts_are_pinned_and_verified_too(file_format: str) -> None:
    s3 = InParts("lake")
    put_inventory(s3, file_format, [rows("a"), rows("b")])
    manifest = InventoryManifest(MANIFEST)
    pinned = asyncio.run(manifest.pin(s3))

    assert [etag[-2:] for etag in pinned.file_etags] == ["-2", "-2"]
    assert [entry.key for entry in asyncio.run(read_in_partitions(manifest, s3))[1]] == ["a", "b"]
    assert asyncio.run(columns_of(manifest, s3)).num_rows == 2


def damaged(s3: MemoryS3, key: str) -> None:
    """Change a file and nothing about its size."""
    body = s3.get("lake", key)
    s3.put("lake", key, body[:-9] + bytes([body[-9] ^ 1]) + body[-8:])


@pytest.mark.parametrize("store", [MemoryS3, InParts])
@EVERY_FORMAT
def test_a_file_that_is_not_what_s3_wrote_is_refused(file_format: str, store: type[MemoryS3]) -> None:
    s3 = store("lake")
    put_inventory(s3, file_format, [rows(*AWKWARD)])
    damaged(s3, "inv/src/all/data/2026-11-01T01-00Z-0")

    with pytest.raises(
        ManifestInvalid, match=r"-0: (its MD5 is [0-9a-f]{32}, not|the file is no gzip file, or is damaged)"
    ):
        asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3))


def test_columns_are_verified_as_well() -> None:
    s3 = MemoryS3("lake")
    put_delivery(s3, [b"src,aa\n"])
    s3.put("lake", "inv/src/all/data/2026-11-01T01-00Z-0", b"src,bb\n")

    with pytest.raises(ManifestInvalid, match="its MD5 is"):
        asyncio.run(columns_of(InventoryManifest(MANIFEST), s3))


def test_checksums_are_passed_over_if_asked() -> None:
    s3 = MemoryS3("lake")
    put_delivery(s3, [b"src,aa\n"])
    s3.put("lake", "inv/src/all/data/2026-11-01T01-00Z-0", b"src,bb\n")
    asyncio.run(s3.call("DeleteObject", Bucket="lake", Key="inv/src/all/2026-11-01T01-00Z/manifest.checksum"))
    manifest = InventoryManifest(MANIFEST, verify_checksums=False)

    assert [entry.key for entry in asyncio.run(read_in_partitions(manifest, s3))[1]] == ["bb"]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (
            lambda s3: s3.put("lake", "inv/src/all/2026-11-01T01-00Z/manifest.checksum", "0" * 32),
            "its MD5 is .*, not 0000",
        ),
        (lambda s3: s3.put("lake", "inv/src/all/2026-11-01T01-00Z/manifest.checksum", b"\xff"), "its MD5 is .*, not"),
        (
            lambda s3: s3.put("lake", "inv/src/all/data/2026-11-01T01-00Z-0", "x"),
            "-0: it has 1 bytes where manifest.json",
        ),
    ],
)
def test_a_delivery_that_does_not_fit_is_refused_when_it_is_pinned(
    change: Callable[[MemoryS3], object], wrong: str
) -> None:
    s3 = inventory("CSV", [rows("a")])
    change(s3)

    with pytest.raises(ManifestInvalid, match=wrong):
        asyncio.run(InventoryManifest(MANIFEST).pin(s3))


@pytest.mark.parametrize(
    ("gone", "wrong"),
    [
        ("2026-11-01T01-00Z/manifest.json", "manifest.json: the manifest doesn't exist"),
        ("2026-11-01T01-00Z/manifest.checksum", "manifest.checksum: the inventory isn't complete: it has no manifest"),
        ("data/2026-11-01T01-00Z-0", "-0: the manifest doesn't exist"),
    ],
)
def test_what_is_missing_is_named(gone: str, wrong: str) -> None:
    s3 = inventory("CSV", [rows("a")])
    asyncio.run(s3.call("DeleteObject", Bucket="lake", Key=f"inv/src/all/{gone}"))

    with pytest.raises(ManifestError, match=wrong) as caught:
        asyncio.run(InventoryManifest(MANIFEST).pin(s3))

    assert caught.value.code == "NoSuchKey"


def test_a_checksum_that_may_not_be_read_is_told_so() -> None:
    s3 = MemoryS3("lake", before=lambda call: forbid(call, "manifest.checksum"))
    put_inventory(s3, "CSV", [rows("a")])

    with pytest.raises(ManifestError, match="the inventory's checksum can't be read: AccessDenied"):
        asyncio.run(InventoryManifest(MANIFEST).pin(s3))


def forbid(call: Call, what: str) -> None:
    if what in call.parameters["Key"]:
        raise S3Error(call.action, "s3://lake/", status=403, code="AccessDenied", message="Access Denied")


DOCUMENT: dict[str, Any] = {
    "destinationBucket": "arn:aws:s3:::lake",
    "fileFormat": "CSV",
    "fileSchema": "Bucket, Key",
    "files": [{"key": "k", "size": 1, "MD5checksum": "0" * 32}],
}


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        (b"{", "it is no manifest.json of S3 Inventory (JSONDecodeError: "),
        (b"\xff", "it is no manifest.json of S3 Inventory (UnicodeDecodeError: "),
        ([], "it is no manifest.json of S3 Inventory (TypeError: "),
        ({}, "it is no manifest.json of S3 Inventory (KeyError: 'fileFormat')"),
        ({**DOCUMENT, "fileFormat": "Avro"}, "its fileFormat is 'Avro'; known are CSV, ORC, Parquet"),
        ({**DOCUMENT, "fileSchema": "Bucket, Size"}, "Required fields are missing in the schema: Key"),
        ({**DOCUMENT, "fileSchema": "Key"}, "Required fields are missing in the schema: Bucket"),
        ({**DOCUMENT, "files": []}, "the inventory lists no file, and so no object"),
        ({**DOCUMENT, "files": [{"key": "k", "size": 1}]}, "(KeyError: 'MD5checksum')"),
        ({**DOCUMENT, "files": [{"key": "k", "size": 1, "MD5checksum": "x"}]}, "the MD5checksum 'x' is none"),
        ({**DOCUMENT, "destinationBucket": "arn:aws:s3:::"}, "is not an S3 ARN"),
        ({**DOCUMENT, "destinationBucket": None}, "it is no manifest.json of S3 Inventory (AttributeError: "),
    ],
)
def test_what_is_no_inventory_is_refused(document: Any, wrong: str) -> None:
    s3 = MemoryS3("lake")
    put_document(s3, document)

    with pytest.raises(ManifestInvalid) as caught:
        asyncio.run(InventoryManifest(MANIFEST).pin(s3))

    assert str(caught.value).startswith(MANIFEST)
    assert wrong in str(caught.value)


def test_a_file_is_in_the_bucket_that_the_inventory_names() -> None:
    s3 = MemoryS3("lake", "elsewhere")
    put_document(s3, {**DOCUMENT, "destinationBucket": "elsewhere"})

    with pytest.raises(ManifestError, match=r"^s3://elsewhere/k: the manifest doesn't exist"):
        asyncio.run(InventoryManifest(MANIFEST).pin(s3))


@pytest.mark.parametrize(
    ("file_format", "body", "wrong"),
    [
        ("CSV", csv_of(rows("a", "b"), ("bucket", "key"))[:-9], "the file is cut off: its gzip stream has no end"),
        ("CSV", b"\x1f\x8b\x08\xff" + bytes(20), "the file is no gzip file, or is damaged"),
        ("Parquet", parquet_of(rows("a"), ("bucket", "key"))[:-9], "the file can't be read as Parquet: "),
        ("Parquet", parquet_of(rows("a"), ("bucket", "key"))[9:], "the file can't be read as Parquet: "),
        ("Parquet", b"PAR1", "the file can't be read as Parquet: "),
        ("ORC", b"ORC\nno such thing", "the file can't be read as ORC: "),
        ("Parquet", parquet_of(rows("a"), ("key",)), "no column is named Bucket; the columns are key"),
        (
            "Parquet",
            parquet_of([{"bucket": "src", "key": 7}], ("bucket", "key")),
            "the column key holds int64, not text",
        ),
        ("Parquet", parquet_of([{"bucket": "src", "key": b"\xff"}], ("bucket", "key")), "row 1: key is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(file_format: str, body: bytes, wrong: str) -> None:
    s3 = MemoryS3("lake")
    put_delivery(s3, [body], fileFormat=file_format)

    with pytest.raises(ManifestInvalid) as caught:
        asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3))

    assert "/data/2026-11-01T01-00Z-0" in str(caught.value)
    assert wrong in str(caught.value)


@EVERY_FORMAT
@pytest.mark.parametrize("what", ["data/2026-11-01T01-00Z-1", "2026-11-01T01-00Z/manifest.json"])
def test_a_change_under_a_job_stops_it(file_format: str, what: str) -> None:
    async def run() -> list[str]:
        s3 = inventory(file_format, [rows("a"), rows("b")])
        pinned = await InventoryManifest(MANIFEST).pin(s3)
        found = await pinned.survey(s3)
        s3.put("lake", f"inv/src/all/{what}", s3.get("lake", f"inv/src/all/{what}") + b" ")
        return [entry.key async for some in pinned.read(s3, split(found.marks, 100, 1)[0]) for entry in some]

    with pytest.raises(ManifestChanged, match=f"{what}: .*no further object is touched"):
        asyncio.run(run())


@EVERY_FORMAT
def test_a_run_can_look_at_what_its_rows_come_from(file_format: str) -> None:
    async def run() -> list[list[str]]:
        s3 = inventory(file_format, [rows("a", "b"), rows("c", "d"), rows("e", "f")])
        pinned = await InventoryManifest(MANIFEST).pin(s3)
        partitions = split((await pinned.survey(s3)).marks, 3, 2)
        found = [await pinned.pinned_objects(s3, partition) for partition in partitions]
        for one in chain.from_iterable(found):
            await one.looked_at(s3)
        return [[one.location.key.removeprefix("inv/src/all/") for one in some] for some in found]

    document, *files = "2026-11-01T01-00Z/manifest.json", *(f"data/2026-11-01T01-00Z-{file}" for file in range(3))
    assert asyncio.run(run()) == [[document, *files[:2]], [document, *files[1:]]]


def test_as_many_files_as_were_noted_have_to_be_listed() -> None:
    s3 = inventory("CSV", [rows("a"), rows("b")])

    with pytest.raises(ManifestInvalid, match="it lists 2 files, and file_etags has 1"):
        asyncio.run(InventoryManifest(MANIFEST, file_etags=("x",)).pin(s3))


def test_file_etags_that_were_given_are_held_to() -> None:
    s3 = inventory("CSV", [rows("a"), rows("b")])

    with pytest.raises(ManifestChanged, match=r"-1: its ETag is [0-9a-f]{32}, not x"):
        asyncio.run(InventoryManifest(MANIFEST, file_etags=("", "x")).pin(s3))


def test_an_inventory_has_to_be_pinned_before_it_is_read() -> None:
    with pytest.raises(InvalidInput, match="has to be pinned before it is read"):
        asyncio.run(InventoryManifest(MANIFEST).survey(MemoryS3("lake")))


def test_a_document_that_is_too_large_is_no_manifest_json() -> None:
    class Vast(MemoryS3):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            return {**await super().call(action, **parameters), "ContentRange": "bytes 0-1/70000000"}

    s3 = Vast("lake")
    put_inventory(s3, "CSV", [rows("a")])

    with pytest.raises(ManifestInvalid, match=r"70,000,000 bytes, which is too much for a manifest\.json"):
        asyncio.run(InventoryManifest(MANIFEST).pin(s3))


# ---- the newest


def test_a_folder_means_the_newest_complete_inventory() -> None:
    s3 = MemoryS3("lake", page_size=2)
    for at in ("2026-11-03T01-00Z", "2025-12-31T01-00Z", "2026-11-02T01-00Z", "2026-11-04T01-00Z"):
        put_delivery(s3, [f"src,{at}\n".encode()], at=at)
    s3.put("lake", "inv/src/all/hive/dt=2027-01-01-00-00/symlink.txt", "s3://lake/x")
    s3.put("lake", "inv/src/all/2027-01-01T01-00Z/other/manifest.json", "{}")
    asyncio.run(s3.call("DeleteObject", Bucket="lake", Key="inv/src/all/2026-11-04T01-00Z/manifest.checksum"))

    async def run() -> tuple[object, list[str]]:
        asked = await InventoryManifest(FOLDER, latest_only=True).pin(s3)
        found = await asked.resolve(s3, PLACE, NOW)
        _, entries = await read_in_partitions(found, s3)
        return found, [entry.key for entry in entries]

    found, keys = asyncio.run(run())

    assert keys == ["2026-11-03T01-00Z"]
    assert isinstance(found, InventoryManifest)
    assert (found.uri, found.latest_only) == (f"{FOLDER}2026-11-03T01-00Z/manifest.json", True)
    assert found.etag


def test_a_manifest_json_is_resolved_already() -> None:
    s3 = inventory("CSV", [rows("a")])
    pinned = asyncio.run(InventoryManifest(MANIFEST).pin(s3))

    assert asyncio.run(pinned.resolve(s3, PLACE, NOW)) is pinned


def test_a_folder_without_an_inventory_is_told_so() -> None:
    with pytest.raises(
        ManifestError, match="no complete delivery of an inventory is in this folder; write s3://…/source"
    ):
        asyncio.run(InventoryManifest(FOLDER).resolve(MemoryS3("lake"), PLACE, NOW))


def test_a_folder_that_may_not_be_listed_is_told_so() -> None:
    with pytest.raises(ManifestError, match="the inventory's deliveries can't be listed: AccessDenied") as caught:
        asyncio.run(InventoryManifest(FOLDER).resolve(MemoryS3(forbidden=["lake"]), PLACE, NOW))

    assert caught.value.code == "AccessDenied"


# ---- size


@EVERY_FORMAT
def test_the_first_bad_file_is_named_and_nothing_goes_on_after_it(file_format: str) -> None:
    bad = [{"bucket": "src", "key": "x" * 1025}]
    s3 = inventory(file_format, [rows("a"), rows("b"), bad, rows("c"), bad, *([rows("d")] * 100)])
    pinned = asyncio.run(InventoryManifest(MANIFEST).pin(s3))
    s3.calls.clear()

    with pytest.raises(ManifestInvalid, match="Z-2, row 1: the key has 1025 bytes"):
        asyncio.run(pinned.survey(s3))
    assert not any(call.parameters["Key"].endswith("Z-20") for call in s3.calls)


@EVERY_FORMAT
def test_small_files_do_not_wait_for_each_other(file_format: str) -> None:
    class Far(MemoryS3):
        at_once = most = 0

        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0.001)
            self.at_once -= 1
            return await super().call(action, **parameters)

    s3 = Far("lake")
    put_inventory(s3, file_format, [rows(f"{number:02}") for number in range(40)])
    pinned = asyncio.run(InventoryManifest(MANIFEST).pin(s3))
    s3.most = 0
    found = asyncio.run(pinned.survey(s3))

    assert found.rows == 40
    assert s3.most == 4


def test_a_file_that_is_named_as_gzip_costs_one_request() -> None:
    s3 = MemoryS3("lake")
    body = csv_of(rows("a"), ("bucket", "key"))
    s3.put("lake", "data.csv.gz", body)
    listed = {"key": "data.csv.gz", "size": len(body), "MD5checksum": hashlib.md5(body).hexdigest()}
    put_document(s3, {**DOCUMENT, "files": [listed]})
    pinned = asyncio.run(InventoryManifest(MANIFEST).pin(s3))
    s3.calls.clear()

    assert asyncio.run(pinned.survey(s3)).rows == 1
    assert [call.parameters["Key"] for call in s3.calls].count("data.csv.gz") == 1


def test_a_gzip_file_is_cut_inside() -> None:
    s3 = inventory("CSV", [rows(*(f"{'folder/' * 20}{number}" for number in range(40_000)))])
    pinned = asyncio.run(InventoryManifest(MANIFEST).pin(s3))
    found = asyncio.run(pinned.survey(s3))
    partitions = split(found.marks, 10_000, 100)

    async def keys(partition: Partition) -> list[str]:
        return [entry.key async for some in pinned.read(s3, partition) for entry in some]

    assert len(partitions) == 4
    assert max(partition.rows for partition in partitions) <= 1.2 * 10_000
    assert asyncio.run(keys(partitions[2]))[0].endswith(f"/{partitions[2].first_row - 1}")


def test_an_orc_file_is_read_stripe_by_stripe() -> None:
    keys = [f"{number:06}" for number in range(5_000)]
    body = orc_of(rows(*keys), ("bucket", "key"))
    s3 = MemoryS3("lake")
    put_delivery(s3, [body], fileFormat="ORC")
    _, entries = asyncio.run(read_in_partitions(InventoryManifest(MANIFEST), s3, 700))

    assert orc.ORCFile(io.BytesIO(body)).nstripes > 2
    assert [entry.key for entry in entries] == keys


def test_what_a_tiny_gzip_file_unpacks_to_is_not_held_at_once() -> None:
    body = gzip.compress(b"src,k\n" * 3_000_000)
    s3 = MemoryS3("lake")
    put_delivery(s3, [body])

    async def first() -> int:
        pinned = await InventoryManifest(MANIFEST).pin(s3)
        async for some in pinned.read(s3, Partition(0, 1, 1, 0, 6)):
            return len(some)
        return 0

    assert len(body) < 40_000
    assert asyncio.run(first()) == 1
