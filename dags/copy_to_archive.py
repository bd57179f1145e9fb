"""### Copy a dataset to the archive

Each object of the manifest is copied by S3 itself, nothing passes through Airflow, into the bucket `lake-archive`,
under a prefix of the dataset's name, in a storage class that costs a fifth. Metadata and tags come along. The last
task reads the job's summary and lets the run fail if anything is left behind, so that nobody deletes an original that
has no copy.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_s3batch import CopyObject, CsvManifest, s3_batch_job

with DAG(
    "copy_to_archive",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={
        "manifest": Param("s3://lake/manifests/archive.csv", type="string", format="uri"),
        "dataset": Param("events-2026-01", type="string", pattern="^[a-z0-9-]+$"),
    },
):
    copy = s3_batch_job(
        group_id="copy",
        manifest=CsvManifest("{{ params.manifest }}"),
        operation=CopyObject("lake-archive", target_prefix="{{ params.dataset }}/", storage_class="GLACIER_IR"),
        report="s3://lake/reports",
    )

    @task
    def nothing_left_behind(summary: dict[str, Any]) -> None:
        """Fail if any object has no copy."""
        if summary["failed"]:
            raise RuntimeError(
                f"{summary['failed']} objects have no copy: {summary['failures_by_code']}; see {summary['report_uri']}"
            )

    nothing_left_behind(copy.output)
