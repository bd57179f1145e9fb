"""A job that would have no objects is skipped where the DAG asks first, as the manifests' pages show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import DAG, task

from airflow_s3batch import (
    CsvManifest,
    DeleteObjectTagging,
    FailedObjects,
    ListObjects,
    PutObjectTagging,
    s3_batch_job,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.airflow.conftest import DagRun, Lake

    Run = Callable[[DAG], DagRun]

SKIPPED = {"prepare": ["skipped"], "run": ["skipped"], "report": ["skipped"]}


def states(run: DagRun, group: str) -> dict[str, list[str]]:
    start = f"{group}."
    return {name.removeprefix(start): state for name, state in run.tasks.items() if name.startswith(start)}


@pytest.mark.parametrize(("missing", "done"), [(0, False), (2, True)])
def test_job_about_the_failures_of_another_is_skipped_if_there_are_none(
    lake: Lake, run_dag: Run, missing: int, *, done: bool
) -> None:
    with DAG(f"failures_{missing}", schedule=None) as dag:
        first = s3_batch_job(
            "first",
            manifest=CsvManifest(lake.manifest("m.csv", objects=2, missing=missing)),
            operation=PutObjectTagging({"tier": "cold"}),
            report=f"{lake.uri}/reports",
        )

        @task.short_circuit
        def some_failed(summary: dict[str, Any]) -> bool:
            return bool(summary["failed"])

        again = s3_batch_job(
            "again",
            manifest=FailedObjects("{{ ti.xcom_pull('first.report')['report_uri'] }}"),
            operation=DeleteObjectTagging(),
            report=f"{lake.uri}/reports",
        )
        some_failed(first.output) >> again  # type: ignore[arg-type]

    run = run_dag(dag)

    assert run.state == "success"
    assert (states(run, "again") == SKIPPED) is not done
    if done:
        assert run.xcom("again.report")["total"] == missing


@pytest.mark.parametrize(("key", "done"), [("tmp/a", True), ("other/a", False)])
def test_job_about_a_prefix_is_skipped_if_nothing_is_there(lake: Lake, run_dag: Run, key: str, *, done: bool) -> None:
    lake.put(key)
    with DAG(f"prefix_{key[:3]}", schedule=None) as dag:

        @task.short_circuit
        def anything(prefix: str) -> bool:
            return bool(S3Hook("aws_default").list_keys(lake.bucket, prefix=prefix, max_items=1))

        sweep = s3_batch_job(
            "sweep",
            manifest=ListObjects(lake.bucket, prefixes="tmp/"),
            operation=DeleteObjectTagging(),
            report=f"{lake.uri}/reports",
        )
        anything("tmp/") >> sweep

    run = run_dag(dag)

    assert run.state == "success"
    assert (states(run, "sweep") == SKIPPED) is not done
