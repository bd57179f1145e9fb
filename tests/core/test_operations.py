"""What an operation takes, what it refuses, and how AWS words it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import botocore.session
import botocore.validate
import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.operations import (
    OPERATIONS,
    CopyObject,
    DeleteObjectTagging,
    Grant,
    Operation,
    PutObjectAcl,
    PutObjectTagging,
    RestoreObject,
    operation_from_aws,
)

READERS = "http://acs.amazonaws.com/groups/global/AllUsers"

EVERYTHING = CopyObject(
    "target",
    target_prefix="archive/",
    storage_class="GLACIER_IR",
    metadata={"origin": "lake", "empty": ""},
    cache_control="no-cache",
    content_disposition="attachment",
    content_encoding="gzip",
    content_language="de",
    content_type="text/plain",
    expires="2030-01-01T00:00:00Z",
    tags={"tier": "cold", "läng": "日本"},
    encryption="KMS",
    kms_key_id="arn:aws:kms:eu-west-1:123456789012:key/1234",
    bucket_key_enabled=True,
    lock_mode="GOVERNANCE",
    lock_retain_until=datetime(2030, 1, 1, tzinfo=timezone.utc),
    legal_hold="ON",
    grants=[Grant("READ", uri=READERS), Grant("READ", id="abc"), Grant("FULL_CONTROL", email="a@example.org")],
    checksum_algorithm="SHA256",
    modified_since="2026-01-01T00:00:00Z",
    unmodified_since="2026-06-01T00:00:00Z",
    redirect_location="/elsewhere",
    requester_pays=True,
)

OPERATIONS_IN_AWS = [
    (PutObjectTagging({}), {"S3PutObjectTagging": {"TagSet": []}}),
    (
        PutObjectTagging({"tier": "cold", "b": ""}),
        {"S3PutObjectTagging": {"TagSet": [{"Key": "tier", "Value": "cold"}, {"Key": "b", "Value": ""}]}},
    ),
    (DeleteObjectTagging(), {"S3DeleteObjectTagging": {}}),
    (
        PutObjectAcl("bucket-owner-full-control"),
        {"S3PutObjectAcl": {"AccessControlPolicy": {"CannedAccessControlList": "bucket-owner-full-control"}}},
    ),
    (
        PutObjectAcl(grants=[Grant("READ", uri=READERS), Grant("WRITE_ACP", id="abc")], owner="me"),
        {
            "S3PutObjectAcl": {
                "AccessControlPolicy": {
                    "AccessControlList": {
                        "Owner": {"ID": "me"},
                        "Grants": [
                            {"Grantee": {"TypeIdentifier": "uri", "Identifier": READERS}, "Permission": "READ"},
                            {"Grantee": {"TypeIdentifier": "id", "Identifier": "abc"}, "Permission": "WRITE_ACP"},
                        ],
                    }
                }
            }
        },
    ),
    (RestoreObject(), {"S3InitiateRestoreObject": {"GlacierJobTier": "BULK"}}),
    (
        RestoreObject(7, tier="STANDARD"),
        {"S3InitiateRestoreObject": {"ExpirationInDays": 7, "GlacierJobTier": "STANDARD"}},
    ),
    (CopyObject("target"), {"S3PutObjectCopy": {"TargetResource": "arn:aws:s3:::target"}}),
    (
        CopyObject("target", metadata={}, tags={}),
        {
            "S3PutObjectCopy": {
                "TargetResource": "arn:aws:s3:::target",
                "MetadataDirective": "REPLACE",
                "NewObjectMetadata": {"UserMetadata": {}},
                "NewObjectTagging": [],
            }
        },
    ),
    (
        CopyObject("target", annotations="EXCLUDE", event_hold="ON", event_hold_years=3),
        {
            "S3PutObjectCopy": {
                "TargetResource": "arn:aws:s3:::target",
                "AnnotationDirective": "EXCLUDE",
                "ObjectLockEventHold": "ON",
                "ObjectLockEventHoldDuration": {"Years": 3},
            }
        },
    ),
    (
        CopyObject("target", encryption="AES256"),
        {
            "S3PutObjectCopy": {
                "TargetResource": "arn:aws:s3:::target",
                "NewObjectMetadata": {"SSEAlgorithm": "AES256"},
            }
        },
    ),
    (
        EVERYTHING,
        {
            "S3PutObjectCopy": {
                "TargetResource": "arn:aws:s3:::target",
                "TargetKeyPrefix": "archive/",
                "StorageClass": "GLACIER_IR",
                "MetadataDirective": "REPLACE",
                "NewObjectMetadata": {
                    "UserMetadata": {"origin": "lake", "empty": ""},
                    "CacheControl": "no-cache",
                    "ContentDisposition": "attachment",
                    "ContentEncoding": "gzip",
                    "ContentLanguage": "de",
                    "ContentType": "text/plain",
                    "HttpExpiresDate": "2030-01-01T00:00:00Z",
                    "SSEAlgorithm": "KMS",
                },
                "NewObjectTagging": [{"Key": "tier", "Value": "cold"}, {"Key": "läng", "Value": "日本"}],
                "SSEAwsKmsKeyId": "arn:aws:kms:eu-west-1:123456789012:key/1234",
                "BucketKeyEnabled": True,
                "ObjectLockMode": "GOVERNANCE",
                "ObjectLockRetainUntilDate": "2030-01-01T00:00:00Z",
                "ObjectLockLegalHoldStatus": "ON",
                "AccessControlGrants": [
                    {"Grantee": {"TypeIdentifier": "uri", "Identifier": READERS}, "Permission": "READ"},
                    {"Grantee": {"TypeIdentifier": "id", "Identifier": "abc"}, "Permission": "READ"},
                    {
                        "Grantee": {"TypeIdentifier": "emailAddress", "Identifier": "a@example.org"},
                        "Permission": "FULL_CONTROL",
                    },
                ],
                "ChecksumAlgorithm": "SHA256",
                "ModifiedSinceConstraint": "2026-01-01T00:00:00Z",
                "UnModifiedSinceConstraint": "2026-06-01T00:00:00Z",
                "RedirectLocation": "/elsewhere",
                "RequesterPays": True,
            }
        },
    ),
]


@pytest.mark.parametrize(("operation", "aws"), OPERATIONS_IN_AWS)
def test_an_operation_is_told_in_awss_words(operation: Operation, aws: dict[str, Any]) -> None:
    assert operation.to_aws() == aws


@pytest.mark.parametrize(("operation", "aws"), OPERATIONS_IN_AWS)
def test_an_operation_is_read_back_from_awss_words(operation: Operation, aws: dict[str, Any]) -> None:
    assert operation_from_aws(json.loads(json.dumps(aws))) == operation


JOB_OPERATION = botocore.session.Session().get_service_model("s3control").shape_for("JobOperation")
from_newer_botocore = pytest.mark.skipif(
    "S3UpdateObjectEncryption" not in JOB_OPERATION.members,  # type: ignore[attr-defined]
    reason="this botocore doesn't know the newest members of AWS's JobOperation yet",
)


@from_newer_botocore
@pytest.mark.parametrize("operation", [operation for operation, _ in OPERATIONS_IN_AWS])
def test_what_an_operation_tells_is_a_job_operation_of_awss_model(operation: Operation) -> None:
    assert botocore.validate.ParamValidator().validate(operation.to_aws(), JOB_OPERATION).generate_report() == ""


def acl_of(grant: dict[str, Any]) -> dict[str, Any]:
    return {"S3PutObjectAcl": {"AccessControlPolicy": {"AccessControlList": {"Grants": [grant]}}}}


def copy_of(**arguments: Any) -> dict[str, Any]:
    return {"S3PutObjectCopy": {"TargetResource": "arn:aws:s3:::target", **arguments}}


# What AWS's batch operations don't have.
OURS = {"DeleteObjects", "MergeObjectTags", "MoveObject", "PythonFunction", "UndeleteObject", "VerifyObject"}


@from_newer_botocore
def test_the_table_names_members_of_awss_model() -> None:
    # Other tests of the same process may have defined operations of their own.
    table = {name: it for name, it in OPERATIONS.items() if it.__module__.startswith("airflow_s3batch.")}
    awss = {name for name, operation in table.items() if operation.__name__ not in OURS}
    assert awss <= set(JOB_OPERATION.members)  # type: ignore[attr-defined]
    assert all(operation.aws_name == name for name, operation in table.items())


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        (None, "an operation is one member of "),
        ({}, "an operation is one member of"),
        ({"S3PutObjectTagging": {}, "S3DeleteObjectTagging": {}}, "an operation is one member of"),
        ({"S3Explode": {}}, "'S3Explode' is not an operation; known are "),
        ({"S3CopyObject": {}}, "'S3CopyObject' is not an operation; did you mean S3PutObjectCopy?"),
        ({"CopyObject": {}}, "'CopyObject' is not an operation; did you mean S3PutObjectCopy?"),
        ({"S3PutObjetTagging": {}}, "'S3PutObjetTagging' is not an operation; did you mean S3PutObjectTagging?"),
        ({"S3ReplicateObject": {}}, "only Amazon's managed service can"),
        ({"S3DeleteObjectTagging": {"Color": 1}}, "DeleteObjectTagging: unknown Color"),
        ({"S3PutObjectTagging": ["a"]}, "is no JSON object of parameters"),
        ({"S3PutObjectTagging": {"TagSet": {"a": "b"}}}, "write tags as"),
        ({"S3PutObjectTagging": {"TagSet": None}}, "write tags as"),
        ({"S3PutObjectTagging": {"TagSet": [{"Key": "a", "Value": "b"}] * 2}}, "a tag key occurs twice"),
        (acl_of({}), "Grant: needs Permission"),
        (
            acl_of({"Permission": "READ", "Grantee": {"TypeIdentifier": "name", "Identifier": "x"}}),
            "Grantee.TypeIdentifier",
        ),
        ({"S3PutObjectAcl": {}}, "either a canned ACL or grants"),
        ({"S3PutObjectCopy": {}}, "target_bucket"),
        (
            copy_of(MetadataDirective="COPY", NewObjectMetadata={"ContentType": "a"}),
            "MetadataDirective COPY takes no NewObjectMetadata",
        ),
        (copy_of(NewObjectMetadata={"ContentMD5": "a"}), "unknown ContentMD5"),
        (copy_of(MetadataDirective="KEEP"), "MetadataDirective 'KEEP' is neither COPY nor REPLACE"),
    ],
)
def test_what_is_no_operation_of_ours_is_refused(operation: Any, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        operation_from_aws(operation)


@pytest.mark.parametrize(
    ("tags", "wrong"),
    [
        ({str(number): "" for number in range(11)}, "tags: 11 tags; S3 allows 10 an object"),
        ({"": "x"}, "tag key '' has 0 characters; S3 takes 1 to 128"),
        ({"k" * 129: "x"}, "has 129 characters; S3 takes 1 to 128"),
        ({"k": "x" * 257}, "the value of tag 'k' has 257 characters; S3 takes 256"),
        ({"AWS:k": "x"}, "the prefix aws: is reserved"),
        ({"k": "a&b"}, "tag 'k': 'a&b' has characters besides"),
        ({"k": "a\nb"}, r"has characters besides"),
        ({"k": "a\x85b"}, r"has characters besides"),
        ({"k!": "a"}, "has characters besides"),
        ({"k": 1}, r"tags\.k: Input should be a valid string"),
        ("k=v", "tags: Input should be a valid dictionary"),
    ],
)
@pytest.mark.parametrize("build", [PutObjectTagging, lambda tags: CopyObject("target", tags=tags)])
def test_tags_that_s3_refuses_are_refused(build: Any, tags: Any, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        build(tags)


@pytest.mark.parametrize(
    "tags",
    [
        {"a b": "x_.:/=+-@"},
        {"ключ": "值 ١٢"},
        {"k" * 128: "v" * 256},
        {str(n): "" for n in range(10)},
        {"a\u00a0b": "\u3000"},
    ],
)
def test_tags_that_s3_takes_are_taken(tags: dict[str, str]) -> None:
    assert PutObjectTagging(tags).tags == tags


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, "give either a canned ACL or grants"),
        ({"canned": "private", "grants": [Grant("READ", id="a")], "owner": "me"}, "give either a canned ACL or grants"),
        ({"canned": "mine"}, "'mine' is none of private, public-read"),
        ({"canned": "private", "owner": "me"}, "grants need the owner's canonical user id, and only they do"),
        ({"grants": [Grant("READ", id="a")]}, "grants need the owner's canonical user id"),
    ],
)
def test_an_acl_that_s3_refuses_is_refused(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"PutObjectAcl: .*{wrong}"):
        PutObjectAcl(**arguments)


@pytest.mark.parametrize(
    ("permission", "grantee", "wrong"),
    [
        ("READ", {}, "by one of id, email and uri"),
        ("READ", {"id": "a", "email": "b"}, "by one of id, email and uri"),
        ("LOOK", {"id": "a"}, "'LOOK' is none of FULL_CONTROL, READ"),
        ("READ", {"id": 'a", uri="b'}, "grantee"),
        ("READ", {"id": "x" * 1025}, "grantee"),
    ],
)
def test_a_grant_that_s3_refuses_is_refused(permission: str, grantee: dict[str, str], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"Grant: .*{wrong}"):
        Grant(permission, **grantee)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"days": 0}, "0 days; S3 takes 1 or more"),
        ({"days": 2**31}, "days; S3 takes 1 or more"),
        ({"days": "soon"}, "'soon' is not a whole number"),
        ({"tier": "EXPEDITED"}, "'EXPEDITED' is none of BULK, STANDARD"),
    ],
)
def test_a_restore_that_s3_refuses_is_refused(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"RestoreObject: .*{wrong}"):
        RestoreObject(**arguments)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({"target_bucket": "t!"}, "is not a bucket name"),
        ({"target_bucket": "s3://target/new"}, "write the name alone, without s3:// and slashes"),
        ({"target_bucket": "arn:aws:s3:::target/prefix"}, "is not a bucket name"),
        ({"target_bucket": "arn:aws-cn:s3:::target/prefix"}, "names an object; name its bucket, and use target_prefix"),
        ({"target_bucket": "arn:aws:sqs:::target"}, "is not an S3 ARN"),
        ({"target_prefix": "x" * 1025}, "target_prefix"),
        ({"storage_class": "REDUCED_REDUNDANCY"}, "storage_class: 'REDUCED_REDUNDANCY' is none of STANDARD"),
        ({"metadata": {"a b": "x"}}, "metadata: 'a b' is no name of user metadata"),
        ({"metadata": {"a": "ü"}}, "metadata: .*is not printable ASCII"),
        ({"metadata": {"a": "x\r\nx-amz-acl: public-read"}}, "metadata: .*is not printable ASCII"),
        ({"metadata": {"A": "1", "a": "2"}}, "metadata: two names differ in upper and lower case only"),
        ({"target_prefix": "\ud800"}, "target_prefix: .*half a character"),
        ({"metadata": {"a": "x" * 2048}}, "metadata: 2049 bytes of names and values; S3 takes 2048"),
        ({"content_disposition": "naïve"}, "content_disposition: .*is not printable ASCII"),
        ({"cache_control": ""}, "cache_control"),
        ({"cache_control": "x" * 1025}, "cache_control"),
        ({"expires": "2030-01-01"}, "expires: .*has no time zone"),
        ({"encryption": "SSE-C"}, "encryption: 'SSE-C' is none of AES256, KMS"),
        ({"encryption": "AES256", "kms_key_id": "k"}, "go with encryption='KMS', not AES256"),
        ({"encryption": "AES256", "bucket_key_enabled": True}, "go with encryption='KMS', not AES256"),
        ({"kms_key_id": "k"}, "kms_key_id needs encryption='KMS'"),
        ({"lock_mode": "GOVERNANCE"}, "lock_mode and lock_retain_until go together"),
        ({"lock_retain_until": "2030-01-01T00:00:00Z"}, "lock_mode and lock_retain_until go together"),
        ({"lock_mode": "NONE", "lock_retain_until": "2030-01-01T00:00:00Z"}, "'NONE' is none of"),
        ({"legal_hold": True}, "legal_hold"),
        ({"canned_acl": "private", "grants": [Grant("READ", id="a")]}, "give one of canned_acl, grants and keep_acl"),
        ({"grants": [Grant("WRITE", id="a")]}, "WRITE is no permission on an object"),
        ({"annotations": "KEEP"}, "annotations: 'KEEP' is none of COPY, EXCLUDE"),
        ({"event_hold_days": 36_501}, "event_hold_days: 36501 is not between 1 and 36,500"),
        ({"event_hold_years": 0}, "event_hold_years: 0 is not between 1 and 100"),
        ({"event_hold_days": 1, "event_hold_years": 1}, "event_hold_days or event_hold_years, not both"),
        ({"checksum_algorithm": "ADLER32"}, "'ADLER32' is none of CRC32"),
        ({"modified_since": "yesterday"}, "modified_since: 'yesterday' is not a date and time"),
        ({"redirect_location": "elsewhere"}, "begins with none of /, http:// and https://"),
        ({"requester_pays": "perhaps"}, "requester_pays: 'perhaps' is neither True nor False"),
    ],
)
def test_a_copy_that_s3_refuses_is_refused(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"CopyObject: .*{wrong}"):
        CopyObject(**{"target_bucket": "target", **arguments})


@pytest.mark.parametrize("target", ["target", "arn:aws:s3:::target", "arn:aws-us-gov:s3:::target"])
def test_a_copys_target_may_be_a_name_or_an_arn(target: str) -> None:
    assert CopyObject(target).request("source", "k", None)[1]["Bucket"] == "target"


def test_a_copys_target_may_be_an_access_point() -> None:
    point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/point"

    assert CopyObject(point).request("source", "k", None)[1]["Bucket"] == point
    assert operation_from_aws(CopyObject(point).to_aws()) == CopyObject(point)


@pytest.mark.parametrize(
    "target",
    [
        "arn:foo:accesspoint",
        "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/point",
        "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1:accesspoint/point",
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/point/object/k",
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/",
        "arn:aws:s3:eu-west-1::accesspoint/point",
    ],
)
def test_target_that_is_no_buckets_or_access_points_arn_is_refused(target: str) -> None:
    with pytest.raises(InvalidInput, match="target_bucket"):
        CopyObject(target)


def test_replacing_metadata_by_none_is_read_from_awss_words() -> None:
    arguments = {"TargetResource": "arn:aws:s3:::target", "MetadataDirective": "REPLACE"}

    assert operation_from_aws({"S3PutObjectCopy": arguments}) == CopyObject("target", metadata={})


def test_templates_are_kept_and_checked_once_rendered() -> None:
    written = CopyObject(
        "{{ var.value.bucket }}",
        storage_class="{{ params.storage_class }}",
        tags={"day": "{{ ds }}"},
        bucket_key_enabled="{{ params.bucket_key }}",
        encryption="KMS",
        modified_since="{{ data_interval_start }}",
    )
    rendered = json.dumps(written.to_aws())
    for template, text in {
        "{{ var.value.bucket }}": "target",
        "{{ params.storage_class }}": "GLACIER",
        "{{ ds }}": "2026-11-24",
        "{{ params.bucket_key }}": "True",
        "{{ data_interval_start }}": "2026-11-23 00:00:00+00:00",
    }.items():
        rendered = rendered.replace(template, text)

    assert operation_from_aws(json.loads(rendered)) == CopyObject(
        "target",
        storage_class="GLACIER",
        tags={"day": "2026-11-24"},
        bucket_key_enabled=True,
        encryption="KMS",
        modified_since="2026-11-23T00:00:00Z",
    )


def test_a_grantee_may_be_a_template_with_quotes_in_it() -> None:
    assert Grant("READ", id='{{ var.value["reader"] }}').grantee == '{{ var.value["reader"] }}'


def test_a_rendered_number_of_days_is_a_number() -> None:
    written = RestoreObject("{{ params.days }}").to_aws()

    assert written == {"S3InitiateRestoreObject": {"ExpirationInDays": "{{ params.days }}", "GlacierJobTier": "BULK"}}
    assert operation_from_aws({"S3InitiateRestoreObject": {"ExpirationInDays": "7"}}) == RestoreObject(7)
