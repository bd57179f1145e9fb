"""`@task.s3_batch`: what a call makes, what the function gets, and whole DAG runs of it."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from airflow_s3batch import (
    AsyncS3Object,
    CsvManifest,
    Limits,
    PutObjectTagging,
    S3BatchJob,
    S3BatchJobOperator,
    S3Object,
)
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.decorators import S3BatchPythonOperator, s3_batch_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.airflow.conftest import DagRun, Lake

    Run = Callable[..., DagRun]

OPTIONS: dict[str, Any] = {"manifest": CsvManifest("s3://lake/m.csv"), "report": "s3://lake/reports"}
DEFAULTS = {"retries": 0}


def tag(obj: S3Object, unit: str = "bytes") -> None:
    """Tag an object."""


def test_call_makes_the_group_of_a_job_named_after_the_function() -> None:
    with DAG("dag", schedule=None) as dag:
        group = s3_batch_task(**OPTIONS)(tag)()

    assert isinstance(group, S3BatchJob)
    assert (group.group_id, group.tooltip) == ("tag", "Tag an object.")
    assert dag.task_dict["tag.prepare"].downstream_task_ids == {"tag.run", "tag.report"}
    assert dag.task_dict["tag.run"].is_mapped


def test_job_knows_the_function_by_its_name() -> None:
    with DAG("dag", schedule=None) as dag:
        s3_batch_task(tag, **OPTIONS)()

    prepare: Any = dag.task_dict["tag.prepare"]
    assert prepare.operation.to_aws() == {"S3BatchPython": {"Function": f"{__name__}.tag"}}


def test_job_does_not_know_how_airflow_names_the_module_of_a_dag_file() -> None:
    def made_up(obj: S3Object) -> None: ...

    made_up.__module__ = "unusual_prefix_0123456789abcdef0123456789abcdef01234567_my_dags"
    made_up.__qualname__ = "made_up"
    with DAG("dag", schedule=None) as dag:
        s3_batch_task(made_up, **OPTIONS)()

    prepare: Any = dag.task_dict["made_up.prepare"]
    assert prepare.operation.function == "my_dags.made_up"


def test_group_stands_between_other_tasks_and_takes_and_gives_xcoms() -> None:
    with DAG("dag", schedule=None) as dag:

        @task
        def before() -> None: ...

        @task
        def choose() -> str:
            return "bits"

        @task
        def use(summary: Any) -> None: ...

        @task
        def after() -> None: ...

        tagged = s3_batch_task(tag, **OPTIONS)(choose())
        before() >> tagged >> after()
        use(tagged)

    assert dag.task_dict["tag.prepare"].upstream_task_ids == {"before"}
    assert "choose" in dag.task_dict["tag.run"].upstream_task_ids
    assert dag.task_dict["after"].upstream_task_ids == {"tag.report"}
    assert dag.task_dict["use"].upstream_task_ids == {"tag.report"}


def test_text_of_a_group_is_the_template_of_its_summary() -> None:
    with DAG("dag", schedule=None):
        group = s3_batch_task(tag, **OPTIONS)()

    assert f"{group}" == str(group.output)
    assert repr(group) == "S3BatchPythonJob('tag')"


def test_function_can_be_called_more_than_once_and_with_other_options() -> None:
    decorated = s3_batch_task(**OPTIONS)(tag)
    with DAG("dag", schedule=None) as dag:
        decorated()
        decorated()
        decorated.override(group_id="other", limits=Limits(in_flight=3))()

    assert {"tag.run", "tag__1.run", "other.run"} <= set(dag.task_dict)
    other: Any = dag.task_dict["other.prepare"]
    assert other.limits == Limits(in_flight=3)


def test_options_reach_the_tasks() -> None:
    with DAG("dag", schedule=None) as dag:
        s3_batch_task(tag, **OPTIONS, threads=7, aws_conn_id="lake", default_args={"retries": 5})()

    run: Any = dag.task_dict["tag.run"]
    assert (run.partial_kwargs["threads"], run.partial_kwargs["aws_conn_id"], run.retries) == (7, "lake", 5)


def test_function_itself_can_be_tested() -> None:
    assert s3_batch_task(**OPTIONS)(lambda obj: obj.upper()).function("x") == "X"


def test_serialized_dag_is_the_same_at_every_parse() -> None:
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    def parsed() -> str:
        def weigh(obj: S3Object, unit: str) -> None: ...

        with DAG("dag", schedule=None) as dag:

            @task
            def use(summary: Any) -> None: ...

            use(s3_batch_task(weigh, **OPTIONS)(unit="bytes"))
        return json.dumps(LazyDeserializedDAG.from_dag(dag).data, sort_keys=True)

    assert parsed() == parsed()


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"report": "s3://lake/reports"}, TypeError, r"needs manifest: @task\.s3_batch\(manifest=…, report=…\)"),
        ({}, TypeError, "needs manifest and report"),
        ({**OPTIONS, "threads": 0}, InvalidInput, "threads=0; it takes one or more"),
        ({**OPTIONS, "operation": PutObjectTagging({})}, TypeError, "the function is the operation"),
        ({**OPTIONS, "job_id": "1"}, TypeError, "the function is the operation"),
    ],
)
def test_wrong_options_are_an_error_when_the_file_is_parsed(
    options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        s3_batch_task(**options)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"prioritty": 1}, r"^@task\.s3_batch: no parameter 'prioritty'; did you mean priority\?"),
        ({"thread": 7}, r"^@task\.s3_batch: no parameter 'thread'; did you mean threads\?"),
        ({"retries": 2}, r"""^@task\.s3_batch: retries belongs .*; write default_args=\{"retries": 2\}$"""),
        ({"foo": 7}, r"^@task\.s3_batch: no parameter 'foo'; it has group_id, manifest, report, "),
    ],
)
def test_unknown_option_is_an_error_when_the_file_is_parsed(option: dict[str, Any], told: str) -> None:
    with DAG("dag", schedule=None), pytest.raises(InvalidInput, match=told):
        s3_batch_task(tag, **OPTIONS, **option)()


class Checker:
    def __call__(self, obj: S3Object) -> None: ...

    def check(self, obj: S3Object) -> None: ...


def each_word(obj: S3Object) -> Iterator[str]:
    yield obj.key


async def each_line(obj: AsyncS3Object) -> AsyncIterator[str]:
    yield obj.key


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (Checker(), r"<.*Checker object at .*> is no function; write one that calls it: def check\(obj\): …$"),
        (functools.partial(tag, unit="bits"), r"functools\.partial\(.* is no function; write one"),
        (Checker, r"<class '.*Checker'> is no function; write one"),
        (7, "7 is no function; write one"),
        (
            each_word,
            "each_word has a yield, and gives a generator instead of the row's message; return a text or None$",
        ),
        (each_line, "each_line has a yield"),
    ],
)
def test_what_can_be_no_operation_is_an_error_when_the_file_is_parsed(function: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^@task\.s3_batch: {told}"):
        s3_batch_task(**OPTIONS)(function)
    with pytest.raises(InvalidInput, match=rf"^@task\.s3_batch: {told}"):
        s3_batch_task(function, **OPTIONS)


def test_lambda_needs_a_name_for_its_group() -> None:
    decorated = s3_batch_task(**OPTIONS)(lambda obj: obj.key)
    with DAG("dag", schedule=None) as dag:
        with pytest.raises(
            InvalidInput, match="a lambda has no name for the job's group; give group_id, or write a def"
        ):
            decorated()
        decorated.override(group_id="keys")()

    assert "keys.run" in dag.task_dict


def test_method_is_a_function() -> None:
    with DAG("dag", schedule=None) as dag:
        s3_batch_task(**OPTIONS)(Checker().check)()

    assert "check.run" in dag.task_dict


def positional(obj: S3Object, unit: str, /) -> None: ...


def many(obj: S3Object, *units: str) -> None: ...


def none() -> None: ...


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "told"),
    [
        (tag, (1, 2), {}, "tag, called without its object: too many positional arguments"),
        (tag, (), {"other": 1}, "tag, called without its object: got an unexpected keyword argument 'other'"),
        (positional, ("bytes",), {}, "positional: unit has no name to be given by"),
        (many, ("bytes",), {}, "many: units has no name to be given by"),
        (none, (), {}, "none, called without its object: too many positional arguments"),
    ],
)
def test_call_that_does_not_fit_is_an_error_when_the_file_is_parsed(
    function: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any], told: str
) -> None:
    with DAG("dag", schedule=None), pytest.raises(TypeError, match=told):
        s3_batch_task(function, **OPTIONS)(*args, **kwargs)


def test_function_is_done_to_every_object(lake: Lake, run_dag: Run) -> None:
    uri = lake.manifest("m.csv", objects=5, missing=1)
    with DAG("python", schedule=None, default_args=DEFAULTS) as dag:

        @task
        def choose_unit() -> str:
            return "bytes"

        @task.s3_batch(manifest=CsvManifest(uri), report=f"{lake.uri}/reports", threads=2, rows_per_partition=3)
        def weigh(obj: S3Object, unit: str, ds: str = "", **more: Any) -> str:
            if obj.key == "data/3":
                raise LookupError("too light")
            return f"{len(obj.read())} {unit} on {ds} for {more['whom']}"

        @task
        def use(summary: Any) -> Any:
            return summary["failures_by_code"]

        use(weigh(choose_unit(), whom="{{ dag.dag_id }}"))  # type: ignore[arg-type, call-arg, misc] # TaskFlow

    run = run_dag(dag)

    assert run.state == "success"
    assert run.tasks["weigh.run"] == ["success", "success"]
    assert run.xcom("use") == {"LookupError": 1, "NoSuchKey": 1}
    rows = report_rows(lake, run.xcom("weigh.report"))
    assert (
        sorted(message for status, message in rows if status == "succeeded") == ["1 bytes on 2026-01-31 for python"] * 4
    )
    assert ("failed", "too light") in rows


def test_coroutine_function_is_done_to_every_object(lake: Lake, run_dag: Run) -> None:
    uri = lake.manifest("m.csv", objects=3)
    with DAG("async_python", schedule=None, default_args=DEFAULTS) as dag:

        @task.s3_batch(manifest=CsvManifest(uri), report=f"{lake.uri}/reports")
        async def flag(obj: AsyncS3Object) -> None:
            await obj.call("PutObjectTagging", Tagging={"TagSet": [{"Key": "seen", "Value": "yes"}]})

        flag()  # type: ignore[call-arg, misc] # TaskFlow

    assert run_dag(dag).state == "success"
    assert all(lake.tags(f"data/{number}") == {"seen": "yes"} for number in range(3))


def test_partition_of_another_job_is_refused(lake: Lake, run_dag: Run, capfd: pytest.CaptureFixture[str]) -> None:
    uri = lake.manifest("m.csv", objects=1)
    report = f"{lake.uri}/reports"
    with DAG("mixed_up", schedule=None, default_args=DEFAULTS) as dag:
        whole = S3BatchJobOperator(
            task_id="tag", manifest=CsvManifest(uri), operation=PutObjectTagging({}), report=report
        )
        whole >> S3BatchPythonOperator(
            task_id="again",
            python_callable=tag,
            partition={"job_id": "{{ ti.xcom_pull('tag')['job_id'] }}", "report": {"Bucket": report}, "number": 0},
        )

    assert run_dag(dag).tasks["again"] == ["failed"]
    assert "is about S3PutObjectTagging; run it by S3BatchJobOperator" in "".join(capfd.readouterr())


def report_rows(lake: Lake, summary: Any) -> list[tuple[str, str]]:
    report = json.loads(lake.get(f"reports/job-{summary['job_id']}/manifest.json"))
    rows = [row for result in report["Results"] for row in lake.get(result["Key"]).splitlines()]
    return [(fields[3], fields[6]) for fields in (row.split(",", 6) for row in rows)]
