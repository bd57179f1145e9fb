"""Manifests that are questions, asked by DAGs: rendered, resolved by prepare, and run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, task

from airflow_s3batch import FailedObjects, ListObjects, Objects, PutObjectTagging, S3BatchJobOperator, s3_batch_job

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.airflow.conftest import DagRun, Lake

    Run = Callable[..., DagRun]

DEFAULTS = {"retries": 0}


def test_a_listing_is_rendered_and_what_it_finds_is_run(lake: Lake, run_dag: Run) -> None:
    lake.manifest("manifests/unused.csv", objects=12)
    with DAG("tag_listed", schedule=None, default_args=DEFAULTS) as dag:
        s3_batch_job(
            group_id="tag",
            manifest=ListObjects(lake.bucket, prefixes="data/", globs="data/{{ '[0-4]' }}", larger_than="{{ 1 - 1 }}"),
            operation=PutObjectTagging({"tier": "cold"}),
            report=f"{lake.uri}/reports",
            rows_per_partition=3,
        )

    assert run_dag(dag).state == "success"
    tagged = [number for number in range(12) if lake.tags(f"data/{number}")]
    assert tagged == [0, 1, 2, 3, 4]


def test_failures_of_one_job_and_a_list_of_a_task_are_manifests_of_others(lake: Lake, run_dag: Run) -> None:
    lake.manifest("manifests/unused.csv", objects=2)
    with DAG("again", schedule=None, default_args=DEFAULTS) as dag:

        @task
        def find() -> dict[str, Any]:
            return {"S3Objects": {"Objects": [f"{lake.uri}/data/0", [lake.bucket, "data/missing"]]}}

        first = s3_batch_job(
            group_id="first",
            manifest=find(),
            operation=PutObjectTagging({"tier": "cold"}),
            report=f"{lake.uri}/reports",
        )
        S3BatchJobOperator(
            task_id="second",
            manifest=FailedObjects(first.output["report_uri"], codes="NoSuchKey"),  # type: ignore[index] # the operator's own XComArg can be
            operation=PutObjectTagging({"tier": "cold"}),
            report=f"{lake.uri}/reports",
        )

    run = run_dag(dag)

    assert run.state == "success"
    assert lake.tags("data/0") == {"tier": "cold"}
    failed = [lake.get(key) for key in lake.keys("reports/") if key.endswith(".csv") and "/results/" in key]
    assert sum("data/missing,,failed,404,NoSuchKey" in rows for rows in failed) == 2


def test_objects_may_be_the_list_that_a_task_returns(lake: Lake, run_dag: Run) -> None:
    lake.manifest("manifests/unused.csv", objects=3)
    awkward = 'data/it\'s "a" [key], {{ 7 * 7 }} {% really \u2713'
    lake.put(awkward)
    with DAG("tag_found", schedule=None, default_args=DEFAULTS) as dag:

        @task
        def find() -> list[Any]:
            return [f"{lake.uri}/data/0", [lake.bucket, "data/2"], [lake.bucket, awkward]]

        s3_batch_job(
            group_id="tag",
            manifest=Objects(find()),  # type: ignore[arg-type] # an XComArg stands for the list
            operation=PutObjectTagging({"tier": "cold"}),
            report=f"{lake.uri}/reports",
        )

    assert dag.task_dict["tag.prepare"].upstream_task_ids == {"find"}
    assert run_dag(dag).state == "success"
    assert [bool(lake.tags(key)) for key in ("data/0", "data/1", "data/2", awkward)] == [True, False, True, True]


def test_a_listing_may_ask_for_the_list_that_a_task_returns(lake: Lake, run_dag: Run) -> None:
    lake.manifest("manifests/unused.csv", objects=6)
    awkward = 'data/it\'s "a" [key], {{ 7 * 7 }}'
    lake.put(awkward)
    with DAG("tag_prefixes", schedule=None, default_args=DEFAULTS) as dag:

        @task
        def find() -> list[str]:
            return ["data/0", "data/2", awkward]

        s3_batch_job(
            group_id="tag",
            manifest=ListObjects(
                "{{ [params.bucket] }}",
                prefixes=find(),  # type: ignore[arg-type] # an XComArg stands for the list
                exclude="{{ ['*/2', 'raw/**'] }}",
                storage_classes=["{{ ['STANDARD', 'GLACIER'] | tojson }}"],
            ),
            operation=PutObjectTagging({"tier": "cold"}),
            report=f"{lake.uri}/reports",
        )
    dag.params["bucket"] = lake.bucket

    assert dag.task_dict["tag.prepare"].upstream_task_ids == {"find"}
    assert run_dag(dag).state == "success"
    tagged = [bool(lake.tags(key)) for key in (*(f"data/{number}" for number in range(6)), awkward)]
    assert tagged == [True, *[False] * 5, True]


def test_a_list_of_none_that_a_task_returns_does_not_mean_the_whole_bucket(
    lake: Lake, run_dag: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    lake.manifest("manifests/unused.csv", objects=2)
    with DAG("tag_none", schedule=None, default_args=DEFAULTS) as dag:
        s3_batch_job(
            group_id="tag",
            manifest=ListObjects(lake.bucket, prefixes="{{ [] }}"),
            operation=PutObjectTagging({"tier": "cold"}),
            report=f"{lake.uri}/reports",
        )

    assert run_dag(dag).state == "failed"
    assert "prefixes: an empty list fits no object" in "".join(capfd.readouterr())
    assert not any(lake.tags(f"data/{number}") for number in range(2))


def test_text_that_is_no_template_is_named(lake: Lake, run_dag: Run, caplog: pytest.LogCaptureFixture) -> None:
    with DAG("tag_braces", schedule=None, default_args=DEFAULTS) as dag:
        s3_batch_job(
            group_id="tag",
            manifest=Objects([(lake.bucket, "data/{% odd")]),
            operation=PutObjectTagging({"tier": "cold"}),
            report=f"{lake.uri}/reports",
        )

    assert run_dag(dag).state == "failed"
    assert "'data/{% odd' is no template: " in caplog.text
