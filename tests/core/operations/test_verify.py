"""VerifyObject: what shows that an object is as it should be, what shows that it isn't, and what shows nothing."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, S3BatchError, printable
from airflow_s3batch.core.job import CompletionReport, JobSpec
from airflow_s3batch.core.manifest import CsvManifest, ListObjects
from airflow_s3batch.core.operations import CopyObject, VerifyObject, operation_from_aws
from airflow_s3batch.core.operations.digests import ALGORITHMS
from airflow_s3batch.core.operations.verify import compare
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.rows import FactualEntry, Outcome
from airflow_s3batch.core.run import run_partition
from airflow_s3batch.testing import MemoryS3
from tests.core.engine.flights import Naps, entries, fly, in_lists, limits, to
from tests.core.engine.test_stores import SERVERS, Store
from tests.core.scripted import ScriptedEngine
from tests.servers import Request, ScriptedServer, answer, error

MD5, ANOTHER = "0" * 32, "1" * 32


def head(etag: str = MD5, size: int = 10, **more: str) -> dict[str, Any]:
    """HeadObject's answer, as boto3 tells it."""
    return {"ContentLength": size, "ETag": f'"{etag}"', **more}


@pytest.mark.parametrize(
    ("source", "target", "shown"),
    [
        (head(), head(), "ETag"),
        (head(f"{MD5}-2"), head(f"{MD5}-2"), "ETag"),
        (head(ChecksumCRC64NVME="a"), head(ANOTHER, ChecksumCRC64NVME="a"), "CRC64NVME"),
        (head(f"{MD5}-2", ChecksumSHA256="a-2"), head(ANOTHER, ChecksumSHA256="a-2"), "SHA256"),
        (head(ChecksumCRC32="a"), head(ChecksumSHA256="b"), "ETag"),
        (head(ChecksumSHA1="a-2", ChecksumCRC32="c"), head(ANOTHER, ChecksumSHA1="b-3", ChecksumCRC32="c"), "CRC32"),
    ],
)
def test_like_objects_are_shown_to_be_alike(source: dict[str, Any], target: dict[str, Any], shown: str) -> None:
    assert compare(source, target) == shown


@pytest.mark.parametrize(
    ("source", "target", "code", "message"),
    [
        (head(size=1_000), head(size=999), "SizeMismatch", "the source's size is 1,000 bytes, the target's 999"),
        (
            head(ChecksumCRC64NVME="a"),
            head(ChecksumCRC64NVME="b"),
            "ChecksumMismatch",
            "the source's CRC64NVME is a, the target's b",
        ),
        (head(), head(ANOTHER), "ETagMismatch", f"the source's ETag is {MD5}, the target's {ANOTHER}"),
        (head(ServerSideEncryption="AES256"), head(ANOTHER), "ETagMismatch", MD5),
    ],
)
def test_different_objects_are_told_apart_by_both_values(
    source: dict[str, Any], target: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ObjectFailed, match=message) as caught:
        compare(source, target)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (head(f"{MD5}-2"), head(f"{ANOTHER}-3")),
        (head(f"{MD5}-2"), head(f"{ANOTHER}-2")),  # of the same number of parts, but they may be of other sizes
        (head(f"{MD5}-2"), head(ANOTHER)),
        (head(), head(ANOTHER, ServerSideEncryption="aws:kms")),
        (head(SSECustomerAlgorithm="AES256"), head(ANOTHER)),
        (head(f"{MD5}-2", ChecksumSHA256="a-2"), head(ANOTHER, ChecksumSHA256="b")),
    ],
)
def test_what_depends_on_parts_or_keys_shows_nothing(source: dict[str, Any], target: dict[str, Any]) -> None:
    assert compare(source, target) is None


# Against stores


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    async def fill(store: Store) -> None:
        async with S3(to(store.url), limits()) as s3:
            for bucket in ("lake", "archive"):
                await s3.call("CreateBucket", Bucket=bucket)
            for key in (*store.keys, "missing", "shorter", "other"):
                await s3.call("PutObject", Bucket="lake", Key=key, Body=key.encode())
            copying = s3.run(in_lists(entries(store.keys), 100), CopyObject("archive", target_prefix="old/"))
            assert all([outcome.succeeded async for some in copying for outcome in some])
            await s3.call("PutObject", Bucket="archive", Key="old/shorter", Body=b"short")
            await s3.call("PutObject", Bucket="archive", Key="old/other", Body=b"rehto")
            await s3.call("PutObject", Bucket="archive", Key="old/no source", Body=b"")

    with SERVERS[request.param](tmp_path_factory.mktemp("verify")) as store:
        engine.run(fill(store))
        yield store


