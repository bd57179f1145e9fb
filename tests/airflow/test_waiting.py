"""The sensor and its trigger."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_s3batch import CompletionReport, S3BatchJobSensor, S3BatchJobTrigger
from airflow_s3batch.core.errors import InvalidInput, JobFailed, S3BatchError
from airflow_s3batch.core.folder.status import FailureReason, JobState
from airflow_s3batch.core.job import JobStatus

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import TriggerEvent

    from tests.airflow.conftest import Lake

JOB = "0b8a2d6e-0000-4000-8000-000000000001"
CREATED = "2026-01-31T00:00:00.000Z"


def state(status: JobStatus, **more: Any) -> JobState:
    return JobState(job_id=JOB, status=status, created=CREATED, **more)


def write(lake: Lake, written: JobState) -> None:
    lake.put(f"reports/job-{JOB}/status.json", json.dumps(written.to_aws()))


@pytest.fixture
def context() -> Context:
    return {}


@pytest.fixture
def sensor(lake: Lake) -> S3BatchJobSensor:
    with DAG("dag", schedule=None):
        return S3BatchJobSensor(task_id="wait", job_id=JOB, report=f"{lake.uri}/reports", poke_interval=0.05)


@pytest.fixture
def trigger(lake: Lake) -> S3BatchJobTrigger:
    report = CompletionReport(f"{lake.uri}/reports").to_aws()
    return S3BatchJobTrigger(job_id=JOB, report=report, poke_interval=0.05)


@pytest.mark.parametrize(
    ("slip", "told"),
    [
        ({"job_id": None}, "job_id=None is no text, but of type NoneType; write job_id='…'"),
        ({"deferrable": "yes"}, "deferrable='yes' is neither True nor False; it isn't templated"),
    ],
)
def test_sensor_that_could_only_wait_in_vain_is_an_error_when_the_file_is_parsed(
    slip: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        S3BatchJobSensor(**{"task_id": "wait", "job_id": JOB, "report": "s3://lake/reports", **slip})


@pytest.mark.parametrize("native", [False, True])
def test_sensor_of_a_job_whose_id_comes_to_none_is_an_error(*, native: bool) -> None:
    with DAG("dag", schedule=None, render_template_as_native_obj=native):
        sensor = S3BatchJobSensor(task_id="wait", job_id="{{ params.it }}", report="s3://lake/reports")

    with pytest.raises(InvalidInput, match=r"'{{ params.it }}' comes to None: .* what to write instead"):
        sensor.render_template_fields({"params": {"it": None}})


@pytest.mark.parametrize("deferrable", [False, True])
def test_sensor_of_a_job_whose_id_a_task_did_not_return_is_an_error(context: Context, *, deferrable: bool) -> None:
    with DAG("dag", schedule=None):
        sensor = S3BatchJobSensor(task_id="wait", job_id=JOB, report="s3://lake/reports", deferrable=deferrable)
    sensor.job_id = None  # type: ignore[assignment]

    with pytest.raises(InvalidInput, match="job_id=None is no text, but of type NoneType"):
        sensor.execute(context)


@pytest.mark.parametrize("status", [None, *(status for status in JobStatus if not status.ended)])
def test_sensor_waits_until_the_job_has_ended(
    sensor: S3BatchJobSensor, lake: Lake, context: Context, status: JobStatus | None
) -> None:
    if status is not None:
        write(lake, state(status))

    assert not sensor.poke(context)
    assert sensor.report_link == ""


def test_sensor_says_where_there_is_no_job_yet(
    sensor: S3BatchJobSensor, lake: Lake, context: Context, capfd: pytest.CaptureFixture[str]
) -> None:
    sensor.poke(context)

    told = f"Job {JOB} is not there yet: {lake.uri}/reports/job-{JOB}/ is empty"
    assert told in "".join(capfd.readouterr())


def test_sensor_returns_the_state_of_a_complete_job(
    sensor: S3BatchJobSensor, lake: Lake, context: Context, s3_url: str
) -> None:
    report = f"reports/job-{JOB}/manifest.json"
    complete = state(JobStatus.COMPLETE, total=3, succeeded=2, failed=1).reported(f"{lake.uri}/{report}")
    write(lake, complete)

    assert sensor.execute(context) == complete.to_aws()
    assert sensor.report_link == f"{s3_url}/{lake.bucket}/{report}"


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (
            state(JobStatus.FAILED, failures=(FailureReason("InvalidManifestContent", "row 7"),)),
            "InvalidManifestContent: row 7",
        ),
        (state(JobStatus.CANCELLED, reason="by hand"), "Cancelled: by hand"),
        (state(JobStatus.FAILED), "no reason is recorded"),
    ],
)
def test_sensor_fails_with_the_reasons_of_the_job(
    sensor: S3BatchJobSensor, lake: Lake, context: Context, ended: JobState, told: str
) -> None:
    write(lake, ended)

    with pytest.raises(JobFailed, match=told):
        sensor.poke(context)
    with pytest.raises(JobFailed, match=told):
        sensor.execute_complete(context, {"state": ended.to_aws()})


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_sensor_that_fails_leads_to_the_report_of_what_ran_if_there_is_one(
    sensor: S3BatchJobSensor, context: Context, s3_url: str, lake: Lake, status: JobStatus
) -> None:
    untouched = state(status)
    with pytest.raises(JobFailed):
        sensor.execute_complete(context, {"state": untouched.to_aws()})
    before = sensor.report_link
    with pytest.raises(JobFailed):
        sensor.execute_complete(context, {"state": untouched.reported(f"{lake.uri}/r/manifest.json").to_aws()})

    assert (before, sensor.report_link) == ("", f"{s3_url}/{lake.bucket}/r/manifest.json")


def test_sensor_fails_when_the_trigger_could_not_look(sensor: S3BatchJobSensor, context: Context) -> None:
    with pytest.raises(S3BatchError, match="AccessDenied"):
        sensor.execute_complete(context, {"error": "AccessDenied"})


def test_deferrable_sensor_does_not_defer_for_a_job_that_has_ended(lake: Lake, context: Context) -> None:
    write(lake, state(JobStatus.COMPLETE))
    with DAG("dag", schedule=None):
        sensor = S3BatchJobSensor(task_id="wait", job_id=JOB, report=f"{lake.uri}/reports", deferrable=True)

    assert sensor.execute(context)["Status"] == "Complete"


def test_trigger_is_what_it_serializes_to() -> None:
    given = {
        "job_id": JOB,
        "report": CompletionReport("s3://lake/reports").to_aws(),
        "poke_interval": 7.0,
        "aws_conn_id": "lake",
        "region_name": "eu-west-1",
        "verify": "/ca.pem",
    }

    path, arguments = S3BatchJobTrigger(**given).serialize()  # type: ignore[arg-type]

    module, _, name = path.rpartition(".")
    again = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, given)


def test_trigger_waits_and_then_tells_the_state(trigger: S3BatchJobTrigger, lake: Lake) -> None:
    complete = state(JobStatus.COMPLETE, total=1, succeeded=1)

    async def end_the_job() -> None:
        for status in (JobStatus.READY, JobStatus.ACTIVE):
            await asyncio.to_thread(write, lake, state(status))
            await asyncio.sleep(1)
        await asyncio.to_thread(write, lake, complete)

    async def both() -> TriggerEvent:
        event, _ = await asyncio.gather(anext_of(trigger), end_the_job())
        return event

    assert asyncio.run(both()).payload == {"job_id": JOB, "state": complete.to_aws()}


def test_trigger_tells_what_kept_it_from_looking(trigger: S3BatchJobTrigger, lake: Lake) -> None:
    lake.s3.delete_bucket(Bucket=lake.bucket)

    event = asyncio.run(anext_of(trigger))

    assert f"the report's bucket {lake.bucket} doesn't exist" in event.payload["error"]


async def anext_of(trigger: S3BatchJobTrigger) -> TriggerEvent:
    async for event in trigger.run():
        return event
    raise AssertionError("no event")
