"""The restore sensor and its trigger, against a server that takes its time."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_s3batch import (
    CopyObject,
    CsvManifest,
    RestoreObject,
    S3BatchJobOperator,
    S3BatchRestoreSensor,
    S3BatchRestoreTrigger,
    s3_batch_job,
)
from airflow_s3batch.core.errors import InvalidInput, S3BatchError
from tests.servers import Request, ScriptedServer, answer, error

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # Airflow 3.1
    from airflow.exceptions import TaskDeferred  # type: ignore[no-redef]

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context
    from airflow.triggers.base import TriggerEvent

    from tests.airflow.conftest import DagRun, Lake

REPORT = "s3://lake/reports/job-1/manifest.json"
SUMMARY = {"job_id": "1", "report_uri": REPORT, "succeeded": 2, "failed": 0}
ROWS = b"lake,a%20b,,succeeded,202,,Successful\r\nlake,c,,succeeded,202,,Successful\r\n"


class Slow:
    """Has a report of two objects, and restores each when it has been looked at so many times."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.rows = ROWS
        self.lost = False
        self.looked: dict[str, int] = {}

    def __call__(self, request: Request) -> list[bytes]:
        if request.method == "HEAD":
            if self.lost:
                return [answer(404, headers={"content-length": "0"})]
            self.looked[request.path] = seen = self.looked.get(request.path, 0) + 1
            ongoing = str(seen <= self.looks).lower()
            told = {"x-amz-storage-class": "GLACIER", "x-amz-restore": f'ongoing-request="{ongoing}"'}
            return [answer(200, headers={**told, "content-length": "0"})]
        if request.path == "/lake/reports/job-1/manifest.json":
            result = {
                "TaskExecutionStatus": "succeeded",
                "Bucket": "lake",
                "Key": "rows.csv",
                "MD5Checksum": hashlib.md5(self.rows).hexdigest(),
            }
            return [answer(200, json.dumps({"Format": "Report_CSV_20180820", "Results": [result]}).encode())]
        return [answer(200, self.rows) if request.path == "/lake/rows.csv" else error(404, "NoSuchKey")]


@pytest.fixture
def slow(connect: Callable[..., None]) -> Iterator[Slow]:
    script = Slow(looks=2)
    with ScriptedServer(script) as server:
        path_style = {"s3": {"addressing_style": "path"}}
        connect(
            "aws_default",
            login="key",
            password="secret",
            endpoint_url=server.url,
            region_name="us-east-1",
            config_kwargs=path_style,
        )
        yield script


@pytest.fixture
def context() -> Context:
    return {}


def sensor(job: Any = REPORT, **options: Any) -> S3BatchRestoreSensor:
    with DAG("dag", schedule=None):
        return S3BatchRestoreSensor(task_id="wait", job=job, **{"poke_interval": 0.05, **options})


@pytest.mark.parametrize("given", [{"mode": "reschedule"}, {"default_args": {"mode": "reschedule"}}])
def test_sensor_that_would_forget_what_it_has_seen_is_refused(given: dict[str, Any]) -> None:
    told = r"mode='reschedule' forgets at every look .* write deferrable=True, .*, or mode='poke'"
    with pytest.raises(InvalidInput, match=told):
        sensor(**given, deferrable=False)
    assert sensor(**given, deferrable=True).deferrable


def test_plus_in_a_report_of_awss_about_an_inventory_is_a_space(slow: Slow, context: Context) -> None:
    slow.rows = b"lake,a+b,,succeeded,202,,Successful\r\n"

    assert sensor(plus_is_space=True, deferrable=False).execute(context)["restored"] == 1
    assert slow.looked == {"/lake/a%20b": 3}


@pytest.mark.parametrize("job", [REPORT, SUMMARY])
def test_sensor_pokes_until_all_can_be_read(slow: Slow, context: Context, job: Any) -> None:
    told = sensor(job, deferrable=False).execute(context)

    assert told == {**(SUMMARY if job == SUMMARY else {"report_uri": REPORT}), "restored": 2}
    assert slow.looked == {"/lake/a%20b": 3, "/lake/c": 3}


