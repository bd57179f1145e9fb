"""A 200 that is no answer to what was asked is no result: it is asked again, and then an error."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.config
import pytest

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import Unreachable
from airflow_s3batch.core.manifest.keyspace import KeySpace
from airflow_s3batch.core.manifest.listing import ObjectListing, VersionListing
from airflow_s3batch.core.operations import MergeObjectTags
from tests.core.engine.conftest import Run
from tests.core.engine.flights import Naps, entries, fly, limits, to
from tests.servers import Request, ScriptedServer, answer

PORTAL = b"<html><body>Welcome<br></body></html>"
WELL_FORMED = b"<html><body>Welcome</body></html>"
LISTED = "<Contents><Key>{}</Key><LastModified>2026-11-24T00:00:00.000Z</LastModified><Size>1</Size></Contents>"
OF_OBJECT = {"Bucket": "lake", "Key": "k"}


def page(inside: str = "", root: str = "ListBucketResult") -> bytes:
    return f'<?xml version="1.0"?>\n<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inside}</{root}>'.encode()


async def called(url: str, action: str, naps: Naps, **parameters: Any) -> dict[str, Any]:
    async with S3(to(url), limits(retries=2), sleep=naps) as s3:
        return await s3.call(action, **parameters)


@pytest.mark.parametrize(
    ("action", "about", "sent"),
    [
        ("ListObjectsV2", {"Bucket": "lake"}, answer(200)),
        ("ListObjectsV2", {"Bucket": "lake"}, answer(200, PORTAL)),
        ("ListObjectsV2", {"Bucket": "lake"}, answer(200, WELL_FORMED)),
        ("ListObjectsV2", {"Bucket": "lake"}, answer(200, b"welcome")),
        ("ListObjectsV2", {"Bucket": "lake"}, answer(200, page()[:-5])),
        ("ListObjectsV2", {"Bucket": "lake"}, answer(200, page("<Contents><Key>a&#x1;b</Key></Contents>"))),
        ("ListObjectsV2", {"Bucket": "lake"}, answer(200, page("<Contents><Size>big</Size></Contents>"))),
        ("ListObjectsV2", {"Bucket": "lake"}, answer(200, page("<IsTruncated>true</IsTruncated>"))),
        ("ListObjectVersions", {"Bucket": "lake"}, answer(200)),
        ("ListObjectVersions", {"Bucket": "lake"}, answer(200, WELL_FORMED)),
        (
            "ListObjectVersions",
            {"Bucket": "lake"},
            answer(200, page("<IsTruncated>true</IsTruncated>", root="ListVersionsResult")),
        ),
        ("GetObjectTagging", OF_OBJECT, answer(200)),
        ("GetObjectTagging", OF_OBJECT, answer(200, WELL_FORMED)),
        ("GetObjectAcl", OF_OBJECT, answer(200)),
        ("CreateMultipartUpload", OF_OBJECT, answer(200, b"<x/>")),
        ("GetObjectLockConfiguration", {"Bucket": "lake"}, answer(200, b"welcome")),
        ("HeadObject", OF_OBJECT, answer(200, headers={"last-modified": "yesterday"})),
        ("HeadObject", OF_OBJECT, answer(200, headers={"last-modified": f"1 Jan {'9' * 40}"})),
    ],
)
def test_200_that_is_no_answer_is_asked_again_and_then_unreachable(
    run: Run, action: str, about: dict[str, str], sent: bytes
) -> None:
    naps = Naps()

    with ScriptedServer(lambda _: [sent]) as server:
        with pytest.raises(Unreachable, match=f"{action} s3://lake/.*InvalidResponse: the answer") as caught:
            run(called(server.url, action, naps, **about))

        assert len(server.requests) == 3
    assert len(naps.taken) == 2
    assert caught.value.code == "InvalidResponse"


@pytest.mark.parametrize(
    ("listing", "root", "more"),
    [
        (ObjectListing, "ListBucketResult", "<NextContinuationToken>t</NextContinuationToken>"),
        (VersionListing, "ListVersionsResult", "<NextKeyMarker>a</NextKeyMarker>"),
    ],
)
@pytest.mark.parametrize("second", [b"", WELL_FORMED], ids=["empty", "a portal's page"])
def test_listing_is_never_shorter_than_the_bucket(
    run: Run, listing: type[ObjectListing | VersionListing], root: str, more: str, second: bytes
) -> None:
    entry = {"ListBucketResult": "Contents", "ListVersionsResult": "Version"}[root]
    listed = LISTED.replace("<Key>", "<VersionId>null</VersionId><Key>") if entry == "Version" else LISTED
    first, last = (listed.format(key).replace("Contents", entry) for key in "ab")
    pages = [page(f"<IsTruncated>true</IsTruncated>{more}{first}", root), second, page(last, root)]

    async def keys(url: str) -> list[str]:
        async with S3(to(url), limits(), sleep=Naps()) as s3:
            return [item["Key"] async for some in KeySpace(listing(s3, "lake"), at_once=1).pages() for item in some]

    with ScriptedServer(lambda _: [answer(200, pages.pop(0))]) as server:
        assert run(keys(server.url)) == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [
        page(),
        page().replace(b"<?xml", b"\xef\xbb\xbf<?xml"),
        b"<ListBucketResult/>",
        b'<s3:ListBucketResult xmlns:s3="http://s3.amazonaws.com/doc/2006-03-01/"></s3:ListBucketResult>',
    ],
)
def test_empty_bucket_is_empty_in_any_spelling(run: Run, body: bytes) -> None:
    naps = Naps()

    with ScriptedServer(lambda _: [answer(200, body)]) as server:
        told = run(called(server.url, "ListObjectsV2", naps, Bucket="lake"))

    assert "Contents" not in told
    assert not naps.taken


def test_object_whose_answer_is_none_fails_and_the_run_goes_on(run: Run) -> None:
    def script(request: Request) -> list[bytes]:
        if request.method == "GET" and request.path == "/lake/odd":
            return [answer(200, PORTAL)]
        return [answer(200, b"<Tagging><TagSet></TagSet></Tagging>")]

    with ScriptedServer(script) as server:
        outcomes = run(fly(to(server.url), entries(["a", "odd", "z"]), MergeObjectTags({"a": "b"}), naps=Naps()))

    told = {outcome.entry.key: outcome.code for outcome in outcomes}
    assert told == {"a": "", "odd": "InvalidResponse", "z": ""}


COPIED = b"<CopyObjectResult><LastModified>2026-11-30T19:00:00.000Z</LastModified><ETag>e</ETag></CopyObjectResult>"
DESCRIBED = {
    "Last-Modified": "Mon, 30 Nov 2026 19:00:00 GMT",
    "ETag": '"e"',
    "X-Amz-Version-Id": "v",
    "x-amz-MISSING-meta": "2",
    "x-amz-meta-owner": "me",
    "X-AMZ-META-path": "a/b",
    "x-amz-restore": 'ongoing-request="false", expiry-date="Fri, 04 Dec 2026 00:00:00 GMT"',
    "x-amz-object-lock-retain-until-date": "2027-01-01T00:00:00.000Z",
    "expires": "Fri, 04 Dec 2026 00:00:00 GMT",
}


@pytest.mark.parametrize(
    ("action", "body"), [("HeadObject", b""), ("GetObject", b"content"), ("PutObject", b""), ("CopyObject", COPIED)]
)
@pytest.mark.parametrize(
    "date",
    [
        "Mon, 30 Nov 2026 19:00:00 GMT",
        "Mon, 30 Nov 2026 19:00:00 +0200",
        "Monday, 30-Nov-26 19:00:00 GMT",
        "2026-11-30T19:00:00Z",
        "1795521600",
    ],
)
def test_answer_is_read_as_boto3_reads_it(run: Run, action: str, body: bytes, date: str) -> None:
    about = {**OF_OBJECT, **({"CopySource": "lake/other"} if action == "CopyObject" else {})}
    with ScriptedServer(lambda _: [answer(200, body, {**DESCRIBED, "Last-Modified": date})]) as server:
        ours = run(called(server.url, action, Naps(), **about))
        boto = boto3.client(
            "s3",
            region_name="us-east-1",
            endpoint_url=server.url,
            aws_access_key_id="a",
            aws_secret_access_key="s",
            config=botocore.config.Config(s3={"addressing_style": "path"}),
        )
        method = {"HeadObject": "head_object", "GetObject": "get_object", "PutObject": "put_object"}
        theirs = getattr(boto, method.get(action, "copy_object"))(**about)
        if "Body" in theirs:
            theirs["Body"] = theirs["Body"].read()
    assert {**ours, "ResponseMetadata": {}} == {
        **{name: told for name, told in theirs.items() if name != "ExpiresString"},  # boto3's own addition
        "ResponseMetadata": {},
    }
    assert "VersionId" in ours


def test_answers_of_one_action_are_read_by_the_headers_that_each_of_them_has(run: Run) -> None:
    # Which members are looked for is kept by the headers that came: no answer is to be read by another's.
    held: list[dict[str, str]] = [
        {"ETag": '"a"', "x-amz-meta-tier": "cold"},
        {"x-amz-version-id": "v1", "X-AMZ-STORAGE-CLASS": "GLACIER"},
        {},
        {"etag": '"b"', "x-amz-unheard-of": "1"},
        {"ETag": '"c"', "x-amz-meta-Owner": "ops"},
    ]
    answers = iter(held)

    async def each() -> list[dict[str, Any]]:
        async with S3(to(server.url), limits()) as s3:
            return [await s3.call("HeadObject", **OF_OBJECT) for _ in held]

    with ScriptedServer(lambda _: [answer(200, headers=next(answers))]) as server:
        told = run(each())

    known = ("ETag", "VersionId", "StorageClass", "Metadata")
    assert [{name: one[name] for name in known if name in one} for one in told] == [
        {"ETag": '"a"', "Metadata": {"tier": "cold"}},
        {"VersionId": "v1", "StorageClass": "GLACIER", "Metadata": {}},
        {"Metadata": {}},
        {"ETag": '"b"', "Metadata": {}},
        {"ETag": '"c"', "Metadata": {"owner": "ops"}},
    ]
