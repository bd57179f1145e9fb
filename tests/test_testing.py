"""`MemoryS3` answers as S3 does: every script here is run against it and against moto."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import botocore.exceptions
import moto
import pytest

from airflow_s3batch.core.errors import InvalidInput, S3Error
from airflow_s3batch.testing import Call, MemoryS3

Step = tuple[str, dict[str, Any]]
S3Script = Callable[[str, dict[str, Any]], dict[str, Any]]
SHOWN = (
    "Body", "ContentLength", "ContentRange", "ETag", "VersionId", "DeleteMarker", "Contents", "KeyCount", "IsTruncated",
    "Status",
)  # fmt: skip


def shown(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says, without what is each store's own."""
    told = {name: answer[name] for name in SHOWN if name in answer}
    if "VersionId" in told:
        told["VersionId"] = "some"
    if "Contents" in told:
        told["Contents"] = [{name: item[name] for name in ("Key", "Size", "ETag")} for item in told["Contents"]]
    if isinstance(told.get("Body"), botocore.response.StreamingBody):
        told["Body"] = told["Body"].read()
    return told


@pytest.fixture
def moto_s3() -> Iterator[Callable[[Step], object]]:
    with moto.mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        for bucket in ("lake", "kept"):
            client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})

        def call(step: Step) -> object:
            action, parameters = step
            try:
                return shown(getattr(client, botocore.xform_name(action))(**parameters))
            except botocore.exceptions.ClientError as error:
                return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]

        yield call


def memory_s3() -> Callable[[Step], object]:
    s3 = MemoryS3("lake", versioned=["kept"])

    def call(step: Step) -> object:
        action, parameters = step
        try:
            return shown(asyncio.run(s3.call(action, **parameters)))
        except S3Error as error:
            # boto3 takes the status for the code where a HEAD leaves it nothing else.
            return error.status, str(error.status) if action.startswith("Head") else error.code

    return call


def put(key: str, body: bytes = b"hello", bucket: str = "lake", **conditions: str) -> Step:
    return "PutObject", {"Bucket": bucket, "Key": key, "Body": body, **conditions}


def get(key: str, bucket: str = "lake", **parameters: str) -> Step:
    return "GetObject", {"Bucket": bucket, "Key": key, **parameters}


HELLO = '"5d41402abc4b2a76b9719d911017c592"'


@pytest.mark.parametrize(
    "script",
    [
        [put("a"), get("a"), ("HeadObject", {"Bucket": "lake", "Key": "a"})],
        [put("a"), get("a", Range="bytes=1-2"), get("a", Range="bytes=3-"), get("a", Range="bytes=0-99")],
        [put("a"), get("a", Range="bytes=5-6")],
        [put("a"), get("a", IfMatch=HELLO), get("a", IfMatch='"other"')],
        [get("a"), ("HeadObject", {"Bucket": "lake", "Key": "a"})],
        [get("a", bucket="nowhere"), ("HeadBucket", {"Bucket": "nowhere"}), ("HeadBucket", {"Bucket": "lake"})],
        [put("a", bucket="nowhere")],
        [("GetBucketVersioning", {"Bucket": bucket}) for bucket in ("lake", "kept", "nowhere")],
        [put("a", IfNoneMatch="*"), put("a", b"other", IfNoneMatch="*"), get("a")],
        [put("a"), put("a", b"two", IfMatch=HELLO), put("a", b"three", IfMatch=HELLO), get("a")],
        [put("a", IfMatch=HELLO)],
        [put("a"), ("DeleteObject", {"Bucket": "lake", "Key": "a"}), get("a")],
        [("DeleteObject", {"Bucket": "lake", "Key": "a"})],
        [put("a", bucket="kept"), get("a", bucket="kept"), put("a", b"two", bucket="kept"), get("a", bucket="kept")],
        [put("a", bucket="kept"), ("DeleteObject", {"Bucket": "kept", "Key": "a"}), get("a", bucket="kept")],
        [
            *(put(key) for key in ("b/2", "a", "b/1", "c", "b/é", "b/Z")),
            ("ListObjectsV2", {"Bucket": "lake"}),
            ("ListObjectsV2", {"Bucket": "lake", "Prefix": "b/"}),
            ("ListObjectsV2", {"Bucket": "lake", "Prefix": "b/", "MaxKeys": 2}),
            ("ListObjectsV2", {"Bucket": "lake", "StartAfter": "b/1"}),
            ("ListObjectsV2", {"Bucket": "lake", "Prefix": "none"}),
        ],
    ],
)
def test_it_answers_as_moto_does(script: list[Step], moto_s3: Callable[[Step], object]) -> None:
    s3 = memory_s3()

    assert [s3(step) for step in script] == [moto_s3(step) for step in script]