def test_deferrable_sensor_looks_and_then_leaves_the_worker(slow: Slow, context: Context) -> None:
    waiting = sensor(SUMMARY, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(context)

    event = asyncio.run(anext_of(deferred.value.trigger))
    assert waiting.execute_complete(context, json.loads(json.dumps(event.payload))) == {**SUMMARY, "restored": 2}


def test_deferrable_sensor_does_not_defer_when_all_can_be_read(slow: Slow, context: Context) -> None:
    slow.looks = 0

    assert sensor(deferrable=True).execute(context)["restored"] == 2


def test_every_leg_of_the_waiting_counts_for_the_timeout(slow: Slow, context: Context) -> None:
    waiting = sensor(deferrable=True, timeout=100)
    so_far = {"report": "", "rows": 2, "restored": 0, "ongoing": [["lake", "c", None]]}
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute_complete(context, {"so_far": so_far, "began": 0.0})

    assert deferred.value.timeout is not None
    assert deferred.value.timeout.total_seconds() == 0


def test_sensor_fails_when_the_trigger_does_and_leads_to_the_report(slow: Slow, context: Context) -> None:
    waiting = sensor()

    with pytest.raises(S3BatchError, match="waiting for restores: it isn't there any more"):
        waiting.execute_complete(context, {"error": "it isn't there any more"})
    assert waiting.report_link.endswith("/lake/reports/job-1/manifest.json")


@pytest.mark.parametrize(("job", "leads"), [(REPORT, True), ("s3://lake/reports/job-2/manifest.json", False)])
def test_sensor_leads_to_a_report_that_it_has_read(slow: Slow, context: Context, job: str, *, leads: bool) -> None:
    slow.lost = True
    waiting = sensor(job)

    with pytest.raises(S3BatchError):
        waiting.poke(context)
    assert bool(waiting.report_link) is leads


@pytest.mark.parametrize("name", ["deferrable", "plus_is_space"])
def test_template_is_neither_true_nor_false(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name}='{{{{ params.it }}}}' is neither True nor False"):
        sensor(**{name: "{{ params.it }}"})


@pytest.mark.parametrize("job", [{"job_id": "1"}, None, 7])
def test_something_else_than_a_summary_is_an_error(slow: Slow, context: Context, job: Any) -> None:
    with pytest.raises(InvalidInput, match="job must be a job's summary, with report_uri"):
        sensor(job).poke(context)


def test_trigger_is_what_it_serializes_to() -> None:
    given = {
        "so_far": {"report": "5eb6", "rows": 3, "restored": 1, "ongoing": [["lake", "a b", None], ["lake", "c", "v1"]]},
        "began": 1767225600.0,
        "poke_interval": 7.0,
        "aws_conn_id": "lake",
        "region_name": "eu-west-1",
        "verify": "/ca.pem",
    }

    path, arguments = S3BatchRestoreTrigger(**given).serialize()  # type: ignore[arg-type]

    module, _, name = path.rpartition(".")
    again = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, given)


def test_trigger_tells_of_an_object_that_is_gone(slow: Slow) -> None:
    slow.lost = True
    so_far = {"report": "", "rows": 2, "restored": 1, "ongoing": [["lake", "c", None]]}
    trigger = S3BatchRestoreTrigger(so_far=so_far, began=0.0, poke_interval=0.01)

    assert "s3://lake/c: it isn't there any more" in asyncio.run(anext_of(trigger)).payload["error"]


def test_dag_goes_on_when_all_can_be_read(slow: Slow, run_dag: Callable[..., DagRun]) -> None:
    with DAG("restores", schedule=None, default_args={"retries": 0}) as dag:
        S3BatchRestoreSensor(task_id="wait", job=REPORT, poke_interval=0.1, deferrable=True)

    run = run_dag(dag)

    assert run.state == "success"
    assert run.xcom("wait") == {"report_uri": REPORT, "restored": 2}


async def anext_of(trigger: Any) -> TriggerEvent:
    async for event in trigger.run():
        found: TriggerEvent = event
        return found
    raise AssertionError("no event")


def test_group_that_waits_ends_with_the_sensor() -> None:
    with DAG("dag", schedule=None) as dag:
        s3_batch_job(
            "restore",
            manifest=CsvManifest("s3://lake/m.csv"),
            operation=RestoreObject(1, wait=True),
            report="s3://lake/reports",
            aws_conn_id="lake",
        )

    wait: Any = dag.task_dict["restore.wait"]
    assert wait.upstream_task_ids == {"restore.report"}
    assert (wait.deferrable, wait.aws_conn_id) == (True, "lake")


def test_one_task_that_runs_a_whole_job_cannot_wait() -> None:
    with (
        DAG("dag", schedule=None),
        pytest.raises(InvalidInput, match=r"S3BatchRestoreSensor\(job=<this task>.output\)"),
    ):
        S3BatchJobOperator(
            task_id="restore",
            manifest=CsvManifest("s3://lake/m.csv"),
            operation=RestoreObject(1, wait=True),
            report="s3://lake/reports",
        )


def test_next_job_reads_what_was_restored(lake: Lake, run_dag: Callable[..., DagRun]) -> None:
    for key in ("a b", "c"):
        lake.s3.put_object(Bucket=lake.bucket, Key=key, Body=b"x", StorageClass="GLACIER")
    lake.put("m.csv", f"{lake.bucket},a%20b\n{lake.bucket},c\n")
    job: dict[str, Any] = {"manifest": CsvManifest(f"{lake.uri}/m.csv"), "report": f"{lake.uri}/reports"}
    with DAG("restore_then_copy", schedule=None, default_args={"retries": 0}) as dag:
        restore = s3_batch_job("restore", operation=RestoreObject(1, wait=True), **job)
        copy = s3_batch_job(
            "copy", operation=CopyObject(lake.bucket, target_prefix="warm/", storage_class="STANDARD"), **job
        )
        restore >> copy

    run = run_dag(dag)

    assert run.state == "success"
    assert run.xcom("restore.wait") == {**run.xcom("restore.report"), "restored": 2}
    assert (run.xcom("copy.report")["succeeded"], lake.get("warm/a b")) == (2, "x")
