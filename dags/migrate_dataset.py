"""### Migrate a dataset to a new layout, and prove that all of it arrived

Objects under `raw/2026/07/…` of the manifest are copied, by S3 itself and whatever their size, to keys that query
engines understand: `events/year=2026/month=07/…`. A second job then compares every object with its copy: size, and
checksum or ETag. The run is green only if there isn't a single difference, so that the originals can go.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_s3batch import CopyObject, CsvManifest, VerifyObject, s3_batch_job

LAYOUT = {
    "key_pattern": r"raw/(?P<year>\d{4})/(?P<month>\d\d)/(?P<rest>.+)",
    "target_key": "events/year={year}/month={month}/{rest}",
}

with DAG(
    "migrate_dataset",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={
        "manifest": Param("s3://lake/manifests/migration.csv", type="string", format="uri"),
        "target": Param("lake-archive", type="string"),
    },
):
    manifest = CsvManifest("{{ params.manifest }}")
    copy = s3_batch_job(
        group_id="copy",
        manifest=manifest,
        operation=CopyObject("{{ params.target }}", **LAYOUT),
        report="s3://lake/reports",
    )
    verify = s3_batch_job(
        group_id="verify",
        manifest=manifest,
        operation=VerifyObject("{{ params.target }}", **LAYOUT),
        report="s3://lake/reports",
    )

    @task
    def all_of_it_arrived(summary: dict[str, Any]) -> None:
        """Fail if any object has no copy, or a different one."""
        if summary["failed"]:
            raise RuntimeError(
                f"{summary['failed']} objects differ: {summary['failures_by_code']}; see {summary['report_uri']}"
            )

    copy >> verify
    all_of_it_arrived(verify.output)
