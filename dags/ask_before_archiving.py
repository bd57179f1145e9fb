"""### Ask before a dataset goes to the deep archive

What is in DEEP_ARCHIVE takes half a day to read again, and costs for half a year at least. So the job is prepared,
and then waits for somebody who sees what it would do: in Airflow's *Required Actions*, for up to three days. If the
answer is no, nothing is copied, and the run says so.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_s3batch import Confirm, CopyObject, CsvManifest, s3_batch_job

with DAG(
    "ask_before_archiving",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={"manifest": Param("s3://lake/manifests/archive.csv", type="string", format="uri")},
):
    s3_batch_job(
        group_id="archive",
        manifest=CsvManifest("{{ params.manifest }}"),
        operation=CopyObject("lake-archive", target_prefix="deep/", storage_class="DEEP_ARCHIVE"),
        report="s3://lake/reports",
        confirm=Confirm(timeout=timedelta(days=3)),
        default_args={"retries": 1},
    )
