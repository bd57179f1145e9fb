"""A job waits for a person in Airflow's own approval, and what the person sees and says."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, TriggerRule, task

from airflow_s3batch import (
    Confirm,
    CsvManifest,
    DeleteObjects,
    PutObjectTagging,
    S3BatchConfirmOperator,
    S3BatchHook,
    S3BatchPrepareOperator,
    s3_batch_job,
)
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.failures import AirflowFailException
from tests.airflow.person import answering, from_airflow_3_3

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_s3batch.core.operations import Operation
    from tests.airflow.conftest import DagRun, Lake

    Run = Callable[..., DagRun]

COLD = PutObjectTagging({"tier": "cold"})
DEFAULTS = {"retries": 0}


def status(lake: Lake) -> dict[str, Any]:
    (key,) = [key for key in lake.keys("reports/") if key.endswith("/status.json")]
    told: dict[str, Any] = json.loads(lake.get(key))
    return told


def asking(lake: Lake, name: str, *, objects: int = 3, operation: Operation = COLD, **options: Any) -> DAG:
    lake.manifest("m.csv", objects=objects)
    with DAG(name, schedule=None, default_args=DEFAULTS) as dag:
        job = s3_batch_job(
            group_id="tag",
            manifest=CsvManifest(f"{lake.uri}/m.csv"),
            operation=operation,
            report=f"{lake.uri}/reports",
            confirm=True,
            **options,
        )

        @task(trigger_rule=TriggerRule.NONE_FAILED)
        def use(summary: Any) -> int:
            return int(summary["succeeded"])

        use(job.output)
    return dag


@from_airflow_3_3
def test_approved_job_runs_after_the_person_saw_what_it_would_do(lake: Lake, run_dag: Run) -> None:
    with answering("approved", "Approve") as person:
        run = run_dag(asking(lake, "approved", prices={"PUT": 1000.0}, description="Cool\x1b the lake"))

    assert run.state == "success"
    assert run.xcom("use") == 3
    assert person.subject == r"Cool\x1b the lake: S3PutObjectTagging on 3 objects?"
    assert f"s3://{lake.bucket}/data/0" in person.body
    assert '"Key": "tier"' in person.body
    assert r"3 PutObjectTagging\, \$3\.00" in person.body
    assert run.xcom("tag.confirm") == {"job_id": run.xcom("tag.report")["job_id"], "confirmed_by": "ada"}
    assert all(lake.tags(f"data/{number}") == {"tier": "cold"} for number in range(3))


@from_airflow_3_3
def test_refused_job_is_cancelled_and_nothing_takes_it_for_done(lake: Lake, run_dag: Run) -> None:
    with answering("refused", "Reject") as person:
        run = run_dag(asking(lake, "refused", objects=1))

    assert run.state == "failed"
    assert person.subject == "S3PutObjectTagging on 1 object?"
    states = {name: run.tasks[name] for name in ("tag.confirm", "tag.run", "tag.report", "use")}
    assert states == {
        "tag.confirm": ["failed"],
        "tag.run": ["upstream_failed"],
        "tag.report": ["upstream_failed"],
        "use": ["upstream_failed"],
    }
    told = status(lake)
    assert (told["Status"], told["StatusUpdateReason"]) == ("Cancelled", "Refused by ada")
    assert lake.tags("data/0") == {}


@from_airflow_3_3
def test_person_is_told_that_what_is_deleted_is_gone_for_good(lake: Lake, run_dag: Run) -> None:
    with answering("deleting", "Reject") as person:
        run_dag(asking(lake, "deleting", operation=DeleteObjects()))

    assert f"\n| versioning | ` {lake.bucket} keeps no versions: the objects are gone for good ` |\n" in person.body
    assert len(lake.keys("data/")) == 3


# One leg of the task alone


class TaskInstance:
    """As much of Airflow's as an operator asks for."""

    dag_id, run_id, task_id, map_index = "dag", "run", "confirm", -1
    try_number, max_tries = 1, 0

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


@pytest.fixture
def context() -> Any:
    return {"ti": TaskInstance()}


def prepared(lake: Lake, context: Any, operation: Operation = COLD, **options: Any) -> S3BatchConfirmOperator:
    prepare = S3BatchPrepareOperator(
        task_id="prepare",
        manifest=CsvManifest(lake.manifest("m.csv", objects=3)),
        operation=operation,
        report=f"{lake.uri}/reports",
        confirmation_required=True,
    )
    prepare.execute(context)
    return S3BatchConfirmOperator(task_id="confirm", job=context["ti"].xcoms["job"], **options)


def answered(choice: str, **by: Any) -> dict[str, Any]:
    return {
        "chosen_options": [choice],
        "params_input": {},
        "responded_at": datetime.now(timezone.utc),
        "responded_by_user": by or None,
    }


