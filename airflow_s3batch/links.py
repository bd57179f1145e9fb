"""`S3BatchReportLink`: from a task in Airflow's UI to the job's completion report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.execution_time.xcom import XCom

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
    """The button "Completion report" on a task's page.

    Airflow asks for it on the worker when the task ends, and keeps the answer as an XCom; the operators store it there
    as soon as they know it, so that the button works while the job runs. One that was deferred reads it there again.
    """

    name = "Completion report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002 - as Airflow asks
        """The link that the operator found, now or before it was deferred; empty if it came to none."""
        return str(getattr(operator, "report_link", ""))

    def stored(self, ti_key: Any) -> str:
        """The link as an earlier part of the task, before it was deferred, has stored it."""
        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")
