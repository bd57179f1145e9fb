"""Jobs that delete and bring back, as DAG runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from airflow_s3batch import CsvManifest, DeleteObjects, S3BatchJobOperator, UndeleteObject, s3_batch_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.airflow.conftest import DagRun, Lake

    Run = Callable[..., DagRun]

DEFAULTS = {"retries": 0}


def deletion(lake: Lake) -> DAG:
    with DAG("deletes", schedule=None, default_args=DEFAULTS) as dag:
        s3_batch_job(
            group_id="delete",
            manifest=CsvManifest(f"{lake.uri}/manifests/{{{{ ds }}}}.csv"),
            operation=DeleteObjects(markers_only=True),
            report=f"{lake.uri}/reports",
            rows_per_partition=5,
        )
    return dag


def test_what_a_job_deletes_another_brings_back(lake: Lake, run_dag: Run) -> None:
    lake.s3.put_bucket_versioning(Bucket=lake.bucket, VersioningConfiguration={"Status": "Enabled"})
    lake.manifest("manifests/2026-01-31.csv", objects=12, missing=1)
    with DAG("brings_back", schedule=None, default_args=DEFAULTS) as undeletion:
        S3BatchJobOperator(
            task_id="undelete",
            manifest=CsvManifest(f"{lake.uri}/manifests/{{{{ ds }}}}.csv"),
            operation=UndeleteObject(),
            report=f"{lake.uri}/reports",
        )

    deleted = run_dag(deletion(lake))
    left = lake.keys("data/")
    back = run_dag(undeletion)

    assert (deleted.state, back.state) == ("success", "success")
    assert left == []
    assert sorted(lake.keys("data/")) == sorted(f"data/{number}" for number in range(12))
    told: list[Any] = [deleted.xcom("delete.report"), back.xcom("undelete")]
    assert [(job["succeeded"], job["failed"]) for job in told] == [(13, 0), (12, 1)]
    # Of an object that never was, only the delete marker is there: nothing to bring back.
    assert told[1]["failures_by_code"] == {"NoSuchKey": 1}


def test_a_bucket_that_keeps_no_versions_is_refused_before_anything_is_deleted(lake: Lake, run_dag: Run) -> None:
    lake.manifest("manifests/2026-01-31.csv", objects=3)

    run = run_dag(deletion(lake))

    assert run.state == "failed"
    assert run.tasks["delete.prepare"] == ["failed"]
    assert len(lake.keys("data/")) == 3
