"""What comes before a job runs, on a real Airflow: a person's word, a rehearsal, other jobs' turns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from airflow_s3batch.core.control.turn import change_priority
from airflow_s3batch.core.engine import S3, Credentials, S3Access
from airflow_s3batch.core.location import S3Location
from demo.lake import BUCKET

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from demo.stage import Stage

pytestmark = pytest.mark.e2e

PATIENCE = 300.0
MANY, FEW = 6, 2
"""Partitions of the job that is overtaken, and of the one that overtakes."""


@pytest.fixture(scope="module")
def airflow(running: Stage) -> Airflow:
    airflow = running.airflow
    airflow.post("pools", name="one_at_a_time", slots=1)
    return airflow


def put(s3: Any, dag_id: str, objects: int) -> list[str]:
    """The DAG's manifest, and what it lists."""
    keys = [f"before/{dag_id}/{number}" for number in range(objects)]
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    body = "".join(f"{BUCKET},{key}\n" for key in keys)
    s3.put_object(Bucket=BUCKET, Key=f"manifests/{dag_id}.csv", Body=body.encode())
    return keys


def tagged(s3: Any, keys: list[str], by: str) -> int:
    found = [s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"] for key in keys]
    return found.count([{"Key": "by", "Value": by}])


def states(airflow: Airflow, dag_id: str, run_id: str, *wanted: str) -> dict[str, str]:
    """The tasks' states, only of those in one of these if some are named."""
    tasks = airflow.tasks(dag_id, run_id)
    return {task["task_id"]: task["state"] for task in tasks if not wanted or task["state"] in wanted}


def question(airflow: Airflow, dag_id: str, run_id: str) -> dict[str, Any]:
    """What a person is asked; empty if nobody is, at this moment."""
    if not states(airflow, dag_id, run_id, "awaiting_input", "deferred").get("job.confirm"):
        return {}
    found = dict(airflow.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/job.confirm/-1/hitlDetails"))
    return {} if found["response_received"] else found


def answered(airflow: Airflow, dag_id: str, run_id: str, choice: str) -> str:
    """Answer, as often as it is asked, until the run has ended; return its state.

    An answer that comes before Airflow's scheduler knows that the task waits fails the task, which then asks again.
    """

    def state() -> str | None:
        if question(airflow, dag_id, run_id):
            airflow.answer(dag_id, run_id, "job.confirm", choice)
        found = airflow.state(dag_id, run_id)
        return found if found in {"success", "failed"} else None

    return str(airflow.wait(f"the run {run_id} of {dag_id}", state, 3 * PATIENCE))


def last_log(airflow: Airflow, dag_id: str, run_id: str, task_id: str) -> str:
    """The log of the task's last try."""
    tries = {task["task_id"]: task["try_number"] for task in airflow.tasks(dag_id, run_id)}
    return "\n".join(airflow.log(dag_id, run_id, task_id, attempt=tries[task_id]))


def test_confirmed_job_runs_and_refused_one_does_not(airflow: Airflow, s3: Any) -> None:
    keys = put(s3, "asking", 5)
    airflow.unpause("asking")
    for run_id in ("refused", "confirmed"):
        airflow.trigger("asking", run_id)
    told = airflow.wait("the question", lambda: question(airflow, "asking", "confirmed"), PATIENCE)
    refused = answered(airflow, "asking", "refused", "Reject")
    before = tagged(s3, keys, "asking")

    assert answered(airflow, "asking", "confirmed", "Approve") == "success"
    assert tagged(s3, keys, "asking") == 5
    assert airflow.xcom("asking", "confirmed", "job.report")["succeeded"] == 5
    assert (refused, before) == ("failed", 0)
    assert states(airflow, "asking", "refused") == {
        "job.prepare": "success",
        "job.confirm": "failed",
        "job.run": "upstream_failed",
        "job.report": "upstream_failed",
    }
    assert "has refused it. Nothing is touched" in last_log(airflow, "asking", "refused", "job.confirm")
    assert told["subject"] == "S3PutObjectTagging on 5 objects?"
    assert "s3://lake/before/asking/4" in told["body"]


def test_job_that_nobody_confirms_fails_and_touches_nothing(airflow: Airflow, s3: Any) -> None:
    keys = put(s3, "asking_briefly", 2)
    airflow.unpause("asking_briefly")
    airflow.trigger("asking_briefly", "late")

    assert airflow.ended("asking_briefly", "late") == "failed"
    assert states(airflow, "asking_briefly", "late")["job.run"] == "upstream_failed"
    assert tagged(s3, keys, "asking_briefly") == 0


def test_what_a_rehearsal_found_is_run_by_its_id_and_cleared_where_it_was_run(airflow: Airflow, s3: Any) -> None:
    keys = put(s3, "rehearsal", 7)
    for dag_id in ("rehearsal", "performance"):
        airflow.unpause(dag_id)
    airflow.trigger("rehearsal", "try")
    assert airflow.ended("rehearsal", "try") == "success"
    before = tagged(s3, keys, "rehearsal")
    told = airflow.xcom("rehearsal", "try", "job.prepare", "estimate")
    airflow.trigger("performance", "go", job_id=told["job_id"])

    assert airflow.ended("performance", "go") == "success"
    assert (before, tagged(s3, keys, "rehearsal")) == (0, 7)
    assert told["objects"] == 7
    assert told["requests"][0]["times"] == 7
    assert airflow.xcom("performance", "go", "job.report")["job_id"] == told["job_id"]

    airflow.post(
        "dags/performance/clearTaskInstances",
        dry_run=False,
        dag_run_id="go",
        task_ids=["job.prepare"],
        include_downstream=True,
        reset_dag_runs=True,
        only_failed=False,
    )
    airflow.trigger("performance", "another", job_id=told["job_id"])

    assert airflow.ended("performance", "go") == "success"
    assert "is Complete already: 7 of its 7 objects" in last_log(airflow, "performance", "go", "job.prepare")
    assert airflow.ended("performance", "another") == "failed"
    assert "doesn't run again by its id" in last_log(airflow, "performance", "another", "job.prepare")


def begun(airflow: Airflow, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """The DAG run's partitions that have begun."""
    tasks = airflow.tasks(dag_id, run_id)
    return [task for task in tasks if task["task_id"] == "job.run" and task["start_date"]]


def waiting(airflow: Airflow, dag_id: str, run_id: str) -> bool:
    """Whether the DAG run has partitions that wait for a slot of their pool."""
    return "job.run" in states(airflow, dag_id, run_id, "scheduled")


def in_order(airflow: Airflow, date: str, dag_ids: tuple[str, str], run_id: str) -> list[str]:
    """Whose partitions they are, in the order of their dates."""
    dates = [(task[date], dag_id) for dag_id in dag_ids for task in begun(airflow, dag_id, run_id)]
    return [dag_id for _, dag_id in sorted(dates)]


def test_partitions_of_the_more_urgent_job_go_first(airflow: Airflow, s3: Any) -> None:
    for dag_id, partitions in (("less_urgent", MANY), ("urgent", FEW)):
        put(s3, dag_id, partitions * 20)
        airflow.unpause(dag_id)
    airflow.trigger("less_urgent", "go")

    airflow.wait("the first partition", lambda: begun(airflow, "less_urgent", "go"), PATIENCE)
    airflow.trigger("urgent", "go")
    for dag_id in ("less_urgent", "urgent"):
        assert airflow.ended(dag_id, "go") == "success"

    order = in_order(airflow, "start_date", ("less_urgent", "urgent"), "go")
    assert order[0] == "less_urgent"
    # From when the urgent job's partitions wait, none of the other's begins before them.
    first = order.index("urgent")
    assert order[first : first + FEW] == ["urgent"] * FEW
    assert order[first + FEW :] == ["less_urgent"] * (MANY - first)
    assert first < MANY


def test_job_that_is_made_more_urgent_overtakes_one_that_runs(airflow: Airflow, s3: Any, running: Stage) -> None:
    for dag_id, partitions in (("less_urgent", MANY), ("least_urgent", FEW)):
        put(s3, dag_id, partitions * 20)
        airflow.unpause(dag_id)
        airflow.trigger(dag_id, "overtaken")
    airflow.wait("the first partition", lambda: begun(airflow, "less_urgent", "overtaken"), PATIENCE)
    airflow.wait("the other job", lambda: waiting(airflow, "least_urgent", "overtaken"), PATIENCE)
    job_id = airflow.xcom("least_urgent", "overtaken", "job.prepare", "job")["job_id"]
    asyncio.run(change(running.s3_url, job_id, 10))
    for dag_id in ("less_urgent", "least_urgent"):
        assert airflow.ended(dag_id, "overtaken") == "success"

    order = in_order(airflow, "end_date", ("less_urgent", "least_urgent"), "overtaken")
    assert order[-2:] == ["less_urgent", "less_urgent"]


async def change(s3_url: str, job_id: str, priority: int) -> None:
    access = S3Access(credentials=lambda: Credentials("demo-access", "demo-secret"), endpoint_url=s3_url)
    async with S3(access) as s3:
        await change_priority(s3, S3Location("lake", "reports"), job_id, priority)
