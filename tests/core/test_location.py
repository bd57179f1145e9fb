"""A place in S3, read from what people write."""

from __future__ import annotations

import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.location import S3Location, check_bucket, is_bucket
from airflow_s3batch.core.rendering import is_template


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        ("s3://lake/a/b.csv", "lake", "a/b.csv"),
        ("s3a://lake/a", "lake", "a"),
        ("s3n://lake/a", "lake", "a"),
        ("s3://lake", "lake", ""),
        ("s3://lake/", "lake", ""),
        ("s3://lake//a", "lake", "/a"),
        ("s3://lake/a b%20?#", "lake", "a b%20?#"),
        ("s3://Old_Bucket.Name/a", "Old_Bucket.Name", "a"),
        ("s3://my-point-ex4mple-s3alias/a", "my-point-ex4mple-s3alias", "a"),
    ],
)
def test_a_uri_names_bucket_and_key(uri: str, bucket: str, key: str) -> None:
    assert S3Location.parse(uri) == S3Location(bucket, key)


@pytest.mark.parametrize(
    "uri", ["", "lake/a", "/lake/a", "http://lake/a", "S3://lake/a", "s3:/lake/a", "s3://", "s3:///a", "s3://b/a"]
)
def test_what_is_no_s3_uri_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not an S3 URI; write s3://bucket/key|is not a bucket name"):
        S3Location.parse(uri)


@pytest.mark.parametrize(
    ("arn", "bucket", "key"),
    [
        ("arn:aws:s3:::lake", "lake", ""),
        ("arn:aws:s3:::lake/a/b:c", "lake", "a/b:c"),
        ("arn:aws-cn:s3:::lake/a", "lake", "a"),
    ],
)
def test_an_arn_names_bucket_and_key(arn: str, bucket: str, key: str) -> None:
    assert S3Location.from_arn(arn) == S3Location(bucket, key)


@pytest.mark.parametrize("arn", ["", "arn:aws:s3:::", "arn:aws:sqs:::lake", "s3://lake/a", "arn:aws:s3:::b"])
def test_what_is_no_s3_arn_is_refused(arn: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not an S3 ARN; write arn:aws:s3:::bucket/key|is not a bucket name"):
        S3Location.from_arn(arn)


def test_an_access_points_arn_is_not_taken_for_a_bucket() -> None:
    with pytest.raises(InvalidInput, match="name the bucket, or the access point's alias"):
        S3Location.from_arn("arn:aws:s3:eu-west-1:123456789012:accesspoint/point/object/a")


def test_uri_and_arn_are_read_back() -> None:
    place = S3Location("lake", "a b/ü")

    assert S3Location.parse(place.uri) == place
    assert S3Location.from_arn(place.arn) == place
    assert S3Location("lake", "").arn == "arn:aws:s3:::lake"


@pytest.mark.parametrize("name", ["", "ab", "-lake", "la ke", "la/ke", "lake\n", "ü-lake", "x" * 256])
def test_what_can_be_no_bucket_is_refused(name: str) -> None:
    assert not is_bucket(name)
    with pytest.raises(InvalidInput, match="is not a bucket name"):
        check_bucket(name)


@pytest.mark.parametrize("text", ["{{ ds }}", "s3://lake/{{ ds }}.csv", "{% if x %}a{% endif %}"])
def test_text_with_an_expression_is_a_template(text: str) -> None:
    assert is_template(text)


@pytest.mark.parametrize("text", ["", "plain", "{ds}", "}} {"])
def test_other_text_is_no_template(text: str) -> None:
    assert not is_template(text)
