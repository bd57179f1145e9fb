"""UpdateObjectEncryption: what it takes and sends, and that stores which take it for a PutObject are refused."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import botocore.validate
import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.operations import UpdateObjectEncryption, operation_from_aws
from tests.core.engine.flights import entries, fly, limits, to
from tests.core.engine.test_stores import SERVERS
from tests.core.test_operations_wire import XML, body, sent
from tests.servers import ScriptedServer, answer, error

ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

KNOWN = "UpdateObjectEncryption" in botocore.session.Session().get_service_model("s3").operation_names
from_newer_botocore = pytest.mark.skipif(not KNOWN, reason="this botocore doesn't know UpdateObjectEncryption yet")


@pytest.mark.parametrize("bucket_key", [True, False])
def test_it_is_told_in_awss_words_and_read_back(bucket_key: bool) -> None:
    operation = UpdateObjectEncryption(ARN, bucket_key=bucket_key)
    aws = {
        "S3UpdateObjectEncryption": {"ObjectEncryption": {"SSEKMS": {"KMSKeyArn": ARN, "BucketKeyEnabled": bucket_key}}}
    }

    assert operation.to_aws() == aws
    assert operation_from_aws(json.loads(json.dumps(aws))) == operation


@from_newer_botocore
def test_what_it_tells_is_a_job_operation_of_awss_model() -> None:
    shape = botocore.session.Session().get_service_model("s3control").shape_for("JobOperation")
    aws = UpdateObjectEncryption(ARN, bucket_key=True).to_aws()

    assert botocore.validate.ParamValidator().validate(aws, shape).generate_report() == ""


def test_the_bucket_key_is_off_where_aws_says_nothing() -> None:
    aws = {"S3UpdateObjectEncryption": {"ObjectEncryption": {"SSEKMS": {"KMSKeyArn": ARN}}}}

    assert operation_from_aws(aws) == UpdateObjectEncryption(ARN)


@pytest.mark.parametrize(
    "arn", [ARN, "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-1234", "{{ var.value.kms_key_arn }}"]
)
def test_the_full_arn_of_a_key_is_taken(arn: str) -> None:
    assert UpdateObjectEncryption(arn).kms_key_arn == arn


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "alias/lake",
        "arn:aws:kms:eu-west-1:123456789012:alias/lake",
        "arn:aws:s3:::lake",
        "arn:aws:kms:eu-west-1:12345:key/1234",
        f"{ARN}\n",
    ],
)
def test_what_is_no_full_arn_of_a_key_is_refused(arn: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"UpdateObjectEncryption: kms_key_arn: .* is not the ARN of a KMS key; write"
    ):
        UpdateObjectEncryption(arn)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, "ObjectEncryption.SSEKMS.KMSKeyArn is missing"),
        ({"ObjectEncryption": {"SSES3": {}}}, "unknown SSES3"),
        ({"ObjectEncryption": {"SSEKMS": {"KMSKeyArn": ARN, "BucketKeyEnabled": "maybe"}}}, "neither True nor False"),
    ],
)
def test_what_is_no_such_operation_is_refused(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        operation_from_aws({"S3UpdateObjectEncryption": arguments})


@from_newer_botocore
def test_the_request_is_as_awss_model_writes_it() -> None:
    request = sent(UpdateObjectEncryption(ARN, bucket_key=True), version="v1")

    assert request.method == "PUT"
    assert request.url.split("/", 3)[3] == "source/a%20b?encryption&versionId=v1"
    assert body(request) == (
        f"<ObjectEncryption {XML}><SSE-KMS><KMSKeyArn>{ARN}</KMSKeyArn><BucketKeyEnabled>true</BucketKeyEnabled>"
        "</SSE-KMS></ObjectEncryption>"
    )


@from_newer_botocore
def test_every_object_is_one_request() -> None:
    with ScriptedServer(lambda _: [answer(200)]) as server:
        outcomes = engine.run(fly(to(server.url), entries(["a b", "c"]), UpdateObjectEncryption(ARN)))

    assert [outcome.message for outcome in outcomes] == ["Successful", "Successful"]
    assert sorted((request.method, request.target) for request in server.requests) == [
        ("PUT", "/lake/a%20b?encryption"),
        ("PUT", "/lake/c?encryption"),
    ]
    assert all(ARN.encode() in request.body for request in server.requests)


@from_newer_botocore
def test_an_object_that_cannot_be_encrypted_anew_is_an_outcome() -> None:
    told = "The UpdateObjectEncryption operation doesn't supported unencrypted source objects."
    with ScriptedServer(lambda _: [error(400, "InvalidRequest", told)]) as server:
        (outcome,) = engine.run(fly(to(server.url), entries(["key"]), UpdateObjectEncryption(ARN)))

    assert (outcome.succeeded, outcome.http_status, outcome.code) == (False, 400, "InvalidRequest")
    assert outcome.message == told


# What prepare looks at


def look(url: str, bucket: str = "lake") -> list[str]:
    """Look at the bucket; return the keys that are in it then."""

    async def looking() -> list[str]:
        async with S3(to(url), limits(retries=0)) as s3:
            try:
                await UpdateObjectEncryption(ARN).look(bucket, s3)
            finally:
                listed = await s3.call("ListObjectsV2", Bucket=bucket)
            return [item["Key"] for item in listed.get("Contents", ())]

    keys: list[str] = engine.run(looking())
    return keys


def a_store_that(says: bytes) -> ScriptedServer:
    listed = answer(200, b"<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>")
    return ScriptedServer(lambda request: [listed if request.method == "GET" else says])


@from_newer_botocore
@pytest.mark.parametrize("says", [error(404, "NoSuchKey"), error(403, "AccessDenied"), error(400, "KMS.NotFound")])
def test_a_store_that_finds_no_such_object_is_taken(says: bytes) -> None:
    with a_store_that(says) as server:
        assert look(server.url) == ["k"]

    (asked, _) = server.requests
    assert (asked.method, asked.query) == ("PUT", "encryption")
    assert asked.path.startswith("/lake/no-object-")


@from_newer_botocore
@pytest.mark.parametrize("says", [error(405, "MethodNotAllowed"), error(501, "NotImplemented")])
def test_a_store_that_does_not_know_it_is_refused(says: bytes) -> None:
    with a_store_that(says) as server, pytest.raises(InvalidInput, match="store of bucket lake doesn't know"):
        look(server.url)

    assert [request.method for request in server.requests] == ["PUT", "GET"]


@from_newer_botocore
@pytest.mark.parametrize("name", SERVERS)
def test_a_store_that_takes_it_for_a_put_is_refused_and_left_as_it_was(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def call(url: str, action: str, **parameters: Any) -> dict[str, Any]:
        async with S3(to(url), limits()) as s3:
            return await s3.call(action, **parameters)

    with SERVERS[name](tmp_path_factory.mktemp("encryption")) as store:
        engine.run(call(store.url, "CreateBucket", Bucket="sealed"))
        with pytest.raises(InvalidInput, match="may overwrite objects by it; copy them onto themselves instead"):
            look(store.url, "sealed")
        assert "Contents" not in engine.run(call(store.url, "ListObjectsV2", Bucket="sealed"))
