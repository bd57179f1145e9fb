"""JSON in AWS's words that is odd: it is refused by name, before anything runs, and never means less than it says."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.job import CompletionReport
from airflow_s3batch.core.manifest import manifest_from_aws
from airflow_s3batch.core.operations import PutObjectAcl, PutObjectTagging, operation_from_aws

TARGET = {"TargetResource": "arn:aws:s3:::archive"}
INVENTORY = {"Format": "S3InventoryReport_CSV_20161130"}
MANIFEST = {"ObjectArn": "arn:aws:s3:::lake/x/manifest.json", "ETag": "e"}


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ({"S3PutObjectTagging": {}}, "TagSet is missing"),
        ({"S3PutObjectTagging": None}, "None is no JSON object"),
        ({"S3PutObjectTagging": []}, "is no JSON object"),
        ({"S3DeleteObjectTagging": ""}, "is no JSON object"),
        ({"S3PutObjectTagging": {"TagSet": None}}, "write tags as"),
        ({"S3PutObjectTagging": {"TagSet": ""}}, "write tags as"),
        ({"S3PutObjectTagging": {"TagSet": [{"Key": [], "Value": ""}]}}, "write tags as"),
        ({"S3PutObjectAcl": {"AccessControlPolicy": "x"}}, "no JSON object"),
        ({"S3PutObjectAcl": {"AccessControlPolicy": {"AccessControlList": "x"}}}, "no JSON object"),
        ({"S3PutObjectCopy": {"TargetResource": 1}}, "target_bucket: .* valid string"),
        ({"S3PutObjectTagging": {"TagSet": [], 1: 2, "x": 3}}, "S3PutObjectTagging: it isn't what CreateJob takes"),
        ({"S3PutObjectCopy": {**TARGET, "MetadataDirective": "BOGUS"}}, "MetadataDirective 'BOGUS'"),
        ({"S3PutObjectCopy": {**TARGET, "NewObjectMetadata": "x"}}, "no JSON object"),
        ({"LambdaInvoke": {"FunctionArn": "f", "UserArguments": "x"}}, "user_arguments: Input .* valid dictionary"),
        ({"LambdaInvoke": {"FunctionArn": "f", "UserArguments": {"a": 1}}}, "user_arguments"),
    ],
)
def test_odd_operation_is_refused(operation: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        operation_from_aws(operation)


def test_no_tags_take_all_tags_off_only_where_it_says_so() -> None:
    assert operation_from_aws({"S3PutObjectTagging": {"TagSet": []}}) == PutObjectTagging({})


def test_acl_without_grants_leaves_nobody_but_the_owner() -> None:
    policy = {"AccessControlPolicy": {"AccessControlList": {"Owner": {"ID": "me"}}}}

    operation = operation_from_aws({"S3PutObjectAcl": policy})

    assert operation == PutObjectAcl(owner="me") == operation_from_aws(operation.to_aws())
    _, parameters = PutObjectAcl(owner="me").request("lake", "a", None)
    assert parameters["AccessControlPolicy"] == {"Owner": {"ID": "me"}, "Grants": []}


@pytest.mark.parametrize(
    ("manifest", "wrong"),
    [
        ({"Spec": {"Format": []}}, r"manifest format \[\] is unknown"),
        ({"Spec": {"Format": "S3BatchOperations_CSV_20180820"}, "Location": "x"}, "no JSON object"),
        ({"Spec": INVENTORY, "Location": {**MANIFEST, "FileETags": 5}}, "it isn't what CreateJob takes"),
        ({"S3JobManifestGenerator": []}, "no JSON object"),
        (
            {"S3JobManifestGenerator": {"SourceBucket": "arn:aws:s3:::lake", "ManifestOutputLocation": "x"}},
            "output: Input should be a valid dictionary",
        ),
        ({"S3FailedObjects": {"Report": "s3://lake/r", "Codes": 5}}, "FailedObjects: .*5"),
        ({"S3Objects": {"Objects": [5]}}, "Objects: .*5"),
    ],
)
def test_odd_manifest_is_refused(manifest: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        manifest_from_aws(manifest)


@pytest.mark.parametrize(
    ("report", "wrong"),
    [
        ({"Bucket": "arn:aws:s3:::lake/reports"}, "names more than a bucket; say 'reports' as Prefix"),
        ({"Bucket": "arn:aws:s3:::lake", "Prefix": None}, "Prefix None is no text"),
        ({"Bucket": "arn:aws:s3:::lake", "Prefix": 5}, "Prefix 5 is no text"),
        ({"Bucket": "arn:aws:s3:::lake", "Format": "Report_CSV_20990101"}, "it is Report_CSV_20180820"),
        ({"Bucket": 1}, "it isn't what CreateJob takes"),
        ({"Bucket": "arn:aws:s3:::lake", "ReportScope": "x"}, "scope"),
    ],
)
def test_odd_report_is_refused(report: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=f"CompletionReport: .*{wrong}"):
        CompletionReport.from_aws({"Enabled": True, **report})