def verified(store: Store, operation: VerifyObject, *keys: str) -> list[Outcome]:
    outcomes: list[Outcome] = engine.run(fly(to(store.url), entries(keys), operation, chosen=limits(retries=1)))
    return outcomes


def test_copies_of_every_awkward_key_are_verified(store: Store) -> None:
    outcomes = verified(store, VerifyObject("archive", target_prefix="old/"), *store.keys)

    assert {(outcome.succeeded, outcome.message) for outcome in outcomes} == {(True, "Same size and ETag")}
    assert len(outcomes) == len(store.keys)


@pytest.mark.parametrize(
    ("key", "status", "code", "message"),
    [
        ("missing", 404, "NoSuchKey", "the target s3://archive/old/missing isn't there"),
        ("no source", 404, "NoSuchKey", "the source s3://lake/no source isn't there"),
        ("shorter", 0, "SizeMismatch", "the source's size is 7 bytes, the target's 5"),
        ("other", 0, "ETagMismatch", "the source's ETag is "),
    ],
)
def test_object_without_its_like_is_a_failed_row(store: Store, key: str, status: int, code: str, message: str) -> None:
    (outcome,) = verified(store, VerifyObject("archive", target_prefix="old/"), key)

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, status, code)
    assert outcome.message.startswith(message)


def test_size_alone_is_compared_on_demand(store: Store) -> None:
    (outcome,) = verified(store, VerifyObject("archive", target_prefix="old/", by="size"), "plain")

    assert (outcome.succeeded, outcome.message) == (True, "Same size")


# On the wire


def comparing(etags: dict[str, str]) -> ScriptedServer:
    def head(request: Request) -> list[bytes]:
        return [answer(200, b"", {"content-length": "10", "etag": f'"{etags[request.path.split("/")[1]]}"'})]

    return ScriptedServer(head)


@pytest.mark.parametrize("by", ["content", "size"])
def test_content_that_cannot_be_compared_does_not_pass_for_the_same(by: str) -> None:
    with comparing({"lake": f"{MD5}-2", "archive": ANOTHER}) as server:
        (outcome,) = engine.run(fly(to(server.url), entries(["k"]), VerifyObject("archive", by=by)))

    if by == "size":
        assert (outcome.succeeded, outcome.message) == (True, "Same size")
    else:
        assert (outcome.succeeded, outcome.code) == (False, "ContentNotComparable")
        assert f'"{MD5}-2" (2 parts) and "{ANOTHER}" (one part)' in outcome.message


def test_checksums_and_the_version_are_asked_for() -> None:
    with comparing({"lake": MD5, "archive": MD5}) as server:
        engine.run(fly(to(server.url), entries(["a b"], version="v1"), VerifyObject("archive")))

    assert [(request.method, request.target) for request in server.requests] == [
        ("HEAD", "/lake/a%20b?versionId=v1"),
        ("HEAD", "/archive/a%20b"),
    ]
    assert {request.header("x-amz-checksum-mode") for request in server.requests} == {"ENABLED"}


def test_object_that_may_not_be_read_is_told_as_s3_tells_it() -> None:
    with ScriptedServer(lambda _: [error(403, "AccessDenied")]) as server:
        (outcome,) = engine.run(fly(to(server.url), entries(["k"]), VerifyObject("archive"), chosen=limits(retries=0)))

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 403, "AccessDenied")


@pytest.mark.parametrize("etags", [{"lake": MD5, "archive": ANOTHER}, {"lake": f"{MD5}-2", "archive": ANOTHER}])
def test_by_size_nothing_else_is_looked_at(etags: dict[str, str]) -> None:
    with comparing(etags) as server:
        (outcome,) = engine.run(fly(to(server.url), entries(["k"]), VerifyObject("archive", by="size")))

    assert (outcome.succeeded, outcome.message) == (True, "Same size")


# Against the manifest

