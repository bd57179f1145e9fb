from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, AssetAlias, task
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_s3batch import (
    CompletionReport,
    CopyObject,
    CsvManifest,
    FilteredManifest,
    InvokeLambda,
    Limits,
    ListObjects,
    PutObjectTagging,
    S3BatchJobOperator,
    S3BatchPrepareOperator,
    S3BatchReportOperator,
)
from airflow_s3batch.core.errors import InvalidInput, JobConflict, ManifestError, Stopped
from airflow_s3batch.core.running.progress import Progress
from airflow_s3batch.failures import AirflowFailException
from airflow_s3batch.task import ProgressLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.airflow.conftest import Lake

COLD = PutObjectTagging({"tier": "cold"})

WHOLE: dict[str, Any] = {
    "manifest": CsvManifest("s3://lake/{{ ds }}/m.csv"),
    "operation": PutObjectTagging({"tier": "{{ params.tier }}", "number": "1"}),
    "report": "s3://lake/{{ ds }}",
}


def render(operator: Any, **context: Any) -> None:
    operator.render_template_fields(context)


@pytest.mark.parametrize("native", [False, True])
def test_templates_in_values_are_rendered_and_the_rest_stays_text(*, native: bool) -> None:
    with DAG("dag", schedule=None, render_template_as_native_obj=native):
        prepare: Any = S3BatchPrepareOperator(task_id="prepare", description="of {{ ds }}", **WHOLE)

    render(prepare, ds="2026-01-31", params={"tier": "12"})

    assert prepare.manifest["Location"]["ObjectArn"] == "s3://lake/2026-01-31/m.csv"
    assert prepare.operation["S3PutObjectTagging"]["TagSet"] == [
        {"Key": "tier", "Value": "12"},
        {"Key": "number", "Value": "1"},
    ]
    assert prepare.report["Bucket"] == "s3://lake/2026-01-31"
    assert prepare.description == "of 2026-01-31"


@pytest.mark.parametrize("text", ["of {{ ds }}", "{{ data_interval_start | ds }}"])
def test_template_that_needs_a_logical_date_says_so(text: str) -> None:
    with DAG("dag", schedule=None):
        prepare: Any = S3BatchPrepareOperator(
            task_id="prepare", **{**WHOLE, "manifest": CsvManifest("s3://lake/m.csv"), "report": f"s3://lake/{text}"}
        )

    told = r"is undefined; a run that was triggered without a logical date has no (ds|data_interval_start): trigger it"
    with pytest.raises(InvalidInput, match=told):
        render(prepare, params={"tier": "12"})


def test_names_in_values_are_templates_too() -> None:
    invoke = InvokeLambda("thumbnail", user_arguments={"{{ params.name }}": "{{ ds }}", "plain": "1"})
    with DAG("dag", schedule=None):
        prepare: Any = S3BatchPrepareOperator(task_id="prepare", **{**WHOLE, "operation": invoke})

    render(prepare, ds="2026-01-31", params={"name": "day"})

    assert prepare.operation["LambdaInvoke"]["UserArguments"] == {"day": "2026-01-31", "plain": "1"}


def test_names_that_are_the_same_once_rendered_are_refused() -> None:
    invoke = InvokeLambda("thumbnail", user_arguments={"{{ params.name }}": "a", "day": "b"})
    with DAG("dag", schedule=None):
        prepare: Any = S3BatchPrepareOperator(task_id="prepare", **{**WHOLE, "operation": invoke})

    with pytest.raises(InvalidInput, match="two are the same once rendered"):
        render(prepare, ds="2026-01-31", params={"name": "day"})


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("template", ["{{ ti.none }}/", "{{ ti.none }}", "a{{ none }}b", "{% set x = none %}{{ x }}"])
def test_template_that_comes_to_none_is_no_text(*, native: bool, template: str) -> None:
    copy = CopyObject("lake", target_prefix=template)
    with DAG("dag", schedule=None, render_template_as_native_obj=native):
        prepare: Any = S3BatchPrepareOperator(task_id="prepare", **{**WHOLE, "operation": copy})

    with pytest.raises(InvalidInput, match=re.escape(repr(template)) + " comes to None: .*; .* what to write instead"):
        render(prepare, ds="2026-01-31", params={"tier": "12"}, ti={"none": None})


