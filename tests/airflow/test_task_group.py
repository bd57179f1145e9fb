from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Asset, AssetAlias, task

from airflow_s3batch import (
    CompletionReport,
    Confirm,
    CsvManifest,
    Limits,
    PutObjectTagging,
    RestoreObject,
    S3BatchJob,
    s3_batch_job,
)
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.limits import FailureThreshold


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


def test_confirmation_stands_between_prepare_and_run() -> None:
    with DAG("dag", schedule=None) as dag:
        job(confirm=Confirm(timeout=timedelta(hours=8), assignees=["ada"]), prices={"PUT": 1.0})

    confirm: Any = dag.task_dict["tag.confirm"]
    assert confirm.upstream_task_ids == {"tag.prepare"}
    assert dag.task_dict["tag.run"].upstream_task_ids == {"tag.prepare", "tag.confirm"}
    assert dag.task_dict["tag.report"].upstream_task_ids == {"tag.run", "tag.confirm"}
    assert (confirm.timeout, confirm.prices) == (timedelta(hours=8), {"PUT": 1.0})
    assert cast("Any", dag.task_dict["tag.prepare"]).confirmation_required


def test_dry_run_is_prepare_alone_and_its_output_the_estimate() -> None:
    with DAG("dag", schedule=None) as dag:
        dry: Any = job(dry_run=True)

    assert list(dag.task_dict) == ["tag.prepare"]
    assert cast("Any", dag.task_dict["tag.prepare"]).confirmation_required
    assert (dry.output.operator.task_id, dry.output.key) == ("tag.prepare", "estimate")


def test_job_by_its_id_has_no_manifest_and_no_operation() -> None:
    with DAG("dag", schedule=None) as dag:
        job(manifest=None, operation=None, job_id="{{ params.job_id }}", limits=Limits(in_flight=3), priority=5)

    prepare: Any = dag.task_dict["tag.prepare"]
    assert (prepare.job_id, prepare.manifest, prepare.operation) == ("{{ params.job_id }}", None, None)
    prepare.render_template_fields({"params": {"job_id": "4711-abc"}})
    assert prepare.job_id == "4711-abc"


def test_what_belongs_to_tasks_reaches_all_of_them_by_default_args() -> None:
    with DAG("dag", schedule=None) as dag:
        job(default_args={"retries": 3, "queue": "big", "execution_timeout": timedelta(hours=2)})

    told = {(task.retries, task.queue, task.execution_timeout) for task in dag.tasks}
    assert len(dag.tasks) == 3
    assert told == {(3, "big", timedelta(hours=2))}


def test_job_by_its_id_comes_after_the_task_that_tells_it() -> None:
    with DAG("dag", schedule=None) as dag:

        @task
        def choose() -> str:
            return ""

        job(manifest=None, operation=None, job_id=choose())

    assert dag.task_dict["tag.prepare"].upstream_task_ids == {"choose"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"manifest": None}, "a job needs manifest; or job_id"),
        ({"job_id": "4711-abc"}, "job_id names a job that has its manifest and operation already"),
        (
            {"job_id": "4711-abc", "manifest": None, "operation": None, "description": "x", "threshold": None},
            "has its threshold and description already",
        ),
        ({"dry_run": True, "confirm": True}, "nothing to confirm: leave out confirm"),
        ({"dry_run": True, "job_id": "4711-abc"}, "a dry run is of a new job"),
        ({"prices": {"POST": 1}}, "no request is 'POST'"),
        ({"priority": -1}, "priority=-1; it is a whole number from 0 to 2147483647"),
        ({"priority": 2**31}, "priority=2147483648"),
        ({"priority": True}, "priority=True"),
        ({"prioritty": 1}, r"^s3_batch_job: no parameter 'prioritty'; did you mean priority\?"),
        ({"tool_tip": ""}, r"^s3_batch_job: no parameter 'tool_tip'; did you mean tooltip\?"),
        ({"foo": 7}, r"^s3_batch_job: no parameter 'foo'; it has group_id, manifest, .*, tooltip"),
        (
            {"retries": 3},
            r"""^s3_batch_job: retries belongs to the job's tasks; write default_args=\{"retries": 3\}$""",
        ),
        ({"queue": "big"}, r"""; write default_args=\{"queue": 'big'\}$"""),
        ({"execution_timeout": timedelta(1)}, r"""write default_args=\{"execution_timeout": datetime.*days=1\)\}$"""),
        ({"on_failure_callback": print}, r"""; write default_args=\{"on_failure_callback": …\}$"""),
        ({"trigger_rule": "all_done"}, r"^s3_batch_job: no parameter 'trigger_rule'; "),
        ({"priority_weight": 3}, r"^s3_batch_job: no parameter 'priority_weight'; did you mean priority\?"),
        ({"report": None}, r"^report=None is no CompletionReport, .* write 's3://bucket/prefix'"),
        ({"report": 5}, r"^report=5 is no CompletionReport, but of type int"),
        ({"operation": {"S3PutObjetTagging": {}}}, r"'S3PutObjetTagging' .* did you mean S3PutObjectTagging\?"),
        ({"operation": {"S3PutObjectTagging": {"Tags": []}}}, "PutObjectTagging: unknown Tags; known are TagSet"),
        ({"confirm": "no"}, r"confirm='no' is neither True, False nor a Confirm; it isn't templated"),
        ({"confirm": "{{ params.ask }}"}, "confirm='{{ params.ask }}' is neither True, False nor a Confirm"),
        ({"confirm": Confirm}, "confirm=.* is neither True, False nor a Confirm"),
        ({"dry_run": "{{ params.dry }}"}, "dry_run='{{ params.dry }}' is neither True nor False; it isn't templated"),
        ({"rows_per_partition": 0}, "rows_per_partition=0; it is a whole number, at least 1"),
        ({"max_partitions": "7"}, "max_partitions='7'; it is a whole number, at least 1"),
    ],
)
def test_what_cannot_go_together_is_an_error_when_the_file_is_parsed(options: dict[str, Any], told: str) -> None:
    with DAG("dag", schedule=None), pytest.raises(InvalidInput, match=told):
        job(**options)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"timeout": 3600}, r"Confirm: timeout=3600; write timedelta\(hours=8\), or None to wait for ever"),
        ({"timeout": timedelta(0)}, "Confirm: timeout=.*; write timedelta"),
        ({"assignees": "ada"}, r"Confirm: assignees='ada' is one text; write \['ada'\]"),
    ],
)
def test_waiting_for_a_person_that_cannot_be_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        Confirm(**wrong)