def test_a_listing_goes_on_from_its_token() -> None:
    s3 = MemoryS3("lake", page_size=2)
    for key in "cabed":
        s3.put("lake", key, "")

    async def listed() -> list[list[str]]:
        pages, token = [], None
        while True:
            more: dict[str, Any] = {"ContinuationToken": token} if token else {}
            page = await s3.call("ListObjectsV2", Bucket="lake", **more)
            pages.append([item["Key"] for item in page["Contents"]])
            if not page["IsTruncated"]:
                return pages
            token = page["NextContinuationToken"]

    assert asyncio.run(listed()) == [["a", "b"], ["c", "d"], ["e"]]


def test_a_version_can_be_read_and_removed() -> None:
    s3 = MemoryS3(versioned=["kept"])
    s3.put("kept", "a", "one")
    s3.put("kept", "a", "two")

    async def read() -> list[bytes]:
        one = await s3.call("GetObject", Bucket="kept", Key="a", VersionId="v1")
        await s3.call("DeleteObject", Bucket="kept", Key="a", VersionId="v2")
        now = await s3.call("GetObject", Bucket="kept", Key="a")
        return [one["Body"], now["Body"]]

    assert asyncio.run(read()) == [b"one", b"one"]


@pytest.mark.parametrize(("version", "status", "code"), [("v9", 404, "NoSuchVersion"), ("v2", 405, "MethodNotAllowed")])
def test_a_version_that_is_no_object_is_refused(version: str, status: int, code: str) -> None:
    s3 = MemoryS3(versioned=["kept"])
    s3.put("kept", "a", "one")

    async def read() -> None:
        await s3.call("DeleteObject", Bucket="kept", Key="a")
        await s3.call("GetObject", Bucket="kept", Key="a", VersionId=version)

    with pytest.raises(S3Error) as caught:
        asyncio.run(read())
    assert (caught.value.status, caught.value.code) == (status, code)


def test_every_call_about_a_forbidden_bucket_is_refused() -> None:
    s3 = MemoryS3(forbidden=["secret"])

    with pytest.raises(S3Error, match="GetObject s3://secret/a: 403 AccessDenied: Access Denied"):
        asyncio.run(s3.call("GetObject", Bucket="secret", Key="a"))


def test_calls_are_recorded_and_can_be_made_to_fail() -> None:
    def fail(call: Call) -> None:
        if call.action == "GetObject":
            raise S3Error(call.action, "s3://lake/a", status=503, code="SlowDown", message="Slow down.")

    s3 = MemoryS3("lake", before=fail)
    s3.put("lake", "a", "one")

    asyncio.run(s3.call("HeadObject", Bucket="lake", Key="a"))
    with pytest.raises(S3Error, match="503 SlowDown"):
        asyncio.run(s3.call("GetObject", Bucket="lake", Key="a"))
    assert s3.actions == ["HeadObject", "GetObject"]
    assert s3.calls[1] == ("GetObject", {"Bucket": "lake", "Key": "a"})


def test_what_is_stored_can_be_looked_at() -> None:
    s3 = MemoryS3(versioned=["kept"])
    s3.put("kept", "b", "two")
    s3.put("kept", "a/1", b"one")
    asyncio.run(s3.call("DeleteObject", Bucket="kept", Key="b"))

    assert s3.keys("kept") == ["a/1"]
    assert s3.keys("kept", "a/") == ["a/1"]
    assert s3.get("kept", "a/1") == b"one"
    for missing in ("b", "c"):
        with pytest.raises(KeyError):
            s3.get("kept", missing)


@pytest.mark.parametrize(
    ("action", "parameters", "wrong"),
    [
        ("CopyObject", {"Bucket": "lake"}, "MemoryS3 does not know CopyObject; it knows HeadBucket, "),
        ("GetObject", {"Bucket": "lake", "Key": "a", "PartNumber": 1}, "would have to ignore PartNumber of GetObject"),
    ],
)
def test_what_it_would_have_to_ignore_is_refused(action: str, parameters: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        asyncio.run(MemoryS3("lake").call(action, **parameters))