def test_template_may_say_what_is_written_instead_of_none() -> None:
    copy = CopyObject("lake", target_prefix="{{ ti.none or 'all' }}/{% if ti.none %}x{% endif %}")
    with DAG("dag", schedule=None):
        prepare: Any = S3BatchPrepareOperator(task_id="prepare", **{**WHOLE, "operation": copy})

    render(prepare, ds="2026-01-31", params={"tier": "12"}, ti={"none": None})

    assert prepare.operation["S3PutObjectCopy"]["TargetKeyPrefix"] == "all/"


def test_connection_and_region_are_templates() -> None:
    with DAG("dag", schedule=None):
        report = S3BatchReportOperator(task_id="r", job={}, aws_conn_id="{{ c }}", region_name="{{ r }}")

    render(report, c="lake", r="eu-west-1")

    assert (report.aws_conn_id, report.region_name) == ("lake", "eu-west-1")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "manifest, operation, report missing"),
        ({**WHOLE, "operation": None}, "operation missing"),
        ({**WHOLE, "partition": {}}, "not both"),
        ({**WHOLE, "report": "lake/reports"}, "is not an S3 URI; write s3://bucket/key"),
    ],
)
def test_half_a_job_is_an_error_when_the_file_is_parsed(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        S3BatchJobOperator(task_id="run", **arguments)


@pytest.mark.parametrize("operator", [S3BatchPrepareOperator, S3BatchJobOperator])
@pytest.mark.parametrize(
    ("slip", "told"),
    [
        (
            {"manifest": "s3://lake/m.csv"},
            r"manifest='s3://lake/m.csv' is no Manifest, .* write CsvManifest\(\"s3://lake",
        ),
        ({"manifest": ["s3://lake/a"]}, r"is no Manifest, but of type list; write Objects\("),
        ({"manifest": CsvManifest}, r"manifest: CsvManifest is a class; write CsvManifest\(…\)"),
        ({"manifest": COLD}, "is no Manifest, but of type PutObjectTagging"),
        ({"operation": PutObjectTagging}, r"operation: PutObjectTagging is a class; write PutObjectTagging\(…\)"),
        ({"operation": "tag"}, r"operation='tag' is no Operation, but of type str; write PutObjectTagging\("),
        ({"limits": {"in_flight": 4}}, r"limits={'in_flight': 4} is no Limits, .* write Limits\(in_flight=…"),
        ({"threshold": 5}, r"threshold=5 is no FailureThreshold, .* write FailureThreshold\(percent=…, minimum=…\)"),
        ({"description": None}, "description=None is no text, but of type NoneType; write description='…'"),
        ({"description": "x" * 257}, "description='xxx.* has 257 characters; at most 256"),
        ({"aws_conn_id": 5}, "aws_conn_id=5 is no text, but of type int; write aws_conn_id='…'"),
        ({"region_name": ["eu-west-1"]}, r"region_name=\['eu-west-1'\] is no text, but of type list"),
        ({"verify": 1}, "verify=1 is neither True, False nor a file of CA certificates; it isn't templated"),
        ({"verify": "{{ var.value.ca }}"}, "verify='{{ var.value.ca }}' is neither True, False nor a file"),
    ],
)
def test_what_is_of_another_kind_is_an_error_when_the_file_is_parsed(
    operator: Any, slip: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        operator(task_id="run", **{**WHOLE, **slip})


@pytest.mark.parametrize("given", ["yes", "{{ params.ask }}", 1, None])
def test_whether_a_job_waits_is_said_when_the_file_is_parsed(given: Any) -> None:
    with pytest.raises(InvalidInput, match=r"confirmation_required=.* is neither True nor False; it isn't templated"):
        S3BatchPrepareOperator(task_id="prepare", confirmation_required=given, **WHOLE)


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        ({"job_id": 4711}, "job_id=4711 is no text, but of type int; write job_id='…'"),
        ({"job_id": "4711-abc", "prices": "PUT"}, "prices='PUT' is no dictionary"),
    ],
)
def test_job_that_was_prepared_before_is_named_by_a_text(slip: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        S3BatchPrepareOperator(task_id="prepare", report="s3://lake/reports", **slip)


def test_texts_may_be_what_other_tasks_return() -> None:
    with DAG("dag", schedule=None) as dag:

        @task
        def choose() -> str:
            return ""

        chosen: Any = choose()
        S3BatchPrepareOperator(
            task_id="prepare", description=chosen, aws_conn_id=chosen, region_name=chosen, verify="/ca.pem", **WHOLE
        )

    assert dag.task_dict["prepare"].upstream_task_ids == {"choose"}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", ["job_id", "description"])
def test_template_of_a_text_that_comes_to_none_is_an_error(name: str, *, native: bool) -> None:
    with DAG("dag", schedule=None, render_template_as_native_obj=native):
        asked: dict[str, Any] = {"report": "s3://lake/reports"} if name == "job_id" else WHOLE
        prepare = S3BatchPrepareOperator(task_id="p", **{**asked, name: "{{ params.it }}"})

    with pytest.raises(InvalidInput, match=r"'{{ params.it }}' comes to None: .* what to write instead"):
        render(prepare, ds="2026-01-31", params={"it": None, "tier": "cold"})


@pytest.mark.parametrize("name", ["aws_conn_id", "region_name"])
def test_connection_and_region_may_be_left_out_by_native_rendering_only(name: str) -> None:
    def reporting(template: str, *, native: bool) -> Any:
        with DAG("dag", schedule=None, render_template_as_native_obj=native):
            return S3BatchReportOperator(task_id="r", job={}, **{name: template})

    left_out = reporting("{{ params.it }}", native=True)
    render(left_out, params={"it": None})
    assert getattr(left_out, name) is None

    for text in (reporting("{{ params.it }}", native=False), reporting("eu-{{ params.it }}", native=True)):
        with pytest.raises(InvalidInput, match=r"comes to None: .* what to write instead"):
            render(text, params={"it": None})


def test_job_by_the_id_that_a_task_did_not_return_is_an_error_and_no_new_job(context: Any, connect: Any) -> None:
    connect("aws_default", login="key", password="secret", region_name="us-east-1")
    with DAG("dag", schedule=None, render_template_as_native_obj=True):
        prepare = S3BatchPrepareOperator(task_id="p", report="s3://lake/reports", job_id="{{ params.it or none }}")
    prepare.job_id = None  # what rendering makes of another task's output

    with pytest.raises(AirflowFailException, match="job_id=None is no text, but of type NoneType"):
        prepare.execute(context)


@pytest.mark.parametrize("name", ["manifest", "operation"])
def test_template_may_stand_for_a_whole_description(name: str) -> None:
    with DAG("dag", schedule=None, render_template_as_native_obj=True):
        prepare: Any = S3BatchPrepareOperator(task_id="p", **{**WHOLE, name: "{{ params.it }}"})

    render(prepare, ds="2026-01-31", params={"it": {"A": 1}, "tier": "cold"})

    assert getattr(prepare, name) == {"A": 1}


def test_small_job_is_announced_under_its_location() -> None:
    assert S3BatchJobOperator(task_id="run", **WHOLE).outlets == [AssetAlias("s3://lake/{{ ds }}")]


@pytest.mark.parametrize(
    ("operator", "told"),
    [
        (
            S3BatchJobOperator(task_id="run", partition={"job_id": "1"}),
            "partition must be what S3BatchPrepareOperator gives",
        ),
        (S3BatchReportOperator(task_id="report", job={"id": "1"}), "job must be what S3BatchPrepareOperator gives"),
        (S3BatchPrepareOperator(task_id="p", **WHOLE), "holds a template that was never rendered"),
        (S3BatchPrepareOperator(task_id="p", max_partitions=5000, **WHOLE), "raise .core. max_map_length"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_job_that_cannot_be_fails_without_a_retry_before_s3_is_asked(operator: Any, told: str, connect: Any) -> None:
    connect("aws_default", login="key", password="secret", endpoint_url="http://127.0.0.1:9")

    with pytest.raises(AirflowFailException, match=told):
        operator.execute({})


class TaskInstance:
    """As much of Airflow's as an operator asks for."""

    dag_id, run_id, task_id, map_index = "dag", "run", "tag", -1
    try_number, max_tries = 1, 0

    def xcom_push(self, key: str, value: Any) -> None:
        """Take the link."""


@pytest.fixture
def context() -> Any:
    return {"ti": TaskInstance(), "outlet_events": OutletEventAccessors()}


def whole(lake: Lake, uri: str, **options: Any) -> S3BatchJobOperator:
    report = f"{lake.uri}/reports"
    return S3BatchJobOperator(task_id="tag", manifest=CsvManifest(uri), operation=COLD, report=report, **options)


@contextmanager
def once_tagged(lake: Lake, key: str, do: Callable[[], None]) -> Iterator[None]:
    """Meanwhile wait until the job has come to this object, and then do something to it."""

    def watch() -> None:
        while not lake.tags(key):
            time.sleep(0.02)
        do()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield
    watcher.join()


def test_killed_task_saves_what_it_has_done_and_the_next_try_goes_on(
    lake: Lake, context: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = lake.manifest("m.csv", objects=100)
    killed = whole(lake, uri, limits=Limits(in_flight=4, requests_per_second=20))

    with once_tagged(lake, "data/9", killed.on_kill), pytest.raises(Stopped, match="to go on from there"):
        killed.execute(context)
    tagged = sum(bool(lake.tags(f"data/{number}")) for number in range(100))
    assert f"Stopped after {tagged} of 100 objects, 0 failed; the next run goes on" in "".join(capfd.readouterr())
    whole(lake, uri).execute(context)

    assert 10 <= tagged < 100
    (attempt,) = [key for key in lake.keys("reports/") if key.endswith("attempt.json")]
    assert tagged - 4 <= json.loads(lake.get(attempt))["Summary"]["skipped"] <= tagged


def test_manifest_with_a_wrong_row_fails_the_task_without_a_retry(lake: Lake, context: Any) -> None:
    lake.put("m.csv", f"{lake.bucket},a\n\n")

    with pytest.raises(AirflowFailException, match=r"m\.csv, row 2: a blank line; remove it"):
        whole(lake, f"{lake.uri}/m.csv").execute(context)


def test_filter_that_keeps_no_row_fails_the_task_without_a_retry(lake: Lake, context: Any) -> None:
    lake.put("m.csv", f"bucket,key\n{lake.bucket},a\n")
    job = whole(lake, f"{lake.uri}/m.csv")
    job.manifest = FilteredManifest(CsvManifest(f"{lake.uri}/m.csv", header=True), where="key = 'b'")

    with pytest.raises(AirflowFailException, match=r"m\.csv, where=.*key = 'b'.*: none of 1 row is wanted; a job"):
        job.execute(context)


def test_listing_that_finds_nothing_yet_is_left_to_airflows_retries(lake: Lake, context: Any) -> None:
    job = whole(lake, f"{lake.uri}/m.csv")
    job.manifest = ListObjects(lake.bucket, prefixes="raw/")

    with pytest.raises(ManifestError, match="prefixes='raw/': there are no objects; a job needs at least one"):
        job.execute(context)


def test_manifest_that_is_not_there_yet_is_left_to_airflows_retries(lake: Lake, context: Any) -> None:
    with pytest.raises(ManifestError, match=r"m\.csv: the manifest doesn't exist"):
        whole(lake, f"{lake.uri}/m.csv").execute(context)


@pytest.mark.parametrize(("missing", "level"), [(0, "info"), (2, "warning")])
def test_objects_that_failed_are_told_at_level_warning(
    lake: Lake, context: Any, missing: int, level: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole(lake, lake.manifest("m.csv", objects=3, missing=missing)).execute(context)

    told = "".join(capfd.readouterr()).splitlines()
    (of_partition,) = [line for line in told if f"3 succeeded, {missing} failed" in line]
    (of_job,) = [line for line in told if "failed     " in line]
    assert level in of_partition.partition(" 3 succeeded")[0]
    assert level in of_job.partition("failed  ")[0]


def test_task_that_was_killed_before_it_ran_does_nothing(lake: Lake, context: Any) -> None:
    operator = whole(lake, lake.manifest("m.csv", objects=1))
    operator.on_kill()

    with pytest.raises(Stopped):
        operator.execute(context)
    assert lake.tags("data/0") == {}


@pytest.mark.parametrize(("max_tries", "status"), [(1, "Active"), (0, "Failed")])
def test_job_of_a_task_that_fails_is_failed_at_its_last_try(
    lake: Lake, context: Any, max_tries: int, status: str
) -> None:
    uri = lake.manifest("m.csv", objects=1)
    prepare = S3BatchPrepareOperator(
        task_id="tag", manifest=CsvManifest(uri), operation=COLD, report=f"{lake.uri}/reports"
    )
    folder = f"reports/job-{prepare.execute(context)[0]['job_id']}"
    lake.put(f"{folder}/partitions/0/checkpoint-000001.json", "{}")
    context["ti"].max_tries = max_tries

    with pytest.raises(JobConflict, match="checkpoint-000001"):
        whole(lake, uri).execute(context)
    assert json.loads(lake.get(f"{folder}/status.json"))["Status"] == status


def test_job_that_cannot_go_on_is_failed_for_those_who_wait_for_it(lake: Lake, context: Any) -> None:
    uri = lake.manifest("m.csv", objects=100)
    operator = whole(lake, uri, limits=Limits(in_flight=1, requests_per_second=20), rows_per_partition=50)

    def change() -> None:
        lake.put("m.csv", f"{lake.bucket},other\n")

    with once_tagged(lake, "data/0", change), pytest.raises(AirflowFailException, match="the manifest was changed"):
        operator.execute(context)
    (status,) = [key for key in lake.keys("reports/") if key.endswith("status.json")]
    assert json.loads(lake.get(status))["Status"] == "Failed"


def test_partition_that_is_cleared_alone_brings_the_report_up_to_date(lake: Lake, context: Any) -> None:
    uri = lake.manifest("m.csv", objects=3, missing=1)
    job: dict[str, Any] = {"manifest": CsvManifest(uri), "operation": COLD, "report": f"{lake.uri}/reports"}
    partitions = S3BatchPrepareOperator(task_id="prepare", rows_per_partition=2, **job).execute(context)
    runs = [S3BatchJobOperator(task_id="run", partition=partition) for partition in partitions]
    for run in runs:
        run.execute(context)
    before = S3BatchReportOperator(task_id="report", job=partitions[0]).execute(context)
    lake.put("missing/0")

    assert runs[1].execute(context)["succeeded"] == 2
    (status,) = [json.loads(lake.get(key)) for key in lake.keys("reports/") if key.endswith("status.json")]
    assert (status["Status"], status["ProgressSummary"]["NumberOfTasksFailed"]) == ("Complete", 0)
    report = json.loads(lake.get(before["report_uri"].removeprefix(f"{lake.uri}/")))
    assert before["failed"] == 1
    assert [result["TaskExecutionStatus"] for result in report["Results"]] == ["succeeded"] * len(report["Results"])


def test_job_by_its_id_is_cleared_as_a_whole_in_the_dag_run_that_ran_it_and_in_no_other(
    lake: Lake, context: Any, caplog: pytest.LogCaptureFixture
) -> None:
    report = f"{lake.uri}/reports"
    manifest = CsvManifest(lake.manifest("m.csv", objects=3))
    rehearsal = S3BatchPrepareOperator(
        task_id="rehearse", manifest=manifest, operation=COLD, report=report, confirmation_required=True
    )
    job_id = rehearsal.execute(context)[0]["job_id"]
    prepare = S3BatchPrepareOperator(task_id="prepare", job_id=job_id, report=report)

    def perform() -> Any:
        for partition in prepare.execute(context):
            S3BatchJobOperator(task_id="run", partition=partition).execute(context)
        return S3BatchReportOperator(task_id="report", job=partition).execute(context)

    context["ti"].run_id = "performance"
    first, cleared = perform(), perform()
    context["ti"].run_id = "another"

    assert (first["status"], cleared["status"], cleared["succeeded"]) == ("Complete", "Complete", 3)
    assert "is Complete already: 3 of its 3 objects have succeeded, and aren't done again" in caplog.text
    with pytest.raises(AirflowFailException, match="is Complete, and doesn't run again by its id"):
        prepare.execute(context)


def test_unknown_job_by_its_id_fails_without_a_retry(lake: Lake, context: Any) -> None:
    prepare = S3BatchPrepareOperator(task_id="prepare", job_id="d3f46bf0-nobodys", report=f"{lake.uri}/reports")

    with pytest.raises(AirflowFailException, match=f"there is none in {lake.uri}/reports; see that report="):
        prepare.execute(context)


def test_partition_of_an_unknown_job_fails_without_a_retry(lake: Lake, context: Any) -> None:
    partition = {"job_id": "nobodys", "report": CompletionReport(f"{lake.uri}/reports").to_aws(), "number": 0}

    with pytest.raises(AirflowFailException, match="nobodys isn't prepared"):
        S3BatchJobOperator(task_id="run", partition=partition).execute(context)


def test_log_names_the_rows_of_each_partition(lake: Lake, context: Any, capsys: pytest.CaptureFixture[str]) -> None:
    whole(lake, lake.manifest("m.csv", objects=3), rows_per_partition=2).execute(context)

    told = capsys.readouterr().out
    assert "partition 0, rows 1 to 1 of 3: S3PutObjectTagging" in told
    assert "partition 1, rows 2 to 3 of 3: S3PutObjectTagging" in told


def test_progress_is_logged_every_ten_seconds() -> None:
    now = 0.0
    lines: list[str] = []
    log = ProgressLog(lambda _, line: lines.append(line), clock=lambda: now)

    for second in range(35):
        now = float(second)
        log(Progress(done=1000 * second, failed=second, total=40_000, rate=1000.0, seconds_left=40.0 - second))

    assert [line.partition(" ")[0] for line in lines] == ["10,000", "20,000", "30,000"]
    assert lines[0] == "10,000 of 40,000 objects (25 %), 10 failed, 1,000 objects/s, 30 s left"


def test_airflow_may_give_the_job_in_the_words_of_aws() -> None:
    operation = {"S3PutObjectTagging": {"TagSet": [{"Key": "tier", "Value": "{{ tier }}"}]}}
    with DAG("dag", schedule=None):
        prepare: Any = S3BatchPrepareOperator(
            task_id="p",
            manifest=CsvManifest("s3://lake/m.csv").to_aws(),
            operation=operation,
            report=CompletionReport("s3://lake/reports").to_aws(),
        )

    render(prepare, tier="cold")

    assert prepare.operation == PutObjectTagging({"tier": "cold"}).to_aws()
