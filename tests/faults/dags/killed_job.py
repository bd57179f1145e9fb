"""A job that goes on after any number of kills: its tasks are retried at once, and as often as it takes.

``watched_job`` is the same without retries.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_s3batch import CsvManifest, Limits, PutObjectTagging, s3_batch_job

for dag_id, retries in (("killed_job", 1_000), ("watched_job", 0)):
    with DAG(
        dag_id,
        schedule=None,
        params={"lake": Param("", type="string")},
        default_args={"retries": retries, "retry_delay": timedelta(seconds=0)},
    ):
        s3_batch_job(
            group_id="tag",
            manifest=CsvManifest("s3://jobs/{{ params.lake }}.csv"),
            operation=PutObjectTagging({"tier": "cold"}),
            report="s3://jobs/reports",
            limits=Limits(in_flight=64),
            rows_per_partition=20_000,
        )