def test_prepare_leaves_the_job_suspended_with_its_estimate(lake: Lake, context: Any) -> None:
    prepared(lake, context)

    told = context["ti"].xcoms["estimate"]
    assert (told["objects"], told["operation"]) == (3, "S3PutObjectTagging")
    assert told["job_id"] == context["ti"].xcoms["job"]["job_id"]
    assert told["dollars"] is None  # the store isn't Amazon's
    assert (status(lake)["Status"], status(lake)["SuspendedCause"]) == ("Suspended", "AwaitingConfirmation")


def test_estimate_says_of_a_bucket_that_keeps_versions_that_the_objects_come_back(lake: Lake, context: Any) -> None:
    lake.s3.put_bucket_versioning(Bucket=lake.bucket, VersioningConfiguration={"Status": "Enabled"})

    prepared(lake, context, DeleteObjects())

    told = context["ti"].xcoms["estimate"]["versioning"]
    assert told == f"{lake.bucket} keeps versions: the objects get delete markers, and UndeleteObject brings them back"


def test_job_that_was_confirmed_is_not_asked_about_again(lake: Lake, context: Any) -> None:
    confirm = prepared(lake, context)
    confirm.execute_complete(context, answered("Approve", id="1", name="ada"))

    assert confirm.execute(context)["confirmed_by"] is None
    assert status(lake)["Status"] == "Ready"


def test_name_of_the_person_is_text(lake: Lake, context: Any) -> None:
    told = prepared(lake, context).execute_complete(context, answered("Approve", id="1", name="ada\x1b[31m"))

    assert told["confirmed_by"] == r"ada\x1b[31m"


def test_refusal_says_who_and_is_not_retried(lake: Lake, context: Any) -> None:
    confirm = prepared(lake, context)

    with pytest.raises(AirflowFailException, match=r"is Cancelled: somebody has refused it\. Nothing is touched"):
        confirm.execute_complete(context, answered("Reject"))
    assert status(lake)["Status"] == "Cancelled"


def test_job_that_nobody_confirms_in_time_is_failed(lake: Lake, context: Any) -> None:
    confirm = prepared(lake, context, confirm=Confirm(timeout=timedelta(hours=8)))

    with pytest.raises(AirflowFailException, match=r"is Failed: nobody has confirmed it in 8 h 0 min"):
        confirm.execute_complete(context, {"error": "too late", "error_type": "timeout"})
    assert status(lake)["FailureReasons"][0]["FailureCode"] == "ConfirmationExpired"


def test_job_that_runs_by_its_id_meanwhile_is_left_alone_when_the_time_is_over(lake: Lake, context: Any) -> None:
    confirm = prepared(lake, context)
    job = context["ti"].xcoms["job"]
    S3BatchPrepareOperator(task_id="again", job_id=job["job_id"], report=f"{lake.uri}/reports").execute(context)

    with pytest.raises(AirflowFailException, match="is Ready: nobody has confirmed it in 30 days"):
        confirm.execute_complete(context, {"error": "too late", "error_type": "timeout"})
    assert status(lake)["Status"] == "Ready"


def test_job_that_was_cancelled_while_it_waited_is_not_run_by_a_late_yes(lake: Lake, context: Any) -> None:
    confirm = prepared(lake, context)
    S3BatchHook().cancel_job(context["ti"].xcoms["job"]["job_id"], f"{lake.uri}/reports", reason="no more room")

    with pytest.raises(AirflowFailException, match="no more room"):
        confirm.execute_complete(context, answered("Approve"))
    assert status(lake)["Status"] == "Cancelled"


def test_trouble_with_the_answer_leaves_the_job_waiting(lake: Lake, context: Any) -> None:
    confirm = prepared(lake, context)

    with pytest.raises(Exception, match="lost"):
        confirm.execute_complete(context, {"error": "lost", "error_type": "unknown"})
    assert status(lake)["Status"] == "Suspended"


def test_waits_thirty_days_as_aws_does_for_anybody_unless_told_otherwise() -> None:
    usual = S3BatchConfirmOperator(task_id="c", job={})
    told = S3BatchConfirmOperator(
        task_id="c", job={}, confirm=Confirm(timeout=timedelta(minutes=5), assignees=["ada", "grace"])
    )

    assert (usual.timeout, usual.assigned_users) == (timedelta(days=30), None)
    assert told.timeout == timedelta(minutes=5)
    assert told.assigned_users == [{"id": "ada", "name": "ada"}, {"id": "grace", "name": "grace"}]


@pytest.mark.parametrize("given", [True, timedelta(hours=8), "{{ params.confirm }}"])
def test_how_to_wait_is_said_by_a_confirm(given: Any) -> None:
    with pytest.raises(
        InvalidInput, match=r"confirm=.* is no Confirm, .*; leave it out, or write Confirm\(timeout=…\)"
    ):
        S3BatchConfirmOperator(task_id="confirm", job={}, confirm=given)


def test_confirmation_of_what_is_no_job_is_not_retried(lake: Lake, context: Any) -> None:
    with pytest.raises(AirflowFailException, match="job must be what S3BatchPrepareOperator gives"):
        S3BatchConfirmOperator(task_id="c", job={"id": 1}).execute(context)
