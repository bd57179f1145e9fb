from __future__ import annotations

from typing import Any, cast

import pytest
from airflow.sdk import DAG, Asset, AssetAlias, task

from airflow_s3batch import CompletionReport, CsvManifest, PutObjectTagging, S3BatchJob, s3_batch_job
from airflow_s3batch.core.errors import InvalidInput


def job(**options: Any) -> S3BatchJob:
    given: dict[str, Any] = {
        "group_id": "tag",
        "manifest": CsvManifest("s3://lake/m.csv"),
        "operation": PutObjectTagging({"tier": "cold"}),
        "report": "s3://lake/reports",
    }
    return s3_batch_job(**given | options)


def test_group_is_prepare_then_run_then_report() -> None:
    with DAG("dag", schedule=None) as dag:
        job()

    assert dag.task_dict["tag.prepare"].downstream_task_ids == {"tag.run", "tag.report"}
    assert dag.task_dict["tag.run"].downstream_task_ids == {"tag.report"}
    assert dag.task_dict["tag.run"].is_mapped


def test_group_stands_between_other_tasks() -> None:
    with DAG("dag", schedule=None) as dag:

        @task
        def before() -> None: ...

        @task
        def after() -> None: ...

        before() >> job() >> after()

    assert dag.task_dict["tag.prepare"].upstream_task_ids == {"before"}
    assert dag.task_dict["after"].upstream_task_ids == {"tag.report"}


def test_output_is_the_summary_of_the_report() -> None:
    with DAG("dag", schedule=None) as dag:

        @task
        def use(summary: Any) -> None: ...

        use(job().output)

    assert dag.task_dict["use"].upstream_task_ids == {"tag.report"}


def test_job_runs_after_the_tasks_whose_output_it_takes() -> None:
    with DAG("dag", schedule=None) as dag:

        @task
        def one() -> str:
            return ""

        @task
        def two() -> str:
            return ""

        @task
        def three() -> str:
            return ""

        job(
            manifest=CsvManifest(cast("str", one())),
            operation=PutObjectTagging({"tier": cast("str", two())}),
            report=CompletionReport(cast("str", three()), scope="FailedTasksOnly"),
        )

    assert dag.task_dict["tag.prepare"].upstream_task_ids == {"one", "two", "three"}


def test_options_reach_the_tasks() -> None:
    with DAG("dag", schedule=None, default_args={"retries": 3}) as dag:
        job(
            default_args={"pool": "s3", "priority_weight": 7},
            max_active_tis_per_dagrun=4,
            aws_conn_id="lake",
            region_name="eu-west-1",
            verify="/ca.pem",
            rows_per_partition=10,
            max_partitions=3,
        )

    for name in ("tag.prepare", "tag.run", "tag.report"):
        made: Any = dag.task_dict[name]
        options = made.partial_kwargs if made.is_mapped else vars(made)
        assert (options["pool"], options["priority_weight"], options["retries"]) == ("s3", 7, 3)
        assert (options["aws_conn_id"], options["region_name"], options["verify"]) == ("lake", "eu-west-1", "/ca.pem")
    run: Any = dag.task_dict["tag.run"]
    assert run.partial_kwargs["max_active_tis_per_dagrun"] == 4
    assert vars(dag.task_dict["tag.prepare"])["rows_per_partition"] == 10
    assert vars(dag.task_dict["tag.prepare"])["max_partitions"] == 3


def test_report_is_announced_under_its_location_and_under_what_the_author_names() -> None:
    mine = Asset("tagged")
    with DAG("dag", schedule=None) as dag:
        job(report="s3://lake/reports/{{ ds }}", outlets=[mine])

    assert dag.task_dict["tag.report"].outlets == [AssetAlias("s3://lake/reports/{{ ds }}"), mine]


def test_wrong_value_is_an_error_when_the_file_is_parsed() -> None:
    with DAG("dag", schedule=None), pytest.raises(InvalidInput, match="s3:/lake/reports"):
        job(report="s3:/lake/reports")


def test_job_needs_a_dag() -> None:
    with pytest.raises(RuntimeError, match="inside a dag"):
        job()