SHA256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def telling(etag: str = MD5, *, status: int = 200, sha256: str = "", crc32: str = "") -> ScriptedServer:
    """A server on which every object is such."""
    told = {"content-length": "10", "etag": f'"{etag}"', "x-amz-checksum-sha256": sha256, "x-amz-checksum-crc32": crc32}
    headers = {name: value for name, value in told.items() if value and status == 200}
    return ScriptedServer(lambda _: [answer(status, b"", headers)])


def checked(server: ScriptedServer, facts: dict[str, str] | None, by: str = "content") -> Outcome:
    """What becomes of an object of which the manifest says this."""
    with server:
        (entry,) = entries(["a b"], version="v1")
        listed = entry if facts is None else FactualEntry.of(entry, facts)
        (outcome,) = engine.run(fly(to(server.url), [listed], VerifyObject(by=by), chosen=limits(retries=0)))
    assert isinstance(outcome, Outcome)
    return outcome


@pytest.mark.parametrize(
    ("facts", "server", "message"),
    [
        ({"size": "10", "e_tag": MD5}, telling(), "Same size and ETag"),
        ({"size": "10.0", "e_tag": f'"{MD5}"'}, telling(), "Same size and ETag"),
        ({"size": "1E+1", "e_tag": f"{MD5}-2"}, telling(etag=f"{MD5}-2"), "Same size and ETag"),
        ({"e_tag": MD5}, telling(), "Same ETag"),
        ({"checksum_md5": MD5}, telling(), "Same ETag"),
        ({"checksum_md5": "A" * 32}, telling(etag="a" * 32), "Same ETag"),
        ({"checksum_sha256": SHA256}, telling(etag=ANOTHER, sha256=SHA256), "Same SHA256"),
        ({"checksum_sha256": f"{SHA256}-2"}, telling(sha256=f"{SHA256}-2"), "Same SHA256"),
        (
            {"checksum_sha256": base64.b64decode(SHA256).hex().upper(), "e_tag": ANOTHER},
            telling(sha256=SHA256),
            "Same SHA256",
        ),
        (
            {"checksum_crc32": "6D2F5339", "size": "10"},
            telling(crc32="bS9TOQ=="),
            "Same size and CRC32",
        ),
        (
            {"checksum_crc32": "bS9TOQ==", "size": "10"},
            telling(crc32="bS9TOQ=="),
            "Same size and CRC32",
        ),
    ],
)
def test_object_that_is_as_listed_says_what_showed_it(
    facts: dict[str, str], server: ScriptedServer, message: str
) -> None:
    outcome = checked(server, facts)

    assert (outcome.succeeded, outcome.message) == (True, message)


@pytest.mark.parametrize(
    ("facts", "server", "code", "message"),
    [
        (
            {"size": "1000", "e_tag": MD5},
            telling(),
            "SizeMismatch",
            "the manifest's size is 1,000 bytes, the object's 10",
        ),
        ({"e_tag": ANOTHER}, telling(), "ETagMismatch", f"the manifest's ETag is {ANOTHER}, the object's {MD5}"),
        (
            {"checksum_sha256": "00" * 32, "e_tag": MD5},
            telling(sha256=SHA256),
            "ChecksumMismatch",
            f"the manifest's SHA256 is {'A' * 43}=, the object's {SHA256}",
        ),
        (
            {"size": "10", "e_tag": f"{ANOTHER}-2"},
            telling(),
            "ContentNotComparable",
            f"same size, but no checksum in common, and ETags that can differ for the same content: {ANOTHER}-2 (2 par",
        ),
        (
            {"size": "10", "checksum_sha1": "x="},
            telling(),
            "ContentNotComparable",
            "same size, but no checksum of the manifest is also the object's, and the manifest tells no ETag",
        ),
        ({"size": "10"}, telling(), "ContentNotComparable", "same size, but no checksum of the manifest"),
        ({}, telling(), "ContentNotComparable", "no checksum of the manifest"),
        (None, telling(), "ContentNotComparable", "no checksum of the manifest"),
    ],
)
def test_object_that_is_not_as_listed_is_a_failed_row(
    facts: dict[str, str] | None, server: ScriptedServer, code: str, message: str
) -> None:
    outcome = checked(server, facts)

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 0, code)
    assert outcome.message.startswith(message)


