"""A partition whose job was overtaken by a more urgent one waits in the triggerer, and then runs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_s3batch import CsvManifest, PutObjectTagging, S3BatchHook, S3BatchJobOperator, S3BatchPrepareOperator
from airflow_s3batch.core.folder.status import JobState
from airflow_s3batch.core.job import JobStatus
from airflow_s3batch.triggers import S3BatchTurnTrigger

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # where it was up to Airflow 3.1
    from airflow.exceptions import TaskDeferred  # type: ignore[no-redef]

if TYPE_CHECKING:
    from tests.airflow.conftest import Lake


class TaskInstance:
    """As much of Airflow's as an operator asks for."""

    dag_id, run_id, map_index = "dag", "run", -1
    try_number, max_tries = 1, 0

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def prepared(lake: Lake, uri: str, name: str, priority: int) -> dict[str, Any]:
    """The one partition of a job."""
    prepare = S3BatchPrepareOperator(
        task_id=name,
        manifest=CsvManifest(uri),
        operation=PutObjectTagging({"by": name}),
        report=f"{lake.uri}/reports",
        priority=priority,
    )
    context: Any = {"ti": TaskInstance(name)}
    (partition,) = prepare.execute(context)
    return partition


def run(partition: dict[str, Any]) -> tuple[S3BatchJobOperator, Any]:
    return S3BatchJobOperator(task_id="run", partition=partition), {"ti": TaskInstance("run")}


def test_partition_of_a_job_that_was_overtaken_waits_for_the_other_and_runs_then(lake: Lake) -> None:
    uri = lake.manifest("m.csv", objects=2)
    usual, urgent = prepared(lake, uri, "usual", 5), prepared(lake, uri, "urgent", 1)
    told = S3BatchHook().change_priority(urgent["job_id"], f"{lake.uri}/reports", priority=9)
    operator, context = run(usual)

    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    trigger: Any = deferred.value.trigger
    before = lake.tags("data/0")
    summary = operator.execute_in_turn(context, {"state": {"Status": "Complete"}})

    assert told == {"JobId": urgent["job_id"], "Priority": 9}
    assert (trigger.job_id, deferred.value.method_name) == (urgent["job_id"], "execute_in_turn")
    assert trigger.until == pytest.approx(time.time() + 900, abs=60)
    assert before == {}
    assert (summary["succeeded"], lake.tags("data/0")) == (2, {"by": "usual"})


def test_partition_of_the_job_that_overtook_runs_at_once(lake: Lake) -> None:
    uri = lake.manifest("m.csv", objects=2)
    _, urgent = prepared(lake, uri, "usual", 5), prepared(lake, uri, "urgent", 1)
    S3BatchHook().change_priority(urgent["job_id"], f"{lake.uri}/reports", priority=9)
    operator, context = run(urgent)

    assert operator.execute(context)["succeeded"] == 2


def trigger(**options: Any) -> S3BatchTurnTrigger:
    given: dict[str, Any] = {"job_id": "other", "report": {"Bucket": "arn:aws:s3:::lake"}, "until": time.time() + 60}
    return S3BatchTurnTrigger(**given | options)


@pytest.mark.parametrize(
    ("status", "over"), [("Ready", False), ("Active", False), ("Paused", True), ("Complete", True), ("Failed", True)]
)
def test_waiting_is_over_when_the_other_has_no_turn(status: str, *, over: bool) -> None:
    state = JobState(job_id="other", status=JobStatus(status), created="2026-11-24T12:00:00.000Z")

    assert trigger().is_over(state) is over
    assert trigger().is_over(None)


def test_waiting_is_over_in_time_however_the_other_stands() -> None:
    state = JobState(job_id="other", status=JobStatus.ACTIVE, created="2026-11-24T12:00:00.000Z")

    assert trigger(until=time.time() - 1).is_over(state)


def test_trigger_is_built_again_from_what_it_serializes_to() -> None:
    name, options = trigger(until=1.5, aws_conn_id="lake").serialize()

    assert name == "airflow_s3batch.triggers.S3BatchTurnTrigger"
    assert S3BatchTurnTrigger(**options).serialize() == (name, options)
    assert (options["until"], options["aws_conn_id"]) == (1.5, "lake")


def test_trigger_tells_how_the_other_stands(lake: Lake) -> None:
    job = prepared(lake, lake.manifest("m.csv", objects=1), "other", 1)
    waiting = trigger(job_id=job["job_id"], report=job["report"], until=0.0)

    async def event() -> Any:
        async for found in waiting.run():
            return found.payload
        return None

    assert asyncio.run(event())["state"]["Status"] == "Ready"