@pytest.mark.parametrize(
    "operation",
    [
        {"{{ params.what }}": {}},
        {"S3PutObjectTagging": {"TagSet": "{{ params.tags }}"}},
    ],
)
def test_operation_that_has_yet_to_be_rendered_is_not_checked_before(operation: dict[str, Any]) -> None:
    with DAG("dag", schedule=None) as dag:
        job(operation=operation)

    assert vars(dag.task_dict["tag.prepare"])["operation"] == operation


def test_operation_in_aws_words_may_hold_what_a_task_tells() -> None:
    with DAG("dag", schedule=None) as dag:

        @task
        def choose() -> list[dict[str, str]]:
            return []

        job(operation={"S3PutObjectTagging": {"TagSet": choose()}})

    assert dag.task_dict["tag.prepare"].upstream_task_ids == {"choose"}


def test_group_takes_what_airflows_groups_take() -> None:
    with DAG("dag", schedule=None) as dag:
        made = job(tooltip="cools the lake", prefix_group_id=False, ui_color="blue", group_display_name="cool")

    assert (made.tooltip, made.ui_color, made.group_display_name) == ("cools the lake", "blue", "cool")
    assert set(dag.task_dict) == {"prepare", "run", "report"}


def test_priority_and_pool_order_the_partitions_alone() -> None:
    with DAG("dag", schedule=None, default_args={"pool": "other", "priority_weight": 3}) as dag:
        job(priority=2147483647, pool="s3")

    run: Any = dag.task_dict["tag.run"]
    assert (run.partial_kwargs["pool"], run.partial_kwargs["priority_weight"]) == ("s3", 2147483647)
    assert run.partial_kwargs["weight_rule"] == "absolute"
    prepare: Any = dag.task_dict["tag.prepare"]
    assert (prepare.pool, prepare.priority_weight, prepare.priority) == ("other", 3, 2147483647)


def test_threshold_reaches_prepare() -> None:
    with DAG("dag", schedule=None) as dag:
        job(threshold=FailureThreshold(percent=1, minimum=10))

    assert cast("Any", dag.task_dict["tag.prepare"]).threshold == FailureThreshold(percent=1, minimum=10)


def test_restore_that_is_waited_for_ends_with_the_wait() -> None:
    with DAG("dag", schedule=None) as dag:
        restore: Any = job(operation=RestoreObject(days=1, wait=True))

    assert dag.task_dict["tag.wait"].upstream_task_ids == {"tag.report"}
    assert restore.output.operator.task_id == "tag.wait"


def test_wrong_value_is_an_error_when_the_file_is_parsed() -> None:
    with DAG("dag", schedule=None), pytest.raises(InvalidInput, match="s3:/lake/reports"):
        job(report="s3:/lake/reports")


def test_job_needs_a_dag() -> None:
    with pytest.raises(RuntimeError, match="inside a dag"):
        job()
