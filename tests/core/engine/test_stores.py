"""Calls and operations against two S3 servers that others wrote, with every awkward key.

What a server can't do is asserted as well, so that nothing is skipped silently, and a better release is noticed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from moto.server import ThreadedMotoServer

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import S3Error
from airflow_s3batch.core.operations import (
    CopyObject,
    DeleteObjectTagging,
    Operation,
    PutObjectAcl,
    PutObjectTagging,
    RestoreObject,
)
from airflow_s3batch.core.rows import Outcome
from tests.core.engine.awkward import AWKWARD
from tests.core.engine.flights import Naps, entries, fly, in_lists, limits, to
from tests.servers import closed_port

TEN_BYTES = b"0123456789"


class Store(NamedTuple):
    """An S3 server with two buckets: ``lake`` holds an object of every awkward key, whose body is its key."""

    name: str
    url: str
    keys: tuple[str, ...]
    """The awkward keys it can hold."""


@contextmanager
def moto(_: Path) -> Iterator[Store]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        # All that run in a process share what they hold: what the tests of another module have left would be found.
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
        # Its URL patterns don't match a newline: a bare 404 for everything about such a key.
        yield Store("moto", url, tuple(key for key in AWKWARD if "\n" not in key))
    finally:
        server.stop()


@contextmanager
def ministack(folder: Path) -> Iterator[Store]:
    port = closed_port()
    settings = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3",
        "IOT_MTLS_ENABLED": "0",  # would listen on all interfaces
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "ERROR",
        "TMPDIR": str(folder),
    }
    with (folder / "ministack.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env={**os.environ, **settings}, stdout=log, stderr=log, cwd=folder
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/_ministack/health", process)
        yield Store("ministack", url, AWKWARD)
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server has ended"
        with suppress(OSError), urllib.request.urlopen(url, timeout=1.0):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody answers at {url}")


SERVERS: dict[str, Callable[[Path], Any]] = {"moto": moto, "ministack": ministack}


@pytest.fixture(scope="module", params=SERVERS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    async def fill(store: Store) -> None:
        async with S3(to(store.url), limits()) as s3:
            for bucket in ("lake", "archive", "ten"):
                await s3.call("CreateBucket", Bucket=bucket)
            for key in store.keys:
                await s3.call("PutObject", Bucket="lake", Key=key, Body=key.encode())
            await s3.call(
                "PutObject", Bucket="ten", Key="bytes", Body=TEN_BYTES, ContentType="text/plain", Metadata={"a": "b"}
            )

    with SERVERS[request.param](tmp_path_factory.mktemp("store")) as store:
        engine.run(fill(store))
        yield store


def call(store: Store, action: str, **parameters: Any) -> dict[str, Any]:
    async def calling() -> dict[str, Any]:
        async with S3(to(store.url), limits(retries=1), sleep=Naps()) as s3:
            return await s3.call(action, **parameters)

    answer: dict[str, Any] = engine.run(calling())
    return answer


def operate(store: Store, operation: Operation, keys: tuple[str, ...]) -> dict[str, Outcome]:
    outcomes = engine.run(fly(to(store.url), entries(keys), operation, chosen=limits(retries=1)))
    by_key = {outcome.entry.key: outcome for outcome in outcomes}
    assert len(outcomes) == len(by_key) == len(keys)
    return by_key


async def listed(s3: S3, bucket: str, **parameters: Any) -> AsyncIterator[str]:
    while True:
        page = await s3.call("ListObjectsV2", Bucket=bucket, **parameters)
        for item in page.get("Contents", ()):
            yield item["Key"]
        if not page["IsTruncated"]:
            return
        parameters["ContinuationToken"] = page["NextContinuationToken"]


def keys_of(store: Store, bucket: str, **parameters: Any) -> list[str]:
    async def listing() -> list[str]:
        async with S3(to(store.url), limits()) as s3:
            return [key async for key in listed(s3, bucket, **parameters)]

    keys: list[str] = engine.run(listing())
    return keys


def test_every_awkward_key_holds_what_was_put_there(store: Store) -> None:
    async def bodies() -> dict[str, bytes]:
        async with S3(to(store.url), limits()) as s3:
            return {key: (await s3.call("GetObject", Bucket="lake", Key=key))["Body"] for key in store.keys}

    assert engine.run(bodies()) == {key: key.encode() for key in store.keys}


@pytest.mark.parametrize("page", [3, 1_000])
def test_listing_gives_every_key_as_it_is(store: Store, page: int) -> None:
    assert keys_of(store, "lake", MaxKeys=page) == sorted(store.keys, key=str.encode)


def test_listing_with_a_delimiter_gives_prefixes_as_they_are(store: Store) -> None:
    page = call(store, "ListObjectsV2", Bucket="lake", Prefix="日本", Delimiter="/")

    assert [prefix["Prefix"] for prefix in page["CommonPrefixes"]] == ["日本/"]
    assert "Contents" not in page


def test_get_gives_a_range_of_bytes_and_the_metadata(store: Store) -> None:
    answer = call(store, "GetObject", Bucket="ten", Key="bytes", Range="bytes=3-5")

    assert answer["Body"] == TEN_BYTES[3:6]
    assert (answer["ContentRange"], answer["ContentLength"]) == ("bytes 3-5/10", 3)
    assert (answer["ContentType"], answer["Metadata"]) == ("text/plain", {"a": "b"})


def test_get_of_the_etag_that_was_pinned(store: Store) -> None:
    etag = call(store, "HeadObject", Bucket="ten", Key="bytes")["ETag"]

    assert call(store, "GetObject", Bucket="ten", Key="bytes", IfMatch=etag)["Body"] == TEN_BYTES


@pytest.mark.parametrize(
    ("action", "parameters", "status", "code"),
    [
        ("GetObject", {"Bucket": "ten", "Key": "bytes", "IfMatch": '"another"'}, 412, "PreconditionFailed"),
        ("GetObject", {"Bucket": "ten", "Key": "bytes", "Range": "bytes=10-"}, 416, "InvalidRange"),
        ("GetObject", {"Bucket": "ten", "Key": "missing"}, 404, "NoSuchKey"),
        ("HeadObject", {"Bucket": "ten", "Key": "missing"}, 404, "NotFound"),
        ("GetObject", {"Bucket": "no-such-bucket", "Key": "k"}, 404, "NoSuchBucket"),
        ("ListObjectsV2", {"Bucket": "no-such-bucket"}, 404, "NoSuchBucket"),
        ("PutObject", {"Bucket": "ten", "Key": "bytes", "Body": b"", "IfNoneMatch": "*"}, 412, "PreconditionFailed"),
    ],
)
def test_refused_call_raises_what_s3_said(
    store: Store, action: str, parameters: dict[str, Any], status: int, code: str
) -> None:
    with pytest.raises(S3Error, match=f"{action} s3://{parameters['Bucket']}/") as caught:
        call(store, action, **parameters)

    assert (caught.value.status, caught.value.code) == (status, code)


def test_put_of_a_large_body_arrives_whole(store: Store) -> None:
    body = bytes(range(256)) * 20_000

    call(store, "PutObject", Bucket="ten", Key="large", Body=body)

    assert call(store, "GetObject", Bucket="ten", Key="large")["Body"] == body


def test_put_tagging_then_delete_tagging(store: Store) -> None:
    tags = {"tier": "cold", "note": "a+b / =@"}

    put = operate(store, PutObjectTagging(tags), store.keys)
    after_put = [
        call(store, "GetObjectTagging", Bucket="lake", Key=key)["TagSet"] for key in (store.keys[0], "a+b", "../x")
    ]
    deleted = operate(store, DeleteObjectTagging(), store.keys)
    after_delete = [
        call(store, "GetObjectTagging", Bucket="lake", Key=key)["TagSet"] for key in (store.keys[0], "a+b", "../x")
    ]

    assert all(outcome.succeeded for outcome in (*put.values(), *deleted.values()))
    assert [{tag["Key"]: tag["Value"] for tag in tag_set} for tag_set in after_put] == [tags] * 3
    assert after_delete == [[]] * 3


def test_put_acl(store: Store) -> None:
    outcomes = operate(store, PutObjectAcl("public-read"), store.keys)

    assert all(outcome.succeeded for outcome in outcomes.values())
    grants = call(store, "GetObjectAcl", Bucket="lake", Key="a b")["Grants"]
    assert {grant["Permission"] for grant in grants} == {"FULL_CONTROL", "READ"}


def test_copies_arrive_under_their_keys_with_what_was_asked_for(store: Store) -> None:
    copy = CopyObject(
        "archive",
        target_prefix="new & old/",
        metadata={"origin": "lake"},
        tags={"k": "v w"},
        storage_class="STANDARD_IA",
    )

    outcomes = operate(store, copy, store.keys)

    assert all(outcome.succeeded for outcome in outcomes.values())
    assert set(keys_of(store, "archive")) == {f"new & old/{key}" for key in store.keys}
    for key in ("a//b", "../x", "100%", "naïve-ü"):
        there = call(store, "GetObject", Bucket="archive", Key=f"new & old/{key}")
        assert (there["Body"], there["Metadata"], there["StorageClass"]) == (
            key.encode(),
            {"origin": "lake"},
            "STANDARD_IA",
        )
    tags = call(store, "GetObjectTagging", Bucket="archive", Key="new & old/a b")["TagSet"]
    assert tags == [{"Key": "k", "Value": "v w"}]


def test_restore(store: Store) -> None:
    copied = operate(store, CopyObject("ten", target_prefix="cold/", storage_class="GLACIER"), store.keys)
    assert all(outcome.succeeded for outcome in copied.values())
    cold = entries((f"cold/{key}" for key in store.keys), bucket="ten")

    outcomes = engine.run(fly(to(store.url), cold, RestoreObject(3), chosen=limits(retries=1)))

    if store.name == "ministack":  # has no RestoreObject
        assert {(outcome.http_status, outcome.code) for outcome in outcomes} == {(405, "MethodNotAllowed")}
    else:
        assert {(outcome.succeeded, outcome.http_status) for outcome in outcomes} == {(True, 202)}


@pytest.mark.parametrize(
    "operation",
    [
        PutObjectTagging({"a": "b"}),
        DeleteObjectTagging(),
        PutObjectAcl("private"),
        CopyObject("archive"),
        RestoreObject(1),
    ],
    ids=lambda operation: operation.aws_name,
)
def test_object_that_is_not_there_is_an_outcome(store: Store, operation: Operation) -> None:
    outcome = operate(store, operation, ("not there",))["not there"]

    gaps = {
        ("moto", "S3DeleteObjectTagging"): (500, "InternalError"),
        ("ministack", "S3InitiateRestoreObject"): (405, "MethodNotAllowed"),
    }
    assert not outcome.succeeded
    assert (outcome.http_status, outcome.code) == gaps.get((store.name, operation.aws_name), (404, "NoSuchKey"))


def test_key_that_moto_cannot_hold_is_an_outcome(store: Store) -> None:
    outcome = operate(store, PutObjectTagging({"a": "b"}), ("new\nline",))["new\nline"]

    assert (outcome.succeeded, outcome.http_status) == ((True, 200) if "new\nline" in store.keys else (False, 404))


def test_versions_are_told_apart(store: Store) -> None:
    async def tag_the_older() -> tuple[list[Outcome], list[dict[str, str]], list[dict[str, str]]]:
        async with S3(to(store.url), limits(), sleep=Naps()) as s3:
            await s3.call("CreateBucket", Bucket="versioned")
            await s3.call("PutBucketVersioning", Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
            older, newer = [
                (await s3.call("PutObject", Bucket="versioned", Key="a b", Body=body))["VersionId"]
                for body in (b"1", b"2")
            ]
            tagging = s3.run(
                in_lists(entries(["a b"], bucket="versioned", version=older), 1), PutObjectTagging({"v": "1"})
            )
            outcomes = [outcome async for some in tagging for outcome in some]
            tags = [
                (await s3.call("GetObjectTagging", Bucket="versioned", Key="a b", VersionId=version))["TagSet"]
                for version in (older, newer)
            ]
            return outcomes, tags[0], tags[1]

    outcomes, older, newer = engine.run(tag_the_older())

    assert outcomes[0].succeeded
    assert (older, newer) == ([{"Key": "v", "Value": "1"}], [])
