"""Jobs in a person's hands: the hook, and what its words do to the tasks of a DAG run."""

from __future__ import annotations

import asyncio
import json
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, XComArg, task

from airflow_s3batch import (
    CompletionReport,
    CsvManifest,
    FailureThreshold,
    Limits,
    PutObjectTagging,
    S3BatchHook,
    S3BatchJobOperator,
    S3BatchPrepareOperator,
    S3BatchReportOperator,
    s3_batch_job,
)
from airflow_s3batch.core.errors import InvalidInput, JobConflict, NoSuchJob
from airflow_s3batch.core.job import JobStatus
from airflow_s3batch.triggers import S3BatchResumeTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from tests.airflow.conftest import DagRun, Lake

    Run = Callable[..., DagRun]

COLD = PutObjectTagging({"tier": "cold"})


def job_with(dag_id: str, lake: Lake, between: Callable[[str], None], *, objects: int = 4, **arguments: Any) -> DAG:
    """A DAG of a job, in one partition, in which something happens between prepare and run."""
    uri = lake.manifest("m.csv", objects=objects)
    with DAG(dag_id, schedule=None, default_args={"retries": 2, "retry_delay": 0}) as dag:
        prepare = S3BatchPrepareOperator(
            task_id="prepare",
            manifest=CsvManifest(uri),
            operation=COLD,
            report=f"{lake.uri}/reports",
            **arguments,
        )

        @task
        def act(job: Any) -> None:
            between(job["job_id"])

        run = S3BatchJobOperator.partial(task_id="run").expand(partition=prepare.output)
        report = S3BatchReportOperator(task_id="report", job=XComArg(prepare, key="job"))
        act(XComArg(prepare, key="job")) >> run >> report
    return dag


