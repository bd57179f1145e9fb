"""### Look at every report that is written

Each job that reports to `s3://lake/reports` announces it as an asset event, with its summary as `extra`. This DAG
runs whenever there are new ones, and fails when a job has failed on more objects than is usual, so that its owner is
told the way they are told of any failed run.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, Param, task

REPORTS = Asset("s3://lake/reports")

with DAG(
    "review_reports",
    doc_md=__doc__,
    tags=["s3batch"],
    schedule=REPORTS,
    params={"most_failed": Param(0.05, type="number", minimum=0, maximum=1)},
):

    @task
    def review(params: dict[str, Any], triggering_asset_events: Any) -> list[str]:
        """The reports that are new; an error if too much failed in one of them."""
        summaries = [event.extra for event in triggering_asset_events[REPORTS]]
        bad = [job["report_uri"] for job in summaries if job["failed"] > params["most_failed"] * job["total"]]
        if bad:
            raise RuntimeError(f"more than {params['most_failed']:.0%} of the objects failed: {', '.join(bad)}")
        return [job["report_uri"] for job in summaries]

    review()
