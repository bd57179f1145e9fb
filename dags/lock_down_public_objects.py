"""### Take public objects off the Internet

An audit has found objects that anyone can read. This makes each of them private. Its report names only the objects
that couldn't be changed, so an empty one is good news, and a failed one is retried by clearing its task: what is done
isn't done again.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_s3batch import CompletionReport, CsvManifest, PutObjectAcl, s3_batch_job

with DAG(
    "lock_down_public_objects",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={"manifest": Param("s3://lake/manifests/public.csv", type="string", format="uri")},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
):
    s3_batch_job(
        group_id="lock_down",
        manifest=CsvManifest("{{ params.manifest }}"),
        operation=PutObjectAcl("private"),
        report=CompletionReport("s3://lake/reports", scope="FailedTasksOnly"),
    )
