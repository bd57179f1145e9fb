"""What goes over the wire is what boto3 sends, to the last header and byte of the body."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import botocore.config
import pytest

from airflow_s3batch.core.engine import S3, S3Access
from airflow_s3batch.core.engine.compile import Compiler
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.operations import (
    CopyObject,
    DeleteObjectTagging,
    Grant,
    PutObjectAcl,
    PutObjectTagging,
    RequestOperation,
    RestoreObject,
)
from tests.core.engine.awkward import AWKWARD
from tests.core.engine.flights import KEYS, entries, fly, limits, to
from tests.servers import Request, ScriptedServer, Step, answer

# What differs at every request, or belongs to the HTTP library and not to the request.
VOLATILE = {
    "accept-encoding",
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "connection",
    "expect",
    "user-agent",
    "x-amz-date",
}

OPERATIONS: list[RequestOperation] = [
    PutObjectTagging({"tier": "cold", "Ünï": "a+b / =@"}),
    PutObjectTagging({}),
    DeleteObjectTagging(),
    PutObjectAcl("bucket-owner-full-control"),
    PutObjectAcl(
        grants=[Grant("READ", uri="http://acs.amazonaws.com/groups/global/AllUsers"), Grant("WRITE_ACP", id="ab<c")],
        owner="me",
    ),
    CopyObject("archive"),
    CopyObject(
        "archive",
        target_prefix="2026/new & old/",
        metadata={"Origin": "lake", "note": "a  b"},
        tags={"k": "v w"},
        storage_class="GLACIER_IR",
        content_type="text/csv",
        expires="2030-01-02T03:04:05Z",
        encryption="KMS",
        kms_key_id="arn:aws:kms:us-east-1:1:key/2",
        bucket_key_enabled=True,
        checksum_algorithm="SHA256",
        lock_mode="GOVERNANCE",
        lock_retain_until="2031-01-02T03:04:05Z",
        legal_hold="ON",
        modified_since="2020-01-01T00:00:00Z",
        unmodified_since="2029-01-01T00:00:00Z",
        redirect_location="/elsewhere",
        requester_pays=True,
        grants=[Grant("READ", id="abc")],
    ),
    RestoreObject(7, tier="BULK"),
    RestoreObject(None, tier="STANDARD"),
]

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("HeadObject", {"Key": "k", "PartNumber": 1}),
    ("GetObject", {"Key": "a b", "Range": "bytes=0-99", "IfMatch": '"tag"'}),
    (
        "PutObject",
        {"Key": "k", "Body": b"\x00bytes\r\n", "ContentType": "text/csv", "Metadata": {"a": "b"}, "IfNoneMatch": "*"},
    ),
    ("PutObject", {"Key": "empty", "Body": b""}),
    ("PutObject", {"Key": "text", "Body": "é", "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}),
    ("ListObjectsV2", {"Prefix": "a b+c/é&=", "Delimiter": "/", "ContinuationToken": "1/+=", "MaxKeys": 10}),
    ("DeleteObjects", {"Delete": {"Objects": [{"Key": "a<b"}, {"Key": "c", "VersionId": "null"}], "Quiet": True}}),
    ("CreateMultipartUpload", {"Key": "k"}),
    ("GetBucketVersioning", {}),
]


# The answers that have to be there, by the queries of their requests.
ROOTS = {"uploads": "InitiateMultipartUploadResult", "list-type": "ListBucketResult"}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    def script(request: Request) -> Sequence[Step]:
        root = "CopyObjectResult" if request.header("x-amz-copy-source") else ROOTS.get(request.query.partition("=")[0])
        return [answer(200, f"<{root}/>".encode() if root else b"")]

    with ScriptedServer(script) as server:
        yield server


@pytest.fixture(scope="module")
def boto(server: ScriptedServer) -> Any:
    # Checksums as the engine has them; all else is boto3's default.
    config = botocore.config.Config(
        s3={"addressing_style": "path", "payload_signing_enabled": True},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"max_attempts": 0},
    )
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
        config=config,
    )


def told(request: Request) -> tuple[str, str, dict[str, str], bytes]:
    stable = {name: value for name, value in request.headers if name not in VOLATILE}
    if stable.get("content-length") == "0":
        del stable["content-length"]  # boto3 leaves it out of some requests without a body; HTTP has both
    return request.method, request.target, stable, request.body


def by_boto(server: ScriptedServer, boto: Any, action: str, parameters: dict[str, Any]) -> Request:
    method = next(method for method, name in boto.meta.method_to_api_mapping.items() if name == action)
    getattr(boto, method)(**parameters)
    return server.requests[-1]


@pytest.mark.parametrize("version", [None, "null", "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.aws_name)
def test_every_operation_is_sent_as_boto3_sends_it(
    server: ScriptedServer, boto: Any, operation: RequestOperation, version: str | None
) -> None:
    before = len(server.requests)

    asyncio.run(fly(to(server.url), entries(AWKWARD, version=version), operation, chosen=limits(in_flight=1)))

    ours = server.requests[before:]
    assert len(ours) == len(AWKWARD)
    for key, sent in zip(AWKWARD, ours, strict=True):
        action, parameters = operation.request("lake", key, version)
        assert told(sent) == told(by_boto(server, boto, action, parameters)), key


@pytest.mark.parametrize(("action", "parameters"), CALLS, ids=[action for action, _ in CALLS])
def test_every_call_is_sent_as_boto3_sends_it(
    server: ScriptedServer, boto: Any, action: str, parameters: dict[str, Any]
) -> None:
    async def call() -> None:
        async with S3(to(server.url), limits()) as s3:
            await s3.call(action, Bucket="lake", **parameters)

    asyncio.run(call())

    ours = server.requests[-1]
    assert told(ours) == told(by_boto(server, boto, action, {"Bucket": "lake", **parameters}))


def test_user_agent_names_the_package(server: ScriptedServer) -> None:
    asyncio.run(fly(to(server.url), entries(["k"])))

    assert server.requests[-1].header("user-agent").startswith("airflow-s3batch/")


@pytest.mark.parametrize(
    ("action", "parameters", "told"),
    [
        ("PutObject", {"ContentType": "text/plain\r\nx-amz-acl: public-read"}, "content-type"),
        ("PutObject", {"Metadata": {"note": "a\nb"}}, "x-amz-meta-note"),
        ("PutObject", {"Metadata": {"note\r\nx-amz-acl": "public-read"}}, "x-amz-meta-note.* is no name"),
        ("PutObject", {"Metadata": {"a b": "c"}}, "x-amz-meta-a b"),
        ("PutObject", {"Metadata": {"a:b": "c"}}, "x-amz-meta-a:b"),
        ("PutObject", {"Metadata": {"note": "é"}}, "é"),
        ("CopyObject", {"CopySource": "lake/k", "WebsiteRedirectLocation": "/é"}, "x-amz-website-redirect-location"),
        ("PutObject", {"ContentType": "a\x7fb"}, "content-type"),
    ],
)
def test_headers_that_http_cannot_carry_are_refused(action: str, parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=f"{action}: .*{told}"):
        Compiler(S3Access(), "tests").compile(action, {"Bucket": "lake", "Key": "k", **parameters})


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"Bucket": "lake--use1-az4--x-s3", "Key": "k"}, "lake--use1-az4--x-s3 .*directory bucket"),
        (
            {"Bucket": "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap", "Key": "k"},
            "mfzwi23gnjvgw.mrap .*multi-region access point",
        ),
        ({"Bucket": "lake", "Key": ""}, "Key"),
        ({"Bucket": "lake"}, "Key"),
        ({"Bucket": "", "Key": "k"}, "Bucket|bucket"),
        ({"Bucket": "lake", "Key": "k", "Kye": "k"}, "Kye"),
        ({"Bucket": "lake", "Key": "k", "PartNumber": "one"}, "PartNumber"),
        ({"Bucket": "a/b", "Key": "k"}, "a/b"),
    ],
)
def test_what_cannot_be_compiled_is_told_and_not_sent(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Compiler(S3Access(), "tests").compile("HeadObject", parameters)


def test_an_action_that_s3_does_not_have_is_invalid_input() -> None:
    with pytest.raises(InvalidInput, match="GetObjekt"):
        Compiler(S3Access(), "tests").compile("GetObjekt", {"Bucket": "lake", "Key": "k"})


def test_access_points_are_hosts_of_their_own() -> None:
    arn = "arn:aws:s3:us-west-2:123456789012:accesspoint/reader"

    compiled = Compiler(S3Access(), "tests").compile("HeadObject", {"Bucket": arn, "Key": "k"})

    assert compiled.host == "reader-123456789012.s3-accesspoint.us-west-2.amazonaws.com"
    assert compiled.region == "us-west-2"


def test_another_region_is_another_host_and_scope() -> None:
    compiled = Compiler(S3Access(region="eu-west-1"), "tests").compile(
        "HeadObject", {"Bucket": "lake", "Key": "k"}, "ap-south-1"
    )

    assert (compiled.host, compiled.region) == ("lake.s3.ap-south-1.amazonaws.com", "ap-south-1")


@pytest.mark.parametrize(
    ("function", "region"),
    [
        ("thumb", "us-east-1"),
        ("thumb:PROD", "us-east-1"),
        ("us-thumb-1:PROD", "us-east-1"),
        ("function:thumb:PROD", "us-east-1"),
        ("123456789012:function:thumb", "us-east-1"),
        ("123456789012:function:thumb:PROD", "us-east-1"),
        ("eu-west-1:123456789012:function:thumb", "eu-west-1"),
        ("eu-west-1:123456789012:function:thumb:PROD", "eu-west-1"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:thumb", "eu-west-1"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:thumb:PROD", "eu-west-1"),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:thumb", "us-gov-west-1"),
    ],
)
def test_function_is_invoked_in_the_region_that_its_name_has(function: str, region: str) -> None:
    compiled = Compiler(S3Access(), "tests").compile("lambda:Invoke", {"FunctionName": function})

    assert compiled.host == f"lambda.{region}.amazonaws.com"
    assert compiled.region == region


def test_functions_are_not_looked_for_where_s3_is() -> None:
    private = "https://bucket.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com"
    access = S3Access(region="eu-west-1", endpoint_url=private)
    with_both = S3Access(region="eu-west-1", endpoint_url=private, lambda_endpoint_url="https://functions.example")

    hosts = [
        Compiler(one, "tests").compile("lambda:Invoke", {"FunctionName": "thumb"}).host for one in (access, with_both)
    ]

    assert hosts == ["lambda.eu-west-1.amazonaws.com", "functions.example"]


def test_accelerated_buckets_have_a_host_for_it() -> None:
    compiler = Compiler(S3Access(region="eu-west-1", use_accelerate=True), "tests")

    compiled = compiler.compile("HeadObject", {"Bucket": "lake", "Key": "k"})

    assert (compiled.host, compiled.region) == ("lake.s3-accelerate.amazonaws.com", "eu-west-1")
    with pytest.raises(InvalidInput, match="S3 Accelerate"):
        compiler.compile("HeadObject", {"Bucket": "a.lake", "Key": "k"})


def test_environment_does_not_bend_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    # Airflow's connection says where S3 is; what else the worker's environment is set up for must not.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.example")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere.example")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")

    compiled = Compiler(S3Access(region="eu-west-1"), "tests").compile("HeadObject", {"Bucket": "lake", "Key": "k"})

    assert (compiled.host, compiled.region) == ("lake.s3.eu-west-1.amazonaws.com", "eu-west-1")
