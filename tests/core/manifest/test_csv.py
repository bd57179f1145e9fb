"""CSV manifests: pinned, checked to the last row, and read as they are written."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from airflow_s3batch.core.errors import (
    CredentialsRefused,
    InvalidInput,
    ManifestChanged,
    ManifestError,
    ManifestInvalid,
    S3Error,
)
from airflow_s3batch.core.manifest import CsvManifest, Survey, manifest_from_aws
from airflow_s3batch.core.partition import Partition, split
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.testing import Call, MemoryS3

URI = "s3://lake/m.csv"
AWKWARD = [
    "plain", "a b", "naïve-ü", "日本/キー", "a+b", "100%", "%41", "%2F", "a//b", "/lead", "..", "../x", "a/./b",
    "q?x=1", "frag#x", "tr/", "a&b=c", "*", "'q'", '"dq"', "(p)", "!$&,;:@", "~tilde", "back\\slash", "tab\t",
    "new\nline", "cr\r", "😀", "<x>", "{c}", "|^`", "a%20b", "+", " ", " lead and trail ", "\u2028", "\x0c", "Key",
]  # fmt: skip


def stored(text: bytes | str, **options: Any) -> MemoryS3:
    s3 = MemoryS3("lake", **options)
    s3.put("lake", "m.csv", text)
    return s3


async def pinned_and_surveyed(manifest: CsvManifest, s3: MemoryS3) -> tuple[CsvManifest, Survey]:
    pinned = await manifest.pin(s3)
    return pinned, await pinned.survey(s3)


def survey(text: bytes | str, *fields: str) -> Survey:
    manifest = CsvManifest(URI, fields=fields or ("Bucket", "Key"))
    return asyncio.run(pinned_and_surveyed(manifest, stored(text)))[1]


async def read_in_partitions(manifest: CsvManifest, s3: MemoryS3, rows_per_partition: int) -> list[Entry]:
    pinned, found = await pinned_and_surveyed(manifest, s3)
    entries: list[Entry] = []
    for partition in split(found.marks, rows_per_partition, 10_000):
        before = len(entries)
        async for some in pinned.read(s3, partition):
            entries += some
        assert len(entries) - before == partition.rows
    assert len(entries) == found.rows
    return entries


def entries_of(text: bytes | str, *fields: str, rows_per_partition: int = 2) -> list[Entry]:
    manifest = CsvManifest(URI, fields=fields or ("Bucket", "Key"))
    return asyncio.run(read_in_partitions(manifest, stored(text), rows_per_partition))


# ---- what an author writes


def test_a_manifest_is_told_in_awss_words() -> None:
    manifest = CsvManifest(URI, fields=("Ignore", "Bucket", "Key", "Ignore", "VersionId"), etag="abc", version_id="v1")

    assert manifest.to_aws() == {
        "Spec": {
            "Format": "S3BatchOperations_CSV_20180820",
            "Fields": ["Ignore", "Bucket", "Key", "Ignore", "VersionId"],
        },
        "Location": {"ObjectArn": "arn:aws:s3:::lake/m.csv", "ObjectVersionId": "v1", "ETag": "abc"},
    }
    assert manifest_from_aws(json.loads(json.dumps(manifest.to_aws()))) == manifest


def test_a_templated_uri_is_checked_once_rendered() -> None:
    told = json.dumps(CsvManifest("{{ params.manifest }}").to_aws())

    assert manifest_from_aws(json.loads(told.replace("{{ params.manifest }}", URI))) == CsvManifest(URI)
    with pytest.raises(InvalidInput, match="CsvManifest: uri: 'nowhere' is not an S3 URI"):
        manifest_from_aws(json.loads(told.replace("{{ params.manifest }}", "nowhere")))


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"uri": "lake/m.csv"}, "uri: 'lake/m.csv' is not an S3 URI"),
        ({"uri": "s3://lake"}, "uri: 's3://lake' names no file; write s3://bucket/key"),
        ({"fields": ("Key",)}, "Required fields are missing in the schema: Bucket"),
        ({"fields": ("Bucket",)}, "Required fields are missing in the schema: Key"),
        ({"fields": ("Bucket", "Key", "Key")}, "Key can be one column only; name the others Ignore"),
        ({"fields": ("Bucket", "Key", "VersionId", "VersionId")}, "VersionId can be one column only"),
        ({"fields": ("Bucket", "Key", "Size")}, r"fields\.2: Input should be 'Ignore', 'Bucket', 'Key' or 'VersionId'"),
        ({"etag": ""}, "etag"),
    ],
)
def test_a_wrong_manifest_is_refused_when_it_is_written(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"CsvManifest: .*{wrong}"):
        CsvManifest(**{"uri": URI, **arguments})


@pytest.mark.parametrize(
    ("manifest", "wrong"),
    [
        ({}, r"is no manifest: write .* with Spec\.Format and Location\.ObjectArn"),
        (None, r"is no manifest: write .* with Spec\.Format and Location\.ObjectArn"),
        (
            {"Spec": {"Format": "S3InventoryReport_XML"}},
            "'S3InventoryReport_XML' is unknown; known are S3BatchOperations_CSV",
        ),
        ({"Spec": {"Format": "S3BatchOperations_CSV_20180820"}}, "is not an S3 URI"),
        ({"Spec": {"Format": "S3BatchOperations_CSV_20180820"}, "Color": 1}, "unknown Color"),
    ],
)
def test_what_is_no_manifest_is_refused(manifest: Any, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        manifest_from_aws(manifest)


# ---- pinning


def test_a_manifest_is_pinned_by_its_etag() -> None:
    s3 = MemoryS3("lake")
    etag = s3.put("lake", "m.csv", "lake,a\n")

    assert asyncio.run(CsvManifest(URI).pin(s3)) == CsvManifest(URI, etag=etag.strip('"'))


def test_a_manifest_in_a_versioned_bucket_is_pinned_by_its_version_too() -> None:
    s3 = MemoryS3(versioned=["lake"])
    s3.put("lake", "m.csv", "lake,a\n")
    pinned = asyncio.run(CsvManifest(URI).pin(s3))
    s3.put("lake", "m.csv", "lake,b\n")

    assert pinned.version_id == "v1"
    assert asyncio.run(pinned.survey(s3)).rows == 1  # the old version is there still


def test_a_version_that_was_asked_for_is_pinned() -> None:
    s3 = MemoryS3(versioned=["lake"])
    old = s3.put("lake", "m.csv", "lake,a\n").strip('"')
    s3.put("lake", "m.csv", "lake,b\n")

    assert asyncio.run(CsvManifest(URI, version_id="v1").pin(s3)) == CsvManifest(URI, etag=old, version_id="v1")


def test_an_etag_that_was_given_is_held_to() -> None:
    s3 = MemoryS3("lake")
    etag = s3.put("lake", "m.csv", "lake,a\n")

    assert asyncio.run(CsvManifest(URI, etag=etag).pin(s3)).etag == etag.strip('"')
    with pytest.raises(ManifestChanged, match=r"^s3://lake/m\.csv: its ETag is [0-9a-f]{32}, not abc"):
        asyncio.run(CsvManifest(URI, etag="abc").pin(s3))


@pytest.mark.parametrize(
    ("s3", "code", "wrong"),
    [
        (MemoryS3("lake"), "NoSuchKey", "the manifest doesn't exist (NoSuchKey: The specified key does not exist.)"),
        (MemoryS3(), "NoSuchBucket", "the manifest doesn't exist (NoSuchBucket: The specified bucket does not exist)"),
        (
            MemoryS3(forbidden=["lake"]),
            "AccessDenied",
            "Reading the manifest is forbidden: AccessDenied: Access Denied",
        ),
        (stored(""), "InvalidManifestContent", "the manifest is empty: it lists no object"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(s3: MemoryS3, code: str, wrong: str) -> None:
    with pytest.raises(ManifestError) as caught:
        asyncio.run(CsvManifest(URI).pin(s3))

    assert str(caught.value) == f"{URI}: {wrong}"
    assert caught.value.code == code
    assert isinstance(caught.value, ManifestInvalid) is (code == "InvalidManifestContent")


def test_a_manifest_that_s3_fails_to_give_is_told_with_s3s_words() -> None:
    def down(call: Call) -> None:
        raise S3Error(call.action, URI, status=503, code="SlowDown", message="Please reduce your request rate.")

    with pytest.raises(ManifestError, match=r"the manifest can't be read: GetObject .*: 503 SlowDown: Please reduce"):
        asyncio.run(CsvManifest(URI).pin(stored("lake,a\n", before=down)))


@pytest.mark.parametrize(
    ("refused", "wrong"),
    [
        (CredentialsRefused, "the manifest can't be read: .*InvalidAccessKeyId.* renew the connection's"),
        (S3Error, "forbidden: InvalidAccessKeyId"),
    ],
)
def test_credentials_that_s3_refuses_are_not_taken_for_a_missing_permission(refused: type[S3Error], wrong: str) -> None:
    def refuse(call: Call) -> None:
        raise refused(call.action, URI, status=403, code="InvalidAccessKeyId", message="It doesn't exist.")

    with pytest.raises(ManifestError, match=wrong):
        asyncio.run(CsvManifest(URI).pin(stored("lake,a\n", before=refuse)))


def test_signature_that_does_not_match_is_told_with_what_it_means() -> None:
    def refuse(call: Call) -> None:
        raise S3Error(call.action, URI, status=403, code="SignatureDoesNotMatch", message="It doesn't match.")

    with pytest.raises(ManifestError, match=r"SignatureDoesNotMatch: It doesn't match\.; is the connection's secret"):
        asyncio.run(CsvManifest(URI).pin(stored("lake,a\n", before=refuse)))


def test_a_manifest_has_to_be_pinned_before_it_is_read() -> None:
    async def read() -> None:
        async for _ in CsvManifest(URI).read(stored("lake,a\n"), Partition(0, 1, 1, 0, 7)):
            pass

    with pytest.raises(InvalidInput, match="has to be pinned before it is read"):
        asyncio.run(read())


# ---- a change under a job


def change_before(number: int, change: Callable[[MemoryS3], object]) -> MemoryS3:
    """A store whose manifest of two pieces is changed before its GET of this number."""
    gets = 0

    def count(call: Call) -> None:
        nonlocal gets
        gets += call.action == "GetObject"
        if gets == number:
            change(s3)

    s3 = stored("lake,abcdefgh\n" * 1_000_000, before=count)
    return s3


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize(
    "change",
    [
        lambda s3: s3.put("lake", "m.csv", "lake,abcdefgh\n" * 1_000_000 + "lake,b\n"),
        lambda s3: s3.put("lake", "m.csv", "x"),
    ],
)
def test_a_change_is_noticed_at_the_next_request(number: int, change: Callable[[MemoryS3], object]) -> None:
    with pytest.raises(ManifestChanged, match=r"its ETag (is|was) "):
        asyncio.run(pinned_and_surveyed(CsvManifest(URI), change_before(number, change)))


def test_a_manifest_that_was_deleted_under_a_job_is_told_so() -> None:
    async def read() -> None:
        s3 = stored("lake,a\nlake,b\n")
        manifest, found = await pinned_and_surveyed(CsvManifest(URI), s3)
        await s3.call("DeleteObject", Bucket="lake", Key="m.csv")
        async for _ in manifest.read(s3, split(found.marks, 10, 1)[0]):
            pass

    with pytest.raises(ManifestError, match="the manifest doesn't exist"):
        asyncio.run(read())


class Careless(MemoryS3):
    """A store that minds no If-Match and answers some ranges short."""

    short = 0
    """Bytes that are left out."""

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        parameters.pop("IfMatch", None)
        answer = await super().call(action, **parameters)
        if self.short and "Body" in answer:
            answer["Body"] = answer["Body"][: -self.short]
        return answer


def test_a_change_is_noticed_in_a_store_that_minds_no_conditions() -> None:
    async def read() -> None:
        s3 = Careless("lake")
        s3.put("lake", "m.csv", "lake,a\n")
        manifest, found = await pinned_and_surveyed(CsvManifest(URI), s3)
        s3.put("lake", "m.csv", "lake,b\n")
        async for _ in manifest.read(s3, split(found.marks, 10, 1)[0]):
            pass

    with pytest.raises(ManifestChanged, match=r"no further object is touched\. Prepare a new job"):
        asyncio.run(read())


def test_a_range_that_comes_short_is_not_taken_for_the_manifest() -> None:
    s3 = Careless("lake")
    s3.put("lake", "m.csv", "lake,a\nlake,b\n")
    pinned = asyncio.run(CsvManifest(URI).pin(s3))
    s3.short = 3

    with pytest.raises(ManifestError, match="S3 sent 11 bytes where 14 were asked for, from byte 0 on"):
        asyncio.run(pinned.survey(s3))


def test_an_empty_manifest_is_told_so_by_a_store_that_minds_no_ranges() -> None:
    class Rangeless(MemoryS3):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            parameters.pop("Range", None)
            return await super().call(action, **parameters)

    s3 = Rangeless("lake")
    s3.put("lake", "m.csv", "")

    with pytest.raises(ManifestInvalid, match="the manifest is empty"):
        asyncio.run(CsvManifest(URI).pin(s3))


# ---- rows


@pytest.mark.parametrize("rows_per_partition", [1, 3, 1000])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_key_is_read_as_it_was_encoded(newline: str, rows_per_partition: int) -> None:
    spelled = [quote(key, safe="/") for key in AWKWARD]
    text = "".join(f"lake,{key}{newline}" for key in spelled)

    assert entries_of(text, rows_per_partition=rows_per_partition) == [
        Entry(row, "lake", key, None, manifest_key)
        for row, (key, manifest_key) in enumerate(zip(AWKWARD, spelled, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("spelled", "key"),
    [
        ("a b", "a b"),
        ("日本", "日本"),
        ("a+b", "a+b"),
        ("%2b", "+"),
        ("%e6%97%a5", "日"),
        ('"a,b"', "a,b"),
        ('"a""b"', 'a"b'),
        ('a"b', 'a"b'),
        ('"%22"', '"'),
        ("a\u2028b\x0cc", "a\u2028b\x0cc"),
        ("%00", "\0"),
    ],
)
def test_a_key_may_be_spelled_otherwise(spelled: str, key: str) -> None:
    assert [entry.key for entry in entries_of(f"lake,x\nlake,{spelled}\nlake,y\n")] == ["x", key, "y"]


def test_the_last_row_needs_no_newline() -> None:
    assert [entry.key for entry in entries_of("lake,a\nlake,b")] == ["a", "b"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_all_fields_may_be_quoted(newline: str) -> None:
    text = f'"lake","a"{newline}"lake","b c%20d"{newline}'

    assert [(entry.bucket, entry.key) for entry in entries_of(text)] == [("lake", "a"), ("lake", "b c d")]


def test_columns_are_where_the_fields_say() -> None:
    text = 'x,v1,k%201,,lake\n"y, z",null,k2,,lake2\n'

    assert entries_of(text, "Ignore", "VersionId", "Key", "Ignore", "Bucket") == [
        Entry(1, "lake", "k 1", "v1", "k%201"),
        Entry(2, "lake2", "k2", "null", "k2"),
    ]


def test_a_percent_sign_in_another_column_means_itself() -> None:
    assert entries_of("50%,lake,k\n", "Ignore", "Bucket", "Key") == [Entry(1, "lake", "k", None, "k")]


def test_a_version_column_may_be_empty_in_all_rows() -> None:
    assert [entry.version for entry in entries_of("lake,a,\nlake,b,\n", "Bucket", "Key", "VersionId")] == [None, None]


def test_a_key_may_have_1024_bytes_once_decoded() -> None:
    longest = ["x" * 1024, "%C3%BC" * 512, "ü" * 512]

    assert [len(entry.key.encode()) for entry in entries_of("".join(f"lake,{key}\n" for key in longest))] == [1024] * 3


ONE = "Unexpected number of task fields: 1 instead of 2 (Bucket,Key) in"
BAD_ROWS = [
    (b"", "a blank line; remove it"),
    (b"\r", "a blank line; remove it"),
    (b"lake", f"{ONE} 'lake'"),
    (
        b"lake,a,b",
        "Unexpected number of task fields: 3 instead of 2 (Bucket,Key) in 'lake,a,b'; a comma in a key is written %2C",
    ),
    (b"lake;a", f"{ONE} 'lake;a'; commas separate columns, not ';'"),
    (b"lake\ta", rf"{ONE} 'lake\ta'; commas separate columns, not tabs"),
    (b"s3://lake/x/a;b", f"{ONE} 's3://lake/x/a;b'; bucket and key are two columns: write lake,x/a;b"),
    (b"s3://lake/x,b", "'s3://lake/x' is not a bucket's name; bucket and key are two columns: write lake,x"),
    (b"s3://lake,a", "'s3://lake' is not a bucket's name; write lake"),
    (b"arn:aws:s3:::lake,a", "'arn:aws:s3:::lake' is not a bucket's name; write lake"),
    (b"lake,", "the key is empty"),
    (b'lake,""', "the key is empty"),
    (b",a", "the bucket is empty"),
    (b"la/ke,a", "'la/ke' is not a bucket's name"),
    (b"lake,%zz", "bad percent-encoding '%zz' in key '%zz'; a percent sign is written %25"),
    (b"lake,a%2", "bad percent-encoding '%2' in key 'a%2'; a percent sign is written %25"),
    (b"lake,100%", "bad percent-encoding '%' in key '100%'; a percent sign is written %25"),
    (b"lake,%ff", "key '%ff' is not UTF-8 once its percent-encoding is undone"),
    (b"lake,%C3%zz", "bad percent-encoding '%zz' in key '%C3%zz'; a percent sign is written %25"),
    (b"lake,a\xff", "not UTF-8 (invalid start byte); keys are written percent-encoded or in UTF-8"),
    (b"lake,a\0", "a NUL byte; is this a CSV file in UTF-8?"),
    (b"lake,a\rb", "a carriage return inside the row; write %0D in keys, and CRLF or LF between rows"),
    (b'lake,"a', "broken quoting (unexpected end of data); a line break inside a key is written %0A"),
    (b'lake,"a"b', "broken quoting (',' expected after '\"'); a line break inside a key is written %0A"),
    (b"lake," + b"x" * 1025, "the key has 1025 bytes; S3 takes 1024"),
    (b"lake," + b"%C3%BC" * 513, "the key has 1026 bytes; S3 takes 1024"),
    ("lake,ü".encode() + "ü".encode() * 512, "the key has 1026 bytes; S3 takes 1024"),
]


@pytest.mark.parametrize("before", [0, 1, 40, 20_000])
@pytest.mark.parametrize(("bad", "wrong"), BAD_ROWS)
def test_a_bad_row_is_named(bad: bytes, wrong: str, before: int) -> None:
    text = b"lake,key\n" * before + bad + b"\n" + b"lake,key\n" * 30

    with pytest.raises(ManifestInvalid) as caught:
        survey(text)

    assert str(caught.value) == f"{URI}, row {before + 1}: {wrong}"
    assert (caught.value.row, caught.value.code) == (before + 1, "InvalidManifestContent")


def test_the_first_of_several_bad_rows_is_named() -> None:
    with pytest.raises(ManifestInvalid, match="row 3: the key is empty"):
        survey(b"lake,a\nlake,b\nlake,\nlake,a\xff\nlake\n")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (b"\xef\xbb\xbflake,a\n", "row 1: the file begins with a byte order mark (BOM); save it as UTF-8 without one"),
        (b"Bucket,Key\nlake,a\n", "row 1: 'Bucket,Key' is a header row; a manifest has none, remove it"),
        (b'"bucket","key"\nlake,a\n', "is a header row; a manifest has none, remove it"),
        (b"bucket, KEY \nlake,a\n", "is a header row; a manifest has none, remove it"),
        (b"\x1f\x8b\x08\x00\x00", "the file is cut off: its gzip stream has no end"),
        (b"\x1f\x8b\x08\xff" + bytes(20), "the file is no gzip file, or is damaged (Error -3 while decompressing"),
        (
            gzip.compress(gzip.compress(b"lake,a\n", mtime=0), mtime=0),
            "row 1: the file is compressed twice (gzip in gzip)",
        ),
        ("lake,a\n".encode("utf-16"), "row 1: the file is UTF-16; save it as UTF-8 without a byte order mark (BOM)"),
        (b"\n", "row 1: a blank line; remove it"),
        (b"lake,a\n\n", "row 2: a blank line; remove it"),
        (b"x" * 2_000_000, "a row of over 1048576 bytes; is this a CSV file?"),
        (b"PK\x03\x04\x14\x00", "row 1: the file is a ZIP archive; unpack it, or pack it with gzip"),
        (b"PK\x03\x04\x14\xff", "row 1: the file is a ZIP archive; unpack it, or pack it with gzip"),
        (b"PAR1\x15\x04\x15\xff", "row 1: not UTF-8"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(text: bytes, wrong: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        survey(text)

    assert wrong in str(caught.value)
    assert str(caught.value).startswith(URI)


def test_a_header_row_is_told_by_all_its_fields() -> None:
    with pytest.raises(ManifestInvalid, match="row 1: 'size,bucket,key,version_id' is a header row"):
        survey("size,bucket,key,version_id\n1,lake,a,v\n", "Ignore", "Bucket", "Key", "VersionId")


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (
            ["lake,a,v1", "lake,b,"],
            "row 2: this row has no version ID where the rows before have one; give all rows one",
        ),
        (
            ["lake,a,", "lake,b,v1"],
            "row 2: this row has a version ID where the rows before have none; give all rows one",
        ),
        (["lake,a,"] * 5000 + ["lake,b,v1"], "row 5001: this row has a version ID"),
    ],
)
def test_a_version_in_some_rows_only_is_refused(rows: list[str], wrong: str) -> None:
    with pytest.raises(ManifestInvalid, match=wrong):
        survey("\n".join(rows), "Bucket", "Key", "VersionId")


def test_a_bare_plus_in_keys_is_warned_of_once() -> None:
    found = survey("lake,a\nlake,b%2Bc\nlake,d+e\nlake,f+g\n")

    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(f"{URI}, row 3: the key holds a '+', which stands for itself here.")


def test_a_bare_plus_is_warned_of_wherever_it_is() -> None:
    (warning,) = survey("lake,key\n" * 20_000 + "lake,a+b\n" + "lake,key\n" * 20_000).warnings

    assert warning.startswith(f"{URI}, row 20001: the key holds a '+'")


def test_a_plus_elsewhere_is_no_reason_to_warn() -> None:
    assert survey("a+b,lake,k,v+1\n", "Ignore", "Bucket", "Key", "VersionId").warnings == ()


@pytest.mark.parametrize(
    ("rows", "row"),
    [
        ("lake, d/1\nlake, d/2\n", 1),
        ("lake,a b\nlake,d/1\nlake, d/2\nlake, d/3\n", 3),
        ("lake,key\n" * 20_000 + "lake, key\n" + "lake,key\n" * 20_000, 20_001),
        ('"lake", "d/1"\n', 1),
        ('"lake","d/1"\n"lake"," d/2"\n', 2),
    ],
)
def test_a_space_before_keys_is_warned_of_once(rows: str, row: int) -> None:
    (warning,) = survey(rows).warnings

    assert warning == (
        f"{URI}, row {row}: the key begins with a space, which stands for itself here. If its writer meant the "
        "key without it, another object is named: leave it out, or write %20 to keep it"
    )


def test_a_space_elsewhere_is_no_reason_to_warn() -> None:
    assert survey(" a, b,lake,%20k 1\n", "Ignore", "Ignore", "Bucket", "Key").warnings == ()


def test_a_plus_and_a_space_are_each_warned_of() -> None:
    space, plus = survey("lake,a\nlake, b+c\n").warnings

    assert "row 2: the key begins with a space" in space
    assert "row 2: the key holds a '+'" in plus


def test_all_buckets_are_named_in_order() -> None:
    assert survey("lake-b,k\nlake-a,k\nlake-b,k\n").buckets == ("lake-b", "lake-a")
    assert len(survey("".join(f"lake{number},k\n" for number in range(10_000))).buckets) == 10_000


def test_more_buckets_than_can_be_looked_at_are_refused() -> None:
    with pytest.raises(ManifestInvalid, match="names more than 10,000 buckets, and each is looked at before the job"):
        survey("".join(f"lake{number},k\n" for number in range(10_001)))


def test_a_survey_marks_the_first_row_and_the_end() -> None:
    found = survey("lake,a\nlake,bb\n")

    assert found.rows == 2
    assert found.marks == [(1, 0), (2, 7), (3, 15)]


# ---- size


def test_rows_are_whole_where_pieces_meet() -> None:
    rows, folder = 60_000, "folder/" * 40
    text = "".join(f"lake,{folder}key%20{row}\n" for row in range(1, rows + 1))  # 18 MB: three pieces

    entries = entries_of(text, rows_per_partition=25_000)

    assert [entry.row for entry in entries] == list(range(1, rows + 1))
    assert all(entry.key == f"{folder}key {entry.row}" for entry in entries)


def test_memory_is_flat_whatever_the_manifests_size() -> None:
    async def surveyed(s3: MemoryS3) -> None:  # returns nothing: asyncio.run makes text of what it gets
        await pinned_and_surveyed(CsvManifest(URI), s3)

    def peak(rows: int) -> int:
        s3 = stored((b"lake," + b"folder/" * 140 + b"object.parquet\n") * rows)
        tracemalloc.start()
        try:
            asyncio.run(surveyed(s3))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(26_000), peak(65_000)  # 26 and 65 MB

    assert large < small * 1.2
    assert large < 50_000_000
