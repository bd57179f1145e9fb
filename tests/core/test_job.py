"""A job, and its JSON in CreateJob's words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import botocore.session
import botocore.validate
import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.job import CompletionReport, Job, JobSpec, JobStatus
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.manifest import CsvManifest, Objects, ParquetManifest
from airflow_s3batch.core.operations import CopyObject, PutObjectTagging
from airflow_s3batch.core.partition import Partition
from airflow_s3batch.core.rendering import rendered


def spec(**fields: Any) -> JobSpec:
    return JobSpec(
        **{
            "manifest": CsvManifest("s3://lake/m.csv", etag="abc"),
            "operation": PutObjectTagging({"tier": "cold"}),
            "report": CompletionReport("s3://lake/reports"),
            **fields,
        }
    )


def test_the_spec_is_what_create_job_takes() -> None:
    asked = spec(description="Tag what is cold").to_aws()
    del asked["Limits"], asked["FailureThreshold"]  # ours
    asked |= {"AccountId": "1", "Priority": 1, "RoleArn": "arn:aws:iam::1:role/x", "ClientRequestToken": "x"}
    shape = botocore.session.Session().get_service_model("s3control").shape_for("CreateJobRequest")

    assert botocore.validate.ParamValidator().validate(asked, shape).generate_report() == ""


def test_the_spec_is_read_back_from_its_json() -> None:
    asked = spec(limits=Limits(in_flight=7, read_timeout=1.5), description="x")

    assert JobSpec.from_aws(json.loads(json.dumps(asked.to_aws()))) == asked


def test_a_spec_with_a_template_in_it_is_refused_where_it_has_to_be_rendered() -> None:
    manifest = CsvManifest("s3://lake/{{ ds }}.csv")
    told = {**spec().to_aws(), "Manifest": manifest.to_aws()}

    wrong = r"Manifest\.Location\.ObjectArn holds a template that was never rendered"
    with pytest.raises(InvalidInput, match=wrong):
        spec(manifest=manifest)
    with pytest.raises(InvalidInput, match=wrong):
        JobSpec.from_aws(told)


@pytest.mark.parametrize("name", ["Manifest", "Operation", "Report"])
def test_a_spec_without_a_part_is_refused(name: str) -> None:
    asked = spec().to_aws()
    del asked[name]

    with pytest.raises(InvalidInput, match=f"a job needs {name}"):
        JobSpec.from_aws(asked)


def test_a_description_is_as_long_as_aws_takes() -> None:
    with pytest.raises(InvalidInput, match="description"):
        spec(description="x" * 257)


@pytest.mark.parametrize(
    "asked",
    [
        lambda: Objects(["s3://data/\ud800"]),
        lambda: CopyObject("data", target_prefix="\ud800"),
        lambda: spec(description="\ud800"),
    ],
)
def test_text_that_no_file_can_hold_is_refused(asked: Callable[[], Any]) -> None:
    with pytest.raises(InvalidInput, match="half a character"):
        asked()


def test_the_same_owner_asking_for_the_same_gets_the_same_job_id() -> None:
    assert spec().job_id("dag", "run", "group") == spec().job_id("dag", "run", "group")
    # Kept for ever: a job's folder is found again by it.
    assert spec().job_id("dag", "run", "group") == "feeb3f92-b7b0-5010-a068-6926a4392d25"


@pytest.mark.parametrize(
    "other",
    [
        {"manifest": CsvManifest("s3://lake/m.csv", etag="abd")},
        {"manifest": CsvManifest("s3://lake/n.csv", etag="abc")},
        {"operation": PutObjectTagging({"tier": "hot"})},
        {"operation": CopyObject("target")},
        {"report": CompletionReport("s3://lake/other")},
        {"report": CompletionReport("s3://lake/reports", scope="FailedTasksOnly")},
    ],
)
def test_another_manifest_operation_or_report_is_another_job(other: dict[str, Any]) -> None:
    assert spec(**other).job_id("dag") != spec().job_id("dag")


def test_another_owner_is_another_job() -> None:
    assert spec().job_id("a", "bc") != spec().job_id("ab", "c")


def test_limits_and_description_do_not_make_another_job() -> None:
    assert spec(limits=Limits(in_flight=1), description="x").job_id("dag") == spec().job_id("dag")


@pytest.mark.parametrize(
    ("location", "bucket", "prefix"),
    [("s3://lake", "arn:aws:s3:::lake", None), ("s3://lake/a/b/", "arn:aws:s3:::lake", "a/b")],
)
def test_a_report_is_told_in_awss_words(location: str, bucket: str, prefix: str | None) -> None:
    report = CompletionReport(location, scope="FailedTasksOnly")
    told = report.to_aws()

    assert told["Bucket"] == bucket
    assert told.get("Prefix") == prefix
    assert CompletionReport.from_aws(told).place == report.place
    assert CompletionReport.from_aws(told).scope == "FailedTasksOnly"


def test_the_account_that_has_to_own_the_reports_bucket_is_told_in_awss_words() -> None:
    report = CompletionReport("s3://lake/a", bucket_owner="012345678901")
    told = report.to_aws()

    assert told["ExpectedBucketOwner"] == "012345678901"
    assert CompletionReport.from_aws(json.loads(json.dumps(told))) == report
    assert report.place.in_bucket == {"Bucket": "lake", "ExpectedBucketOwner": "012345678901"}
    assert "ExpectedBucketOwner" not in CompletionReport("s3://lake/a").to_aws()


def test_an_account_has_twelve_digits_once_it_is_rendered() -> None:
    told = CompletionReport("s3://lake/a", bucket_owner="{{ var.value.account }}").to_aws()

    with pytest.raises(InvalidInput, match="'me' is not an AWS account; write its 12 digits"):
        CompletionReport.from_aws({**told, "ExpectedBucketOwner": "me"})


def test_a_reports_templated_location_is_checked_once_rendered() -> None:
    told = CompletionReport("{{ var.value.reports }}").to_aws()

    assert CompletionReport.from_aws({**told, "Bucket": "s3://lake/r"}) == CompletionReport("s3://lake/r")
    with pytest.raises(InvalidInput, match="'nowhere' is not an S3 URI"):
        CompletionReport.from_aws({**told, "Bucket": "nowhere"})


@pytest.mark.parametrize(
    ("report", "wrong"),
    [
        ({"Enabled": False}, "Enabled has to be true"),
        ({"Bucket": "arn:aws:s3:::lake", "Color": 1}, "unknown Color"),
        ({"Bucket": "arn:aws:s3:::lake", "ReportScope": "Some"}, "scope"),
        ({}, "is not an S3 URI"),
    ],
)
def test_a_wrong_report_is_refused(report: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        CompletionReport.from_aws(report)


def test_a_reports_prefix_is_as_long_as_aws_takes() -> None:
    CompletionReport(f"s3://lake/{'x' * 512}/")
    with pytest.raises(InvalidInput, match="513 characters; AWS allows 512"):
        CompletionReport(f"s3://lake/{'x' * 513}")


def test_a_job_is_read_back_from_its_json() -> None:
    job = Job(
        job_id="id",
        spec=spec(),
        total=5,
        partitions=(Partition(0, 1, 3, 0, 30), Partition(1, 4, 2, 30, 50)),
        created="2026-11-24T17:00:00Z",
    )

    assert Job.from_aws(json.loads(json.dumps(job.to_aws()))) == job


def test_name_that_looks_like_a_template_is_a_name_once_prepare_has_found_it() -> None:
    found = ParquetManifest("s3://lake/exports/*.parquet", files=[("exports/{{ ds }}.parquet", "abc")])
    with rendered():
        job = Job(job_id="id", spec=spec(manifest=found), total=1, partitions=(), created="2026-11-24T17:00:00Z")

    assert Job.from_aws(json.loads(json.dumps(job.to_aws()))) == job


@pytest.mark.parametrize("broken", [{}, {"JobId": "id"}, None])
def test_what_is_no_prepared_job_is_refused(broken: Any) -> None:
    with pytest.raises(InvalidInput, match="not a prepared job"):
        Job.from_aws(broken)


def test_a_job_has_ended_in_three_statuses() -> None:
    assert [status.value for status in JobStatus if status.ended] == ["Complete", "Cancelled", "Failed"]


def test_statuses_are_awss() -> None:
    model = botocore.session.Session().get_service_model("s3control")

    assert {status.value for status in JobStatus} == set(model.shape_for("JobStatus").enum)  # type: ignore[attr-defined]
