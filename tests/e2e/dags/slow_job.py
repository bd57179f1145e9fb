"""A job slow enough to be watched: one request at a time a partition. A sensor waits for it meanwhile."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_s3batch import CsvManifest, Limits, PutObjectTagging, S3BatchJobSensor, s3_batch_job

with DAG("slow_job", schedule=None):
    job = s3_batch_job(
        group_id="tag",
        manifest=CsvManifest("s3://lake/manifests/cold.csv"),
        operation=PutObjectTagging({"tier": "cold", "run": "{{ run_id }}"}),
        report="s3://lake/reports",
        limits=Limits(in_flight=1),
        rows_per_partition=650,
    )
    prepared = job.children["tag.prepare"]
    prepared >> S3BatchJobSensor(
        task_id="wait",
        job_id="{{ ti.xcom_pull(task_ids='tag.prepare', key='job')['job_id'] }}",
        report="s3://lake/reports",
        poke_interval=2,
        deferrable=True,
    )
