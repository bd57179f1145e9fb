"""Jobs that wait for a person, are rehearsed, run by their ids, or wait for each other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_s3batch import Confirm, CsvManifest, Limits, PutObjectTagging, s3_batch_job

JOB: dict[str, Any] = {
    "manifest": CsvManifest("s3://lake/manifests/{{ dag.dag_id }}.csv"),
    "operation": PutObjectTagging({"by": "{{ dag.dag_id }}"}),
    "report": "s3://lake/reports",
}

# Airflow fails a task that is resumed before its scheduler knows that it waits. It goes on with its next try.
DEFAULTS = {"retries": 30, "retry_delay": timedelta(seconds=1)}

for name, confirm in {"asking": Confirm(), "asking_briefly": Confirm(timeout=timedelta(seconds=8))}.items():
    with DAG(name, schedule=None, default_args=DEFAULTS):
        s3_batch_job(group_id="job", confirm=confirm, **JOB)

with DAG("rehearsal", schedule=None):
    s3_batch_job(group_id="job", dry_run=True, **JOB)

with DAG("performance", schedule=None, params={"job_id": ""}):
    s3_batch_job(group_id="job", job_id="{{ params.job_id }}", report="s3://lake/reports")

for name, priority in {"less_urgent": 1, "urgent": 2_147_483_647, "least_urgent": 0}.items():
    with DAG(name, schedule=None, default_args=DEFAULTS):
        s3_batch_job(
            group_id="job",
            priority=priority,
            pool="one_at_a_time",
            limits=Limits(in_flight=1),
            rows_per_partition=20,
            **JOB,
        )