@pytest.mark.parametrize("size", ["ten", "1.5", "-1", "NaN", "Infinity", "1e9999", "10 bytes\x07"])
def test_size_that_is_no_number_is_told_as_it_stands(size: str) -> None:
    outcome = checked(telling(), {"size": size, "e_tag": MD5})

    assert (outcome.succeeded, outcome.code) == (False, "InvalidManifestContent")
    assert outcome.message == f"the size in the manifest is {printable(repr(size))}, no number"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"size": "10"}, (True, "", "Same size")),
        ({"size": "11"}, (False, "SizeMismatch", "the manifest's size is 11 bytes, the object's 10")),
        ({}, (False, "SizeNotComparable", "the manifest tells no size of this object")),
    ],
)
def test_by_size_the_size_must_be_listed(facts: dict[str, str], told: tuple[bool, str, str]) -> None:
    outcome = checked(telling(), facts, by="size")

    assert (outcome.succeeded, outcome.code, outcome.message) == told


def test_object_that_is_listed_and_is_not_there_is_told_so() -> None:
    outcome = checked(telling(status=404), {"e_tag": MD5})

    assert (outcome.http_status, outcome.code) == (404, "NoSuchVersion")
    assert outcome.message == "the object s3://lake/a b isn't there in version v1"


def test_one_request_asks_for_the_listed_version_and_its_checksums() -> None:
    server = telling()
    checked(server, {"e_tag": MD5})

    assert [(request.method, request.target) for request in server.requests] == [("HEAD", "/lake/a%20b?versionId=v1")]
    assert server.requests[0].header("x-amz-checksum-mode") == "ENABLED"


@pytest.mark.parametrize(
    ("etag", "code", "message"),
    [
        (MD5, "", "Same size and ETag"),
        (ANOTHER, "ETagMismatch", f"the manifest's ETag is {MD5}, the target's {ANOTHER}"),
        ("", "NoSuchKey", "the target s3://archive/old/a b isn't there"),
    ],
)
def test_copy_is_compared_with_the_manifest_where_its_source_may_be_gone(etag: str, code: str, message: str) -> None:
    operation = VerifyObject("archive", target_prefix="old/", against="manifest")
    (entry,) = entries(["a b"], version="v1")
    with telling(etag, status=200 if etag else 404) as server:
        listed = FactualEntry.of(entry, {"size": "10", "e_tag": MD5})
        (outcome,) = engine.run(fly(to(server.url), [listed], operation))

    assert (outcome.succeeded, outcome.code, outcome.message) == (not code, code, message)
    assert [request.target for request in server.requests] == ["/archive/old/a%20b"]


def test_job_verifies_what_was_listed_against_what_is_there_now(store: Store) -> None:
    """Listed as ListObjects lists; then one object shrinks, one changes, one goes."""

    async def scenario() -> dict[str, str]:
        async with S3(to(store.url), limits(retries=1)) as s3:
            await s3.call("CreateBucket", Bucket="audited")
            for key in (*store.keys, "shrinks", "changes", "goes"):
                await s3.call("PutObject", Bucket="audited", Key=key, Body=key.encode())
            audit = JobSpec(
                manifest=ListObjects("audited"),
                operation=VerifyObject(),
                report=CompletionReport("s3://archive/reports"),
            )
            job = await prepare(audit, s3, owner=["dag", store.name])
            await s3.call("PutObject", Bucket="audited", Key="shrinks", Body=b"s")
            await s3.call("PutObject", Bucket="audited", Key="changes", Body=b"segnahc")
            await s3.call("DeleteObject", Bucket="audited", Key="goes")
            for number in range(len(job.partitions)):
                await run_partition(job, number, s3)
            found = await s3.call("ListObjectsV2", Bucket="archive", Prefix=f"reports/job-{job.job_id}/results/")
            bodies = [await s3.call("GetObject", Bucket="archive", Key=one["Key"]) for one in found["Contents"]]
        rows = csv.reader(io.StringIO("".join(body["Body"].decode() for body in bodies), newline=""))
        return {unquote(row[1]): row[5] or row[6] for row in rows}

    rows = engine.run(scenario())

    odd = {"shrinks": "SizeMismatch", "changes": "ETagMismatch", "goes": "NoSuchKey"}
    assert rows == dict.fromkeys(store.keys, "Same size and ETag") | odd


