"""`S3BatchReportLink`: from a task in Airflow's UI to the job's completion report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink

from airflow_s3batch.core.location import S3Location, is_amazons

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

__all__ = ["S3BatchReportLink", "report_url"]

_CONSOLES = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}


def report_url(report_uri: str, *, region: str, endpoint_url: str | None) -> str:
    """Where a browser finds a report: its folder in Amazon's console, or on another S3 the object itself.

    Args:
        report_uri: ``s3://bucket/prefix/job-<id>/manifest.json``.
        region: the bucket's, as far as known.
        endpoint_url: as the connection has it; user name and password in it are left out.
    """
    bucket, key, _ = S3Location.parse(report_uri)
    if is_amazons(endpoint_url):
        console = next(
            (name for start, name in _CONSOLES.items() if region.startswith(start)), "console.aws.amazon.com"
        )
        prefix = key.rpartition("/")[0] + "/"
        return f"https://{console}/s3/buckets/{bucket}?{urlencode({'region': region, 'prefix': prefix}, safe='/')}"
    endpoint = urlsplit(endpoint_url or "")
    place = endpoint.netloc.rpartition("@")[2]
    return f"{endpoint.scheme}://{place}{endpoint.path.rstrip('/')}/{bucket}/{quote(key)}"


class S3BatchReportLink(BaseOperatorLink):
    """The button "Completion report" on a task's page, once the task has seen that there is a report.

    Airflow asks for it on the worker when the task ends, keeps the answer as an XCom, and shows no button for an empty
    one.
    """

    name = "Completion report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - as Airflow asks
        """The link that the operator found; empty if it came to none."""
        return str(getattr(operator, "report_link", ""))
