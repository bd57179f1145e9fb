"""A job under a real scheduler, triggerer and executor is paused, resumed, and cancelled, from beside Airflow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from airflow_s3batch.core.control.controls import Controls
from airflow_s3batch.core.engine import S3, Credentials, S3Access, run
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.location import S3Location
from demo.audit import audit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from demo.airflow import Airflow
    from demo.lake import Lake
    from demo.stage import Stage

pytestmark = pytest.mark.e2e

SLOW, LONG = "slow_job", "long_job"
PATIENCE = 300.0
REPORTS = S3Location("lake", "reports")


class Job:
    """A run of the slow job, once it is on its way."""

    def __init__(self, stage: Stage, run_id: str, dag_id: str = SLOW) -> None:
        self.airflow: Airflow = stage.airflow
        self.dag_id, self.run_id = dag_id, run_id
        self._access = S3Access(credentials=lambda: Credentials("key", "secret"), endpoint_url=stage.s3_url)
        self.airflow.unpause(dag_id)
        self.airflow.trigger(dag_id, run_id)
        self.airflow.wait("prepare", lambda: self.tasks("tag.prepare") == ["success"], PATIENCE)
        self.job_id: str = self.xcom("tag.prepare", "job")["job_id"]

    def do(self, what: Callable[[Controls], Awaitable[Any]]) -> Any:
        return self._in_s3(lambda s3: what(Controls(s3, REPORTS, self.job_id)))

    def look(self, what: Callable[[JobFolder], Awaitable[Any]]) -> Any:
        return self._in_s3(lambda s3: what(JobFolder(s3, REPORTS, self.job_id)))

    def _in_s3(self, what: Callable[[S3], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            async with S3(self._access) as s3:
                return await what(s3)

        return run(main())

    def wait_for(self, status: str) -> dict[str, Any]:
        """Wait until the job is in a status; return what is told of it then."""

        def described() -> dict[str, Any] | None:
            told: dict[str, Any] = self.do(Controls.describe)
            return told if told["Status"] == status else None

        return dict(self.airflow.wait(f"the job to be {status}", described, PATIENCE))

    def tasks(self, task_id: str) -> list[str]:
        """The states of a task's instances."""
        return [task["state"] for task in self.airflow.tasks(self.dag_id, self.run_id) if task["task_id"] == task_id]

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        return self.airflow.xcom(self.dag_id, self.run_id, task_id, key)

    def ended(self) -> str:
        return self.airflow.ended(self.dag_id, self.run_id)


def test_paused_job_holds_no_slot_and_goes_on_where_it_was(running: Stage, s3: Any, lake: Lake) -> None:
    job = Job(running, "paused")
    job.wait_for("Active")
    job.do(lambda controls: controls.pause("maintenance"))
    done = job.wait_for("Paused")["ProgressSummary"]
    job.airflow.wait("all to be deferred", lambda: set(job.tasks("tag.run")) == {"deferred"}, PATIENCE)
    job.do(lambda controls: controls.resume())

    assert job.ended() == "success"
    summary = job.xcom("tag.report")
    assert done["NumberOfTasksSucceeded"] < summary["succeeded"]
    assert [
        check for check in audit(s3, lake.cold(), {"tier": "cold", "run": "paused"}, summary) if not check.good
    ] == []


def test_cancelled_job_ends_with_a_report_of_what_ran(running: Stage, s3: Any) -> None:
    job = Job(running, "cancelled")
    job.wait_for("Active")
    job.do(lambda controls: controls.cancel("wrong tag"))

    assert job.ended() == "failed"
    assert set(job.tasks("tag.run")) == {"failed"}
    told = job.wait_for("Cancelled")
    progress = told["ProgressSummary"]
    ran = progress["NumberOfTasksSucceeded"] + progress["NumberOfTasksFailed"]
    assert ran < progress["TotalNumberOfTasks"]
    assert "wrong tag" in "\n".join(job.airflow.log(SLOW, "cancelled", "tag.run", map_index=0))


@pytest.mark.parametrize("state", ["failed", "success"])
def test_partition_that_is_marked_in_the_ui_has_saved_all_that_it_did(running: Stage, s3: Any, state: str) -> None:
    run_id = f"marked_{state}"
    job = Job(running, run_id, LONG)
    job.wait_for("Active")
    job.airflow.wait("some objects to be done", lambda: job.look(progress_of_the_first) > 50, PATIENCE)
    job.airflow.mark(LONG, run_id, "tag.run", state, map_index=0)
    job.airflow.wait("the partition to stop", lambda: job.look(first_is_over), PATIENCE)

    rows = job.xcom("tag.prepare")[0]["rows"]
    lines = s3.get_object(Bucket="lake", Key="manifests/cold.csv")["Body"].read().decode().splitlines()[:rows]
    with ThreadPoolExecutor(16) as pool:
        tagged = list(pool.map(lambda line: is_tagged(s3, line, run_id), lines))
    done = {row for row, has_tag in enumerate(tagged, 1) if has_tag}
    assert 50 < len(done) < rows
    assert set(job.look(saved_of_the_first)) == done
    assert job.ended() == "failed"


async def progress_of_the_first(folder: JobFolder) -> int:
    sign = await folder.read_sign(0)
    return 0 if sign is None else sign.counts.succeeded


async def first_is_over(folder: JobFolder) -> bool:
    attempt = await folder.read_attempt(0)
    return attempt is not None and attempt.halt is not None


async def saved_of_the_first(folder: JobFolder) -> list[int]:
    checkpoints = await folder.read_checkpoints(0)
    return [row for checkpoint in checkpoints for row in checkpoint.succeeded]


def is_tagged(s3: Any, line: str, run_id: str) -> bool:
    bucket, _, key = line.partition(",")
    try:
        tags = s3.get_object_tagging(Bucket=bucket, Key=unquote(key))["TagSet"]
    except s3.exceptions.ClientError:  # one of those that aren't there
        return False
    return {"Key": "run", "Value": run_id} in tags
