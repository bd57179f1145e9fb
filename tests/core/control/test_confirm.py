"""A job waits for a person, and does what the person says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from airflow_s3batch.core.control.confirm import answer, ask, expire
from airflow_s3batch.core.control.controls import Controls
from airflow_s3batch.core.errors import (
    InvalidInput,
    JobCancelled,
    JobConflict,
    JobFailed,
    JobOver,
    ManifestChanged,
    ManifestError,
    NoSuchJob,
    S3BatchError,
)
from airflow_s3batch.core.folder.status import FailureReason, JobState
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import CompletionReport, Job, JobStatus
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.prepare import prepare, take_up
from airflow_s3batch.core.report import complete
from tests.core.scripted import OWNER, ScriptedEngine, spec
from tests.core.test_run import run

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
REPORT = CompletionReport("s3://lake/reports")
ANOTHER = ("dag", "another run", "group")


def noon() -> datetime:
    return NOON


async def suspended(s3: ScriptedEngine) -> Job:
    s3.put("lake", "manifest.csv", "data,a\ndata,b\n")
    return await prepare(spec(), s3, owner=OWNER, confirmation_required=True, now=noon)


async def state(s3: ScriptedEngine, job: Job) -> JobState:
    found = await JobFolder.of(s3, job).read_state()
    assert found is not None
    return found


def scenario(work: Callable[[ScriptedEngine, Job], Awaitable[None]]) -> None:
    async def main() -> None:
        s3 = ScriptedEngine()
        await work(s3, await suspended(s3))

    asyncio.run(main())


def test_job_that_needs_a_confirmation_is_suspended_and_says_since_when_and_why() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        told = (await state(s3, job)).to_aws()
        assert (told["Status"], told["SuspendedCause"]) == ("Suspended", "AwaitingConfirmation")
        assert told["SuspendedDate"] == "2026-11-24T12:00:00.000Z"
        assert told["ProgressSummary"]["TotalNumberOfTasks"] == 2
        assert JobState.from_aws(told).to_aws() == told

    scenario(work)


def test_suspended_job_does_not_run() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        with pytest.raises(JobConflict, match="is Suspended and can't become Active"):
            await run(job, s3)
        assert s3.requests == []

    scenario(work)


def test_prepare_tried_again_leaves_it_suspended() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        assert await prepare(spec(), s3, owner=OWNER, confirmation_required=True) == job
        assert (await state(s3, job)).status is JobStatus.SUSPENDED

    scenario(work)


def test_confirmed_job_is_ready_and_runs() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        assert await ask(job, s3)
        assert await answer(job, s3, approved=True, by="ada") is JobStatus.READY
        assert (await state(s3, job)).reason == "Confirmed by ada"
        await run(job, s3)
        assert sorted(s3.requests) == [1, 2]

    scenario(work)


def test_job_that_was_confirmed_is_not_asked_about_again_before_it_has_ended() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await ask(job, s3)
        await answer(job, s3, approved=True, by="ada")
        assert not await ask(job, s3)
        await run(job, s3)
        assert not await ask(job, s3)
        await complete(job, s3)
        assert await ask(job, s3)
        assert (await state(s3, job)).status is JobStatus.SUSPENDED

    scenario(work)


def test_job_that_was_prepared_to_run_at_once_is_asked_about_all_the_same() -> None:
    async def main() -> None:
        s3 = ScriptedEngine()
        s3.put("lake", "manifest.csv", "data,a\n")
        job = await prepare(spec(), s3, owner=OWNER)
        assert await ask(job, s3)
        assert await answer(job, s3, approved=True, by="ada") is JobStatus.READY

    asyncio.run(main())


def test_refused_job_is_cancelled_and_nothing_is_touched() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await ask(job, s3)
        assert await answer(job, s3, approved=False, by="ada") is JobStatus.CANCELLED
        told = (await state(s3, job)).to_aws()
        assert (told["StatusUpdateReason"], told["Status"]) == ("Refused by ada", "Cancelled")
        assert "TerminationDate" in told
        assert s3.requests == []

    scenario(work)


def test_refusal_may_be_repeated() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        for _ in range(2):
            assert await answer(job, s3, approved=False, by="ada") is JobStatus.CANCELLED

    scenario(work)


def test_refused_job_that_is_asked_about_again_can_be_confirmed() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await answer(job, s3, approved=False, by="ada")
        assert await ask(job, s3)
        assert await answer(job, s3, approved=True, by="grace") is JobStatus.READY

    scenario(work)


@pytest.mark.parametrize("reason", ["wrong bucket", "Refused by the bucket's owner", ""])
def test_job_that_somebody_has_cancelled_is_not_asked_about_until_it_is_prepared_again(reason: str) -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await Controls(s3, job.spec.report.place, job.job_id).cancel(reason)
        for _ in range(2):
            with pytest.raises(JobCancelled, match=f"was cancelled.*{reason}"):
                await ask(job, s3)
        assert (await state(s3, job)).status is JobStatus.CANCELLED
        await prepare(spec(), s3, owner=OWNER, confirmation_required=True)
        assert await ask(job, s3)
        assert (await state(s3, job)).status is JobStatus.SUSPENDED

    scenario(work)


def test_refusal_does_not_hide_that_somebody_has_cancelled_the_job() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await ask(job, s3)
        await Controls(s3, job.spec.report.place, job.job_id).cancel("wrong bucket")
        with pytest.raises(JobCancelled, match="wrong bucket"):
            await answer(job, s3, approved=False, by="ada")
        assert (await state(s3, job)).reason == "wrong bucket"
        with pytest.raises(JobCancelled, match="wrong bucket"):
            await ask(job, s3)

    scenario(work)


def test_refusal_is_told_as_a_reason_of_its_own() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await answer(job, s3, approved=False, by="ada")
        assert (await state(s3, job)).failures == (("ConfirmationRefused", "Refused by ada"),)
        await ask(job, s3)
        assert (await state(s3, job)).failures == ()

    scenario(work)


def test_job_that_nobody_confirms_in_time_fails() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await ask(job, s3)
        assert await expire(job, s3, waited="30 days") is JobStatus.FAILED
        (failure,) = (await state(s3, job)).failures
        assert failure == ("ConfirmationExpired", "Nobody has confirmed the job in 30 days.")

    scenario(work)


def test_job_that_runs_by_its_id_meanwhile_is_left_alone() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await ask(job, s3)
        await take_up(job.job_id, REPORT, s3, owner=OWNER)
        await run(job, s3)
        assert await expire(job, s3, waited="30 days") is JobStatus.ACTIVE
        assert await answer(job, s3, approved=True, by="ada") is JobStatus.ACTIVE
        with pytest.raises(JobConflict, match="refused by ada, and is Active: it was let run by its id"):
            await answer(job, s3, approved=False, by="ada")

    scenario(work)


def test_job_that_was_cancelled_or_failed_meanwhile_cannot_be_confirmed() -> None:
    async def cancelled(s3: ScriptedEngine, job: Job) -> None:
        await Controls(s3, job.spec.report.place, job.job_id).cancel("no more room")
        with pytest.raises(JobCancelled, match="no more room"):
            await answer(job, s3, approved=True, by="ada")
        with pytest.raises(JobCancelled, match="no more room"):
            await ask(job, s3)
        assert (await state(s3, job)).status is JobStatus.CANCELLED

    async def failed(s3: ScriptedEngine, job: Job) -> None:
        await expire(job, s3, waited="1 day")
        with pytest.raises(JobFailed, match="ConfirmationExpired"):
            await answer(job, s3, approved=True, by="ada")

    scenario(cancelled)
    scenario(failed)


def test_job_that_was_refused_is_asked_about_again() -> None:
    """By a confirmation that somebody has cleared."""

    async def work(s3: ScriptedEngine, job: Job) -> None:
        await ask(job, s3)
        assert await answer(job, s3, approved=False, by="ada") is JobStatus.CANCELLED
        assert await ask(job, s3)
        assert await answer(job, s3, approved=True, by="ada") is JobStatus.READY

    scenario(work)


def test_job_whose_status_was_lost_waits_all_the_same() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await s3.call("DeleteObject", Bucket="lake", Key=f"reports/job-{job.job_id}/status.json")
        assert await ask(job, s3)
        assert (await state(s3, job)).status is JobStatus.SUSPENDED

    scenario(work)


def test_names_of_people_are_text() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await answer(job, s3, approved=True, by="ada\n\x1b[31m")
        assert (await state(s3, job)).reason == "Confirmed by ada\\n\\x1b[31m"

    scenario(work)


# By id


def test_job_taken_up_by_its_id_is_exactly_the_one_that_was_found() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        assert await take_up(job.job_id, REPORT, s3, owner=OWNER) == job
        assert (await state(s3, job)).status is JobStatus.READY
        await run(job, s3)
        assert sorted(s3.requests) == [1, 2]

    scenario(work)


def test_job_taken_up_fails_before_an_object_is_touched_if_its_manifest_is_another_now() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        s3.put("lake", "manifest.csv", "data,z\n")
        with pytest.raises(ManifestChanged):
            await run(await take_up(job.job_id, REPORT, s3, owner=OWNER), s3)
        assert s3.requests == []

    scenario(work)


def test_job_can_be_taken_up_with_other_limits_and_another_priority() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        taken = await take_up(job.job_id, REPORT, s3, owner=OWNER, limits=Limits(in_flight=3), priority=7)
        assert (taken.spec.limits.in_flight, taken.spec.priority) == (3, 7)
        assert await JobFolder.of(s3, job).read_job() == taken
        assert await take_up(job.job_id, REPORT, s3, owner=OWNER) == taken

    scenario(work)


def test_job_can_be_taken_up_to_be_confirmed() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await take_up(job.job_id, REPORT, s3, owner=OWNER, confirmation_required=True)
        assert (await state(s3, job)).status is JobStatus.SUSPENDED

    scenario(work)


def test_job_that_expired_can_be_taken_up() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await expire(job, s3, waited="1 day")
        await run(await take_up(job.job_id, REPORT, s3, owner=OWNER), s3)
        assert len(s3.requests) == 2

    scenario(work)


@pytest.mark.parametrize("job_id", ["", "four", "../../other/job", "x" * 37, "{{ id }}"])
def test_what_is_no_id_is_refused_before_s3_is_asked(job_id: str) -> None:
    s3 = ScriptedEngine()

    with pytest.raises(InvalidInput, match="can't be a job's id"):
        asyncio.run(take_up(job_id, REPORT, s3, owner=OWNER))
    assert s3.calls == []


def test_unknown_job_is_an_error_that_says_what_to_look_at() -> None:
    with pytest.raises(NoSuchJob, match=r"none in s3://lake/reports; see that report= is the location"):
        asyncio.run(take_up("nobodys", REPORT, ScriptedEngine(), owner=OWNER))


def test_job_that_failed_to_be_prepared_is_an_error_with_the_reason() -> None:
    async def main() -> None:
        s3 = ScriptedEngine()
        s3.put("lake", "manifest.csv", "data,a\ndata\n")
        with pytest.raises(ManifestError):
            await prepare(spec(), s3, owner=OWNER)
        (key,) = [key for key in s3.keys("lake") if key.endswith("status.json")]
        with pytest.raises(JobOver, match=r"never prepared: it is Failed \(InvalidManifestContent: .*row 2"):
            await take_up(key.split("/")[1].removeprefix("job-"), REPORT, s3, owner=OWNER)

    asyncio.run(main())


def test_job_that_is_being_prepared_is_an_error_that_may_pass() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await s3.call("DeleteObject", Bucket="lake", Key=f"reports/job-{job.job_id}/job.json")
        preparing = JobState(job_id=job.job_id, status=JobStatus.PREPARING, created=job.created)
        s3.put("lake", f"reports/job-{job.job_id}/status.json", json.dumps(preparing.to_aws()))
        with pytest.raises(JobConflict, match="is Preparing; let its prepare task end") as told:
            await take_up(job.job_id, REPORT, s3, owner=OWNER)
        assert type(told.value) is JobConflict

    scenario(work)


def test_job_that_is_complete_is_an_error_that_says_what_else_can_be_done() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await run(await take_up(job.job_id, REPORT, s3, owner=OWNER), s3)
        await complete(job, s3)
        with pytest.raises(JobOver, match=r"is Complete, .* for what failed in it, .*report's failures"):
            await take_up(job.job_id, REPORT, s3, owner=ANOTHER)

    scenario(work)


def test_job_that_was_refused_is_an_error() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await answer(job, s3, approved=False, by="ada")
        with pytest.raises(JobOver, match="is Cancelled, and doesn't run again by its id"):
            await take_up(job.job_id, REPORT, s3, owner=OWNER)

    scenario(work)


def test_job_that_is_complete_is_there_for_those_who_ran_it(caplog: pytest.LogCaptureFixture) -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        for owner in (OWNER, ANOTHER, OWNER):
            await take_up(job.job_id, REPORT, s3, owner=owner)
        await run(job, s3)
        await complete(job, s3)
        for owner in (ANOTHER, OWNER):
            assert await take_up(job.job_id, REPORT, s3, owner=owner) == job
        assert (await state(s3, job)).status is JobStatus.COMPLETE
        await run(job, s3)
        assert len(s3.requests) == 2

    scenario(work)
    assert "2 of its 2 objects have succeeded, and aren't done again; to do so, prepare a new one" in caplog.text


def test_cancelled_job_is_opened_by_whoever_ran_it_but_by_no_retry() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await take_up(job.job_id, REPORT, s3, owner=OWNER)
        await Controls(s3, job.spec.report.place, job.job_id).cancel("no more room")
        with pytest.raises(JobCancelled, match="no more room"):
            await take_up(job.job_id, REPORT, s3, owner=OWNER, reopens=False, limits=Limits(in_flight=7))
        assert await JobFolder.of(s3, job).read_job() == job
        assert await take_up(job.job_id, REPORT, s3, owner=OWNER) == job
        assert (await state(s3, job)).status is JobStatus.READY

    scenario(work)


def test_job_that_is_not_taken_up_keeps_its_limits() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await take_up(job.job_id, REPORT, s3, owner=OWNER)
        await Controls(s3, job.spec.report.place, job.job_id).cancel("no more room")
        with pytest.raises(JobCancelled, match="no more room"):
            await take_up(job.job_id, REPORT, s3, owner=OWNER, limits=Limits(in_flight=7), priority=9, reopens=False)
        assert await JobFolder.of(s3, job).read_job() == job

    scenario(work)


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("calls", range(1, 8))
def test_whenever_a_take_up_dies_its_retry_gets_the_job_ready_with_the_limits_of_now(
    calls: int, *, arrives: bool
) -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        await take_up(job.job_id, REPORT, s3, owner=OWNER)
        await Controls(s3, job.spec.report.place, job.job_id).cancel("no more room")
        s3.broken_after, s3.arrives = calls, arrives
        with contextlib.suppress(S3BatchError):
            await take_up(job.job_id, REPORT, s3, owner=OWNER, limits=Limits(in_flight=7))
        s3.broken_after = None
        reopened = (await state(s3, job)).status is not JobStatus.CANCELLED
        await take_up(job.job_id, REPORT, s3, owner=OWNER, limits=Limits(in_flight=7), reopens=not reopened)
        found = await JobFolder.of(s3, job).read_job()
        assert found is not None
        assert found.spec.limits.in_flight == 7
        assert (await state(s3, job)).status is JobStatus.READY

    scenario(work)


def test_retry_takes_up_a_job_that_had_failed_before_its_first_try_reached_it() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        reason = FailureReason("FailureThresholdExceeded", "600 of 1,000 objects have failed")
        failed = replace(await state(s3, job), status=JobStatus.FAILED, failures=(reason,))
        await JobFolder.of(s3, job).change_state(lambda _: failed)
        assert await take_up(job.job_id, REPORT, s3, owner=OWNER, reopens=False) == job
        with pytest.raises(JobFailed, match="600 of 1,000"):
            await take_up(job.job_id, REPORT, s3, owner=OWNER, reopens=False)

    scenario(work)


def test_the_last_ten_who_ran_it_are_remembered() -> None:
    async def work(s3: ScriptedEngine, job: Job) -> None:
        for number in range(12):
            await take_up(job.job_id, REPORT, s3, owner=("dag", f"run {number}", "group"))
        told = (await state(s3, job)).to_aws()
        assert told["TakenUpBy"] == [["dag", f"run {number}", "group"] for number in range(2, 12)]
        assert JobState.from_aws(told).to_aws() == told

    scenario(work)