@pytest.mark.parametrize(
    ("header", "by", "told"),
    [
        (
            "bucket,key,owner",
            "content",
            "its columns are Bucket, Key, owner; there is none of size, e_tag, checksum_crc32",
        ),
        ("bucket,key,e_tag", "size", "its columns are Bucket, Key, e_tag; there is none of size"),
        ("bucket,key,size", "content", r"the manifest has sizes, but neither ETags .*; say by='size'"),
    ],
)
def test_manifest_that_tells_too_little_is_refused_before_its_rows_are_read(header: str, by: str, told: str) -> None:
    s3 = ScriptedEngine()
    s3.put("lake", "list.csv", f"{header}\ndata,k,1\n,broken\n")
    audit = JobSpec(
        manifest=CsvManifest("s3://lake/list.csv", header=True),
        operation=VerifyObject(by=by),
        report=CompletionReport("s3://lake/reports"),
    )

    with pytest.raises(S3BatchError, match=told):
        asyncio.run(prepare(audit, s3, owner=["dag"]))


# Parameters


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        (VerifyObject("archive"), ()),
        (VerifyObject(by="size"), ("size",)),
        (VerifyObject("archive", against="manifest", by="size"), ("size",)),
        (VerifyObject(), ("size", "e_tag", *(f"checksum_{algorithm.lower()}" for algorithm in ALGORITHMS))),
    ],
)
def test_manifest_is_asked_for_what_is_compared_only(operation: VerifyObject, wanted: tuple[str, ...]) -> None:
    assert operation.manifest_columns == wanted


def test_operation_is_read_back_from_its_json() -> None:
    written = VerifyObject("archive", target_prefix="old/", by="size")

    assert written.to_aws() == {
        "S3VerifyObject": {
            "TargetResource": "arn:aws:s3:::archive",
            "TargetKeyPrefix": "old/",
            "CompareWith": "source",
            "CompareBy": "size",
        }
    }
    assert operation_from_aws(written.to_aws()) == written


def test_operation_without_copies_is_read_back_from_its_json() -> None:
    written = VerifyObject(by="size")

    assert written.to_aws() == {"S3VerifyObject": {"CompareWith": "manifest", "CompareBy": "size"}}
    assert operation_from_aws(written.to_aws()) == written


@pytest.mark.parametrize(
    "arguments",
    [
        {"by": "hope"},
        {"target_bucket": "no bucket"},
        {"target_bucket": ""},
        {"target_bucket": None, "target_prefix": "old/"},
        {"target_bucket": None, "target_key": "{key}"},
        {"target_bucket": None, "against": "source"},
        {"against": "hope"},
        {"against": ""},
        {"target_bucket": None, "strip_prefix": "raw/"},
    ],
)
def test_parameter_that_can_never_work_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"VerifyObject: .*(target_bucket|by|against)"):
        VerifyObject(**{"target_bucket": "archive", **arguments})


def test_bucket_that_rendered_to_nothing_does_not_ask_for_another_comparison() -> None:
    written = json.dumps(VerifyObject("{{ params.bucket }}").to_aws())

    with pytest.raises(InvalidInput, match="target_bucket"):
        operation_from_aws(json.loads(written.replace("{{ params.bucket }}", "")))


@pytest.mark.parametrize(
    ("operation", "fine"),
    [
        (VerifyObject("lake"), False),
        (VerifyObject("arn:aws:s3:::lake", target_key="{key}"), False),
        (VerifyObject("lake", target_prefix="old/"), True),
        (VerifyObject("archive"), True),
        (VerifyObject("lake", against="manifest"), True),
        (VerifyObject(), True),
    ],
)
def test_bucket_is_not_compared_with_itself(operation: VerifyObject, fine: bool) -> None:
    if fine:
        asyncio.run(operation.look("lake", MemoryS3("lake", "archive")))
    else:
        with pytest.raises(InvalidInput, match="every object of lake would be compared with itself"):
            asyncio.run(operation.look("lake", MemoryS3("lake", "archive")))


def test_calls_pass_botocores_checks_before_anything_runs() -> None:
    async def checked() -> None:
        async with S3(to("http://127.0.0.1:1"), limits(), sleep=Naps()) as s3:
            s3.check(VerifyObject("archive", strip_prefix="raw/"), "lake")
            s3.check(VerifyObject(), "lake")
            s3.check(VerifyObject("archive", against="manifest"), "lake")

    engine.run(checked())
