"""The jobs of the fault suite: one DAG for each way of coming to a stop.

Their tasks are retried at once, and as often as it takes; but for those of ``watched_job``, which never are.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from airflow_s3batch import CsvManifest, Limits, PutObjectTagging, s3_batch_job

GOES_ON: dict[str, Any] = {"retries": 1_000, "retry_delay": timedelta(seconds=0)}

JOBS: dict[str, tuple[int, dict[str, Any]]] = {
    "killed_job": (40_000, GOES_ON),
    "cleared_job": (15_000, GOES_ON),
    "timed_job": (30_000, {**GOES_ON, "execution_timeout": timedelta(seconds=15)}),
    "watched_job": (20_000, {"retries": 0}),
}
"""Rows a partition, and what is said of the tasks, by DAG."""

for dag_id, (rows, said) in JOBS.items():
    with DAG(dag_id, schedule=None, params={"lake": Param("", type="string")}, default_args=said):
        s3_batch_job(
            group_id="tag",
            manifest=CsvManifest("s3://jobs/{{ params.lake }}.csv"),
            operation=PutObjectTagging({"tier": "cold"}),
            # One for each: Airflow fails one of two tasks that announce the same new asset at the same moment.
            report="s3://jobs/reports/{{ params.lake }}",
            limits=Limits(in_flight=64),
            rows_per_partition=rows,
        )
