"""Jobs slow enough to be watched: one request at a time a partition. A sensor waits for the first meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_s3batch import CsvManifest, Limits, PutObjectTagging, S3BatchJobSensor, s3_batch_job

JOB: dict[str, Any] = {
    "manifest": CsvManifest("s3://lake/manifests/cold.csv"),
    "operation": PutObjectTagging({"tier": "cold", "run": "{{ run_id }}"}),
    "report": "s3://lake/reports",
    "limits": Limits(in_flight=1),
}

# Airflow fails a task that is resumed before its scheduler knows that it waits. It goes on with its next try.
with DAG("slow_job", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=1)}):
    job = s3_batch_job(group_id="tag", rows_per_partition=650, **JOB)
    prepared = job.children["tag.prepare"]
    prepared >> S3BatchJobSensor(
        task_id="wait",
        job_id="{{ ti.xcom_pull(task_ids='tag.prepare', key='job')['job_id'] }}",
        report="s3://lake/reports",
        poke_interval=2,
        deferrable=True,
    )

# In one partition, which takes a minute: it is stopped long before its end.
with DAG("long_job", schedule=None):
    s3_batch_job(group_id="tag", **JOB)