def test_task_of_a_paused_job_gives_up_its_slot_and_goes_on_when_it_is_resumed(
    lake: Lake, run_dag: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    hook, report = S3BatchHook(), f"{lake.uri}/reports"

    def pause(job_id: str) -> None:
        told = hook.pause_job(job_id, report, reason="maintenance")
        assert told == {"JobId": job_id, "Status": "Paused", "StatusUpdateReason": "maintenance"}
        # By then the task has begun, also on a busy machine; it is resumed 5 s later at the earliest anyway.
        resuming.append(threading.Timer(12, hook.resume_job, (job_id, report)))
        resuming[0].start()

    resuming: list[threading.Timer] = []
    run = run_dag(job_with("paused", lake, pause))
    resuming[0].join()

    assert run.state == "success"
    assert run.xcom("report")["succeeded"] == 4
    told = "".join(capfd.readouterr())
    assert "is Paused: maintenance; what is done is saved, and the task waits until the job is resumed" in told
    assert "The job isn't paused any more" in told


def test_tasks_of_a_cancelled_job_fail_with_its_reason_and_without_a_retry(
    lake: Lake, run_dag: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    def cancel(job_id: str) -> None:
        assert S3BatchHook().cancel_job(job_id, f"{lake.uri}/reports", reason="by Ada")["Status"] == "Cancelled"

    run = run_dag(job_with("cancelled", lake, cancel))

    assert run.state == "failed"
    assert (run.tasks["run"], run.tasks["report"]) == (["failed"], ["failed"])
    assert "was cancelled: by Ada" in "".join(capfd.readouterr())
    assert lake.tags("data/0") == {}


def whole_job(dag_id: str, lake: Lake, uri: str) -> DAG:
    """A DAG of one task that runs a job slow enough to be paused."""
    with DAG(dag_id, schedule=None, default_args={"retries": 1, "retry_delay": 0}) as dag:
        S3BatchJobOperator(
            task_id="tag",
            manifest=CsvManifest(uri),
            operation=COLD,
            report=f"{lake.uri}/reports",
            limits=Limits(requests_per_second=8),
        )
    return dag


def run_paused(dag: DAG, lake: Lake, run_dag: Run, then: Callable[[str], Any]) -> tuple[DagRun, int]:
    """Run it, pause its job in the middle, do something; return what came of the run, and how much was done by then."""
    hook, report = S3BatchHook(), f"{lake.uri}/reports"

    def pause() -> None:
        while not (active := hook.list_jobs(report, statuses=["Active"])):
            assert not ended.wait(0.1), "the job was never Active"
        (job,) = active
        hook.pause_job(job["JobId"], report)
        while (told := hook.describe_job(job["JobId"], report))["Status"] != "Paused":
            assert not ended.wait(0.1), "the job was never Paused"
        done.append(told["ProgressSummary"]["NumberOfTasksSucceeded"])
        then(job["JobId"])

    done: list[int] = []
    ended = threading.Event()
    beside = threading.Thread(target=pause)
    beside.start()
    try:
        run = run_dag(dag)
    finally:
        ended.set()
        beside.join()
    return run, done[0]


def test_one_task_that_runs_a_whole_job_stops_in_the_middle_and_goes_on_where_it_was(lake: Lake, run_dag: Run) -> None:
    dag = whole_job("whole_paused", lake, lake.manifest("m.csv", objects=60))

    run, done = run_paused(dag, lake, run_dag, lambda job_id: S3BatchHook().resume_job(job_id, f"{lake.uri}/reports"))

    assert 0 < done < 60
    assert run.xcom("tag")["succeeded"] == 60
    attempt = json.loads(lake.get(f"reports/job-{run.xcom('tag')['job_id']}/partitions/0/attempt.json"))
    assert (attempt["Attempt"], attempt["Summary"]["skipped"]) == (2, done)


def test_whole_job_that_is_cancelled_while_it_is_paused_is_not_begun_again(lake: Lake, run_dag: Run) -> None:
    dag = whole_job("whole_cancelled", lake, lake.manifest("m.csv", objects=60))

    run, done = run_paused(dag, lake, run_dag, lambda job_id: S3BatchHook().cancel_job(job_id, f"{lake.uri}/reports"))

    assert run.state == "failed"
    assert sum(bool(lake.tags(f"data/{number}")) for number in range(60)) == done


def test_whole_job_that_is_resumed_is_the_one_that_was_paused(lake: Lake, run_dag: Run) -> None:
    """And not one of the manifest as it is now."""
    dag = whole_job("whole_changed", lake, lake.manifest("m.csv", objects=60))

    def change(job_id: str) -> None:
        lake.put("m.csv", f"{lake.bucket},data/59\n")
        S3BatchHook().resume_job(job_id, f"{lake.uri}/reports")

    run, _ = run_paused(dag, lake, run_dag, change)

    assert run.state == "failed"
    (job,) = S3BatchHook().list_jobs(f"{lake.uri}/reports")
    assert [reason["FailureCode"] for reason in job["FailureReasons"]] == ["ManifestChanged"]


def test_retry_of_prepare_does_not_undo_a_cancellation(lake: Lake, run_dag: Run) -> None:
    class LostOnce(S3BatchPrepareOperator):
        def execute(self, context: Context) -> list[dict[str, Any]]:
            partitions = super().execute(context)
            S3BatchHook().cancel_job(partitions[0]["job_id"], f"{lake.uri}/reports", reason="by Ada")
            raise RuntimeError("the worker is lost")

    with DAG("retried", schedule=None, default_args={"retries": 1, "retry_delay": 0}) as dag:
        prepare = LostOnce(
            task_id="prepare",
            manifest=CsvManifest(lake.manifest("m.csv", objects=4)),
            operation=COLD,
            report=f"{lake.uri}/reports",
        )
        S3BatchJobOperator.partial(task_id="run").expand(partition=prepare.output)

    run = run_dag(dag)

    assert (run.state, run.tasks["prepare"]) == ("failed", ["failed"])
    (job,) = S3BatchHook().list_jobs(f"{lake.uri}/reports")
    assert (job["Status"], job["StatusUpdateReason"]) == ("Cancelled", "by Ada")


def test_cancelled_job_that_no_report_follows_is_ended_by_the_retry_of_prepare(lake: Lake, run_dag: Run) -> None:
    class LostOnce(S3BatchPrepareOperator):
        def execute(self, context: Context) -> list[dict[str, Any]]:
            partitions = super().execute(context)
            job_id = partitions[0]["job_id"]
            sign = f"reports/job-{job_id}/running/0"
            lake.put(sign, "{}")  # a partition of an earlier run, which is being cleared
            told = S3BatchHook().cancel_job(job_id, f"{lake.uri}/reports", reason="by Ada")
            assert told["Status"] == "Cancelling"
            lake.put(sign, "")
            raise RuntimeError("the worker is lost")

    with DAG("followed_by_none", schedule=None, default_args={"retries": 1, "retry_delay": 0}) as dag:
        LostOnce(
            task_id="prepare",
            manifest=CsvManifest(lake.manifest("m.csv", objects=4)),
            operation=COLD,
            report=f"{lake.uri}/reports",
        )

    run = run_dag(dag)

    assert (run.state, run.tasks["prepare"]) == ("failed", ["failed"])
    (job,) = S3BatchHook().list_jobs(f"{lake.uri}/reports")
    assert (job["Status"], job["StatusUpdateReason"]) == ("Cancelled", "by Ada")


def test_job_in_which_too_many_objects_fail_is_failed_without_a_retry_and_with_a_report_of_what_ran(
    lake: Lake, run_dag: Run
) -> None:
    lake.put("m.csv", "".join(f"{lake.bucket},missing/{number}\n" for number in range(60)))
    with DAG("too_many", schedule=None, default_args={"retries": 2, "retry_delay": 0}) as dag:
        s3_batch_job(
            group_id="job",
            manifest=CsvManifest(f"{lake.uri}/m.csv"),
            operation=COLD,
            report=f"{lake.uri}/reports",
            threshold=FailureThreshold(percent=10, minimum=20),
            limits=Limits(requests_per_second=10),
        )

    run = run_dag(dag)

    assert (run.state, run.tasks["job.run"], run.tasks["job.report"]) == ("failed", ["failed"], ["failed"])
    job_id = run.xcom("job.prepare", "job")["job_id"]
    told = S3BatchHook().describe_job(job_id, f"{lake.uri}/reports")
    assert (told["Status"], told["FailureReasons"][0]["FailureCode"]) == ("Failed", "FailureThresholdExceeded")
    failed = told["ProgressSummary"]["NumberOfTasksFailed"]
    assert 20 <= failed < 60
    report = json.loads(lake.get(f"reports/job-{job_id}/manifest.json"))
    assert sum(len(lake.get(result["Key"]).splitlines()) for result in report["Results"]) == failed


class TestHook:
    @pytest.fixture
    def job_id(self, lake: Lake, run_dag: Run) -> str:
        """A job that was prepared, and hasn't run."""
        uri = lake.manifest("m.csv", objects=2)
        with DAG("prepares", schedule=None, default_args={"retries": 0}) as dag:
            S3BatchPrepareOperator(
                task_id="prepare", manifest=CsvManifest(uri), operation=COLD, report=f"{lake.uri}/reports"
            )
        return str(run_dag(dag).xcom("prepare", "job")["job_id"])

    def test_job_is_described_listed_changed_paused_resumed_and_cancelled(self, lake: Lake, job_id: str) -> None:
        hook, report = S3BatchHook(), CompletionReport(f"{lake.uri}/reports")
        described = hook.describe_job(job_id, report.to_aws())
        assert (described["Status"], described["ProgressSummary"]["TotalNumberOfTasks"]) == ("Ready", 2)
        assert hook.list_jobs(report) == [described]
        assert hook.list_jobs(report, statuses=["active", JobStatus.COMPLETE]) == []
        limits = hook.change_limits(job_id, report, in_flight=7, requests_per_second=100)
        assert (limits.in_flight, limits.requests_per_second) == (7, 100)
        assert hook.change_limits(job_id, report, requests_per_second=float("inf")).requests_per_second is None
        assert hook.describe_job(job_id, report)["Limits"]["in_flight"] == 7
        assert hook.pause_job(job_id, report)["Status"] == "Paused"
        assert hook.resume_job(job_id, report)["Status"] == "Ready"
        assert hook.cancel_job(job_id, report, reason="done with it")["StatusUpdateReason"] == "done with it"
        with pytest.raises(JobConflict, match="is Cancelled and can't become Pausing"):
            hook.pause_job(job_id, report)

    def test_job_is_in_reach_from_inside_an_event_loop(self, lake: Lake, job_id: str) -> None:
        async def ask() -> Any:
            return S3BatchHook().describe_job(job_id, f"{lake.uri}/reports")

        assert asyncio.run(ask())["JobId"] == job_id

    def test_job_that_is_nowhere_and_a_status_that_is_none_are_errors(self, lake: Lake) -> None:
        with pytest.raises(NoSuchJob, match="there is no job in s3://"):
            S3BatchHook().describe_job("0b55", f"{lake.uri}/reports")
        with pytest.raises(InvalidInput, match="'Running' is no job's status; those are New, Preparing"):
            S3BatchHook().list_jobs(f"{lake.uri}/reports", statuses=["Running"])

    @pytest.mark.parametrize("status", ["Paused", JobStatus.PAUSED])
    def test_one_status_instead_of_several_is_an_error_that_says_what_to_write(self, status: str) -> None:
        with pytest.raises(InvalidInput, match=r"^statuses='Paused' is one text; write \['Paused'\]$"):
            S3BatchHook().list_jobs("s3://lake/reports", statuses=status)


def test_resume_trigger_is_what_it_serializes_to() -> None:
    given = {
        "job_id": "0b55",
        "report": CompletionReport("s3://lake/reports").to_aws(),
        "poke_interval": 7.0,
        "aws_conn_id": "lake",
        "region_name": "eu-west-1",
        "verify": "/ca.pem",
    }

    path, arguments = S3BatchResumeTrigger(**given).serialize()  # type: ignore[arg-type]

    module, _, name = path.rpartition(".")
    again = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, given)
