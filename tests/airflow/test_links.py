from __future__ import annotations

import pytest

from airflow_s3batch import CompletionReport, S3BatchReportOperator
from airflow_s3batch.links import S3BatchReportLink, report_url

REPORT = "s3://lake/reports/2026/job-1/manifest.json"


@pytest.mark.parametrize(
    ("region", "endpoint_url", "expected"),
    [
        (
            "eu-west-1",
            None,
            "https://console.aws.amazon.com/s3/buckets/lake?region=eu-west-1&prefix=reports/2026/job-1/",
        ),
        ("eu-west-1", "https://s3.eu-west-1.amazonaws.com", "https://console.aws.amazon.com/s3/buckets/lake?"),
        ("cn-north-1", None, "https://console.amazonaws.cn/s3/buckets/lake?region=cn-north-1"),
        ("us-gov-west-1", None, "https://console.amazonaws-us-gov.com/s3/buckets/lake?"),
        ("us-east-1", "http://127.0.0.1:9000", "http://127.0.0.1:9000/lake/reports/2026/job-1/manifest.json"),
        ("us-east-1", "https://store/s3/", "https://store/s3/lake/reports/2026/job-1/manifest.json"),
        ("us-east-1", "https://me:secret@store:8443", "https://store:8443/lake/reports/2026/job-1/manifest.json"),
    ],
)
def test_report_is_found_where_its_s3_shows_it(region: str, endpoint_url: str | None, expected: str) -> None:
    assert report_url(REPORT, region=region, endpoint_url=endpoint_url).startswith(expected)


def test_awkward_prefix_is_quoted() -> None:
    report = "s3://lake/a b&c/job-1/manifest.json"

    assert (
        report_url(report, region="us-east-1", endpoint_url="http://s3")
        == "http://s3/lake/a%20b%26c/job-1/manifest.json"
    )
    assert report_url(report, region="us-east-1", endpoint_url=None).endswith("prefix=a+b%26c/job-1/")


def test_task_that_came_to_no_report_has_no_link() -> None:
    task = S3BatchReportOperator(
        task_id="report", job={"job_id": "1", "report": CompletionReport("s3://lake").to_aws()}
    )

    assert S3BatchReportLink().get_link(task, ti_key=None) == ""
