"""A job obeys, within the seconds promised, and what it has done is in the report. In simulated time."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import botocore.session
import botocore.validate
import pytest

from airflow_s3batch.core.control.controls import Controls
from airflow_s3batch.core.control.listing import list_jobs
from airflow_s3batch.core.errors import (
    InvalidInput,
    JobCancelled,
    JobConflict,
    JobFailed,
    ManifestError,
    Paused,
    ReportError,
    Stopped,
)
from airflow_s3batch.core.folder.leavings import gather
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.limits import FailureThreshold, Limits
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import ListObjects
from airflow_s3batch.core.operations import Operation
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete, read_report
from airflow_s3batch.core.rows import Outcome
from airflow_s3batch.core.run import run_partition
from tests.core.scripted import OWNER, ScriptedEngine, fails, spec, succeeds
from tests.core.simulated import in_simulated_time, now
from tests.core.steady import SteadyEngine, seconds

REPORTS = S3Location("lake", "reports")


async def prepared(s3: ScriptedEngine, rows: int, *, partitions: int = 1, owner: Any = OWNER, **fields: Any) -> Job:
    s3.put("lake", "manifest.csv", "".join(f"data,key-{row:05}\n" for row in range(1, rows + 1)))
    return await prepare(spec(**fields), s3, owner=owner, rows_per_partition=-(-rows // partitions), now=now)


async def run(job: Job, s3: ScriptedEngine | Mortal, number: int = 0, **options: Any) -> Any:
    return await run_partition(job, number, s3, clock=seconds, now=now, **options)


def begin(job: Job, s3: ScriptedEngine | Mortal) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(run(job, s3, partition.number)) for partition in job.partitions]


def controls(job: Job, s3: ScriptedEngine) -> Controls:
    return Controls(s3, REPORTS, job.job_id, now=now)


async def status(job: Job, s3: ScriptedEngine) -> str:
    return str((await controls(job, s3).describe())["Status"])


async def reported(job: Job, s3: ScriptedEngine) -> dict[int, bool]:
    """The report's rows by number, and whether each succeeded."""
    told = [outcome async for outcome in read_report(f"s3://lake/reports/job-{job.job_id}/manifest.json", s3)]
    found = {int(outcome.entry.key[4:]): outcome.succeeded for outcome in told}
    assert len(found) == len(told)
    return found


async def ended(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


class Mortal:
    """The way of one run to S3, which can be cut: as SIGKILL does, or for its folder only, and for some time."""

    def __init__(self, s3: SteadyEngine) -> None:
        self._s3 = s3
        self._folder_back = 0.0
        self._dead = False

    def die(self) -> None:
        self._dead = True

    def lose_the_folder(self, for_seconds: float) -> None:
        self._folder_back = seconds() + for_seconds

    def check(self, operation: Operation, bucket: str) -> None:
        self._s3.check(operation, bucket)

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        await self._while_alive()
        await asyncio.sleep(max(0.0, self._folder_back - seconds()))
        return await self._s3.call(action, **parameters)

    async def run(self, *args: Any, **options: Any) -> AsyncGenerator[list[Outcome], None]:
        async with contextlib.aclosing(self._s3.run(*args, **options)) as outcomes:
            async for some in outcomes:
                yield some
                await self._while_alive()

    async def _while_alive(self) -> None:
        if self._dead:
            await asyncio.get_running_loop().create_future()


class Busy:
    """S3 as a slow one is seen: how many calls were under way at once, at the most."""

    def __init__(self, s3: SteadyEngine) -> None:
        self._s3 = s3
        self._under_way = 0
        self.most = 0

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            await asyncio.sleep(0.03)
            return await self._s3.call(action, **parameters)
        finally:
            self._under_way -= 1


class TestPause:
    def test_partitions_save_what_they_did_and_give_up_their_slots_within_seconds(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 3_000, partitions=3)
            running = begin(job, s3)
            await asyncio.sleep(5)
            asked = seconds()
            state = await controls(job, s3).pause("maintenance")
            assert state.status is JobStatus.PAUSING
            assert all(isinstance(error, Paused) for error in await ended(running))
            assert seconds() - asked <= 4
            assert await status(job, s3) == "Paused"
            saved = [await JobFolder.of(s3, job).read_checkpoints(number) for number in range(3)]
            assert sum(len(one.succeeded) for some in saved for one in some) == len(s3.requests) > 1_000

        in_simulated_time(scenario())

    def test_job_goes_on_where_it_was_once_it_is_resumed(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 3_000, partitions=3)
            running = begin(job, s3)
            await asyncio.sleep(5)
            await controls(job, s3).pause()
            await ended(running)
            assert (await controls(job, s3).resume()).status is JobStatus.ACTIVE
            await ended(begin(job, s3))
            await complete(job, s3, now=now)
            assert Counter(s3.requests) == Counter(range(1, 3_001))
            assert await reported(job, s3) == dict.fromkeys(range(1, 3_001), True)

        in_simulated_time(scenario())

    def test_partition_that_starts_while_the_job_is_paused_gives_up_at_once(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 100)
            assert (await controls(job, s3).pause("not before noon")).status is JobStatus.PAUSED
            with pytest.raises(Paused, match="is Paused: not before noon"):
                await run(job, s3)
            assert s3.requests == []
            assert (await controls(job, s3).resume()).status is JobStatus.READY

        in_simulated_time(scenario())

    def test_paused_time_is_not_active_time(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 2_000)
            running = begin(job, s3)
            await asyncio.sleep(10.5)
            await controls(job, s3).pause()
            await ended(running)
            await asyncio.sleep(3_600)
            await controls(job, s3).resume()
            await run(job, s3)
            assert 19 <= (await complete(job, s3, now=now)).elapsed_seconds <= 25

        in_simulated_time(scenario())

    def test_job_whose_last_partition_was_killed_is_paused_once_that_is_certain(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 5_000)
            killed = Mortal(s3)
            begin(job, killed)
            await asyncio.sleep(5)
            killed.die()
            assert (await controls(job, s3).pause()).status is JobStatus.PAUSING
            with pytest.raises(JobConflict, match=r"is Pausing and can't become Active .* Paused in some seconds"):
                await controls(job, s3).resume()
            await asyncio.sleep(16)
            assert await status(job, s3) == "Paused"

        in_simulated_time(scenario())

    def test_job_that_was_done_before_it_noticed_completes(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 250)
            running = begin(job, s3)
            await asyncio.sleep(2.4)
            await controls(job, s3).pause()
            (summary,) = await ended(running)
            assert summary.tally.succeeded == 250
            assert (await complete(job, s3, now=now)).status is JobStatus.COMPLETE

        in_simulated_time(scenario())


class TestCancel:
    def test_no_request_is_begun_ten_seconds_later_and_what_ran_is_reported(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(lambda entry: fails(entry) if entry.row % 3 == 0 else succeeds(entry))
            job = await prepared(s3, 30_000, partitions=3)
            running = begin(job, s3)
            await asyncio.sleep(20)
            asked = seconds()
            assert (await controls(job, s3).cancel("wrong tag")).status is JobStatus.CANCELLING
            errors = await ended(running)
            assert [str(error) for error in errors] == [f"job {job.job_id} was cancelled: wrong tag"] * 3
            assert max(s3.done_at) <= asked + 10
            with pytest.raises(JobCancelled, match="wrong tag") as stopped:
                await complete(job, s3, now=now)
            assert stopped.value.report_uri == JobFolder.of(s3, job).report_uri
            assert await reported(job, s3) == {row: row % 3 != 0 for row in s3.requests}
            told = await controls(job, s3).describe()
            assert (told["Status"], told["StatusUpdateReason"]) == ("Cancelled", "wrong tag")
            progress = told["ProgressSummary"]
            assert progress["NumberOfTasksSucceeded"] + progress["NumberOfTasksFailed"] == len(s3.requests)
            assert told["TerminationDate"]

        in_simulated_time(scenario())

    def test_job_that_never_ran_is_cancelled_at_once_without_a_report(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 100)
            assert (await controls(job, s3).cancel()).status is JobStatus.CANCELLED
            with pytest.raises(JobCancelled, match="was cancelled"):
                await run(job, s3)
            with pytest.raises(JobCancelled) as stopped:
                await complete(job, s3, now=now)
            assert (stopped.value.report_uri, s3.requests) == (None, [])
            assert await JobFolder.of(s3, job).read_report() is None

        in_simulated_time(scenario())

    def test_paused_job_is_cancelled_at_once_with_its_report(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 5_000)
            running = begin(job, s3)
            await asyncio.sleep(5)
            await controls(job, s3).pause()
            await ended(running)
            assert (await controls(job, s3).cancel()).status is JobStatus.CANCELLED
            assert set(await reported(job, s3)) == set(s3.requests)

        in_simulated_time(scenario())

    def test_what_was_cancelled_stays_so_until_it_is_prepared_again(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 1_000)
            running = begin(job, s3)
            await asyncio.sleep(5)
            await controls(job, s3).cancel()
            await ended(running)
            with pytest.raises(JobCancelled):
                await complete(job, s3, now=now)
            with pytest.raises(JobCancelled):
                await run(job, s3)
            assert await prepared(s3, 1_000) == job
            await run(job, s3)
            await complete(job, s3, now=now)
            assert Counter(s3.requests) == Counter(range(1, 1_001))
            assert len(await reported(job, s3)) == 1_000

        in_simulated_time(scenario())

    def test_report_of_what_ran_has_the_latest_outcome_of_what_was_run_twice(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(fails, rate=500)
            job = await prepared(s3, 4_000, threshold=None)
            await run(job, s3)
            s3.script = lambda entry: succeeds(entry) if entry.row % 2 else fails(entry, code="AccessDenied")
            s3.requests.clear()
            running = begin(job, s3)
            await asyncio.sleep(5)
            await controls(job, s3).cancel()
            await ended(running)
            again = set(s3.requests)
            assert 1_000 < len(again) < 4_000
            with pytest.raises(JobCancelled):
                await complete(job, s3, now=now)
            told = [outcome async for outcome in read_report(f"s3://lake/reports/job-{job.job_id}/", s3)]
            codes = {int(outcome.entry.key[4:]): outcome.code for outcome in told}
            expected = {row: "" if row % 2 else "AccessDenied" for row in again}
            assert codes == {row: expected.get(row, "NoSuchKey") for row in range(1, 4_001)}
            assert len(told) == 4_000

        in_simulated_time(scenario())

    def test_partitions_that_had_ended_are_in_the_report_of_what_ran(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(lambda entry: fails(entry) if entry.row % 4 == 0 else succeeds(entry))
            job = await prepared(s3, 4_000, partitions=2)
            await run(job, s3, 0)
            running = asyncio.create_task(run(job, s3, 1))
            await asyncio.sleep(5)
            await controls(job, s3).cancel()
            await ended([running])
            with pytest.raises(JobCancelled):
                await complete(job, s3, now=now)
            assert await reported(job, s3) == {row: row % 4 != 0 for row in s3.requests}

        in_simulated_time(scenario())

    def test_job_whose_runs_and_report_have_died_is_cancelled_by_asking_again(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000)
            killed = Mortal(s3)
            begin(job, killed)
            await asyncio.sleep(40)
            killed.die()
            assert (await controls(job, s3).cancel("enough")).status is JobStatus.CANCELLING
            await asyncio.sleep(16)
            assert (await controls(job, s3).cancel()).status is JobStatus.CANCELLED
            told = await controls(job, s3).describe()
            assert told["StatusUpdateReason"] == "enough"
            committed = await reported(job, s3)
            assert 2_000 < len(committed) == told["ProgressSummary"]["NumberOfTasksSucceeded"] <= len(s3.requests)

        in_simulated_time(scenario())

    def test_report_waits_for_a_run_that_is_still_saving(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000, partitions=2)
            running = begin(job, s3)
            await asyncio.sleep(20)
            await controls(job, s3).cancel()
            with pytest.raises(JobCancelled):  # asked while both are still at work
                await complete(job, s3, now=now)
            assert all(task.done() for task in running)
            assert set(await reported(job, s3)) == set(s3.requests)

        in_simulated_time(scenario())

    def test_report_waits_for_a_run_that_was_killed_no_longer_than_its_sign_is_fresh(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000)
            killed = Mortal(s3)
            begin(job, killed)
            await asyncio.sleep(40)
            killed.die()
            await controls(job, s3).cancel()
            asked = seconds()
            with pytest.raises(JobCancelled):
                await complete(job, s3, now=now)
            assert seconds() <= asked + 16
            assert len(await reported(job, s3)) > 2_000

        in_simulated_time(scenario())

    def test_job_that_is_being_prepared_is_cancelled_and_its_prepare_ends(self) -> None:
        async def scenario() -> None:
            async def cancel() -> None:
                (job,) = await list_jobs(s3, REPORTS, now=now)
                assert job["Status"] == "Preparing"
                state = await Controls(s3, REPORTS, job["JobId"], now=now).cancel("stop")
                assert state.status is JobStatus.CANCELLED

            class Slow(ScriptedEngine):
                """In which somebody cancels the job while its manifest is read."""

                def check(self, operation: Operation, bucket: str) -> None:
                    super().check(operation, bucket)
                    cancelling.append(asyncio.create_task(cancel()))

                async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
                    if parameters.get("Key", "").endswith("job.json") and action == "PutObject":
                        await asyncio.gather(*cancelling)
                    return await super().call(action, **parameters)

            cancelling: list[asyncio.Task[None]] = []
            s3 = Slow()
            with pytest.raises(JobCancelled, match="stop"):
                await prepared(s3, 10)

        in_simulated_time(scenario())


class TestThreshold:
    def test_job_fails_within_ten_seconds_of_too_many_failures_in_all_partitions_together(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(lambda entry: fails(entry) if entry.row > 10_000 else succeeds(entry))
            job = await prepared(s3, 40_000, partitions=4)
            running = begin(job, s3)
            errors = await ended(running)
            assert all(isinstance(error, JobFailed) for error in errors)
            assert "FailureThresholdExceeded" in str(errors[0])
            passed = next(
                at
                for ran, at in enumerate(s3.done_at, start=1)
                if FailureThreshold().is_passed(ran, sum(row > 10_000 for row in s3.requests[:ran]))
            )
            assert max(s3.done_at) <= passed + 10
            with pytest.raises(JobFailed):
                await complete(job, s3, now=now)
            assert set(await reported(job, s3)) == set(s3.requests)
            assert await status(job, s3) == "Failed"

        in_simulated_time(scenario())

    def test_failures_of_one_partition_are_no_failure_of_the_job(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(lambda entry: fails(entry) if entry.row <= 2_000 else succeeds(entry))
            job = await prepared(s3, 8_000, partitions=4)
            await ended(begin(job, s3))
            assert (await complete(job, s3, now=now)).status is JobStatus.COMPLETE

        in_simulated_time(scenario())

    @pytest.mark.parametrize(
        ("rows", "threshold", "failed"),
        [
            (999, FailureThreshold(), False),
            (1_500, FailureThreshold(), True),
            (5_000, None, False),
            (50, FailureThreshold(percent=10, minimum=20), True),
        ],
    )
    def test_threshold_is_the_author_s(self, rows: int, threshold: FailureThreshold | None, failed: bool) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(fails, rate=10)
            job = await prepared(s3, rows, threshold=threshold)
            (end,) = await ended(begin(job, s3))
            assert isinstance(end, JobFailed) == failed

        in_simulated_time(scenario())

    def test_job_that_was_done_before_anybody_looked_is_failed_by_its_report(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(fails, rate=10_000)
            job = await prepared(s3, 1_500)
            await run(job, s3)
            for _ in range(2):
                with pytest.raises(JobFailed, match=r"FailureThresholdExceeded: 1,500 of 1,500 objects have failed"):
                    await complete(job, s3, now=now)
            assert len(await reported(job, s3)) == 1_500
            assert await status(job, s3) == "Failed"

        in_simulated_time(scenario())

    @pytest.mark.parametrize(("dead", "within"), [(1, 10), (2, 18)])
    def test_books_are_kept_when_their_keepers_die(self, dead: int, within: float) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(fails, rate=100)
            job = await prepared(s3, 60_000, partitions=4, threshold=FailureThreshold(minimum=5_000))
            killed = Mortal(s3)
            running = [asyncio.create_task(run(job, killed if number < dead else s3, number)) for number in range(4)]
            await asyncio.sleep(12.4)  # a moment before 5,000 have failed
            killed.die()
            errors = await ended(running[dead:])
            assert all(isinstance(error, JobFailed) for error in errors)
            assert seconds() <= 12.5 + within

        in_simulated_time(scenario())

    def test_failed_job_that_is_run_again_has_its_failures_forgiven(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(fails)
            job = await prepared(s3, 6_000, partitions=2)
            await ended(begin(job, s3))
            with pytest.raises(JobFailed):
                await complete(job, s3, now=now)
            s3.script = succeeds
            await run(job, s3, 0)
            await run(job, s3, 1)
            assert (await complete(job, s3, now=now)).tally.succeeded == 6_000

        in_simulated_time(scenario())


class TestLimits:
    def test_change_reaches_every_partition_within_seconds(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 20_000, partitions=2)
            running = begin(job, s3)
            await asyncio.sleep(10)
            limits = await controls(job, s3).change_limits(in_flight=3, requests_per_second=20)
            assert limits == Limits(in_flight=3, requests_per_second=20)
            await asyncio.sleep(4)
            assert [(one.in_flight, one.requests_per_second) for one in s3.allowances if one] == [(3, 10), (3, 10)]
            await controls(job, s3).change_limits(requests_per_second=math.inf)
            await asyncio.sleep(4)
            assert [(one.in_flight, one.requests_per_second) for one in s3.allowances if one] == [(3, None), (3, None)]
            assert (await controls(job, s3).describe())["Limits"]["in_flight"] == 3
            await ended(running)

        in_simulated_time(scenario())

    def test_limit_that_cannot_be_is_refused_and_changes_nothing(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 10)
            for wrong in ({"in_flight": 0}, {"requests_per_second": -1.0}, {}):
                with pytest.raises(InvalidInput):
                    await controls(job, s3).change_limits(**wrong)
            assert (await controls(job, s3).describe())["Limits"] == job.spec.limits.to_aws()

        in_simulated_time(scenario())

    def test_rate_is_shared_by_those_that_run(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 3_000, partitions=3, limits=Limits(requests_per_second=60))
            killed = Mortal(s3)
            running = [asyncio.create_task(run(job, s3 if number else killed, number)) for number in range(3)]
            await asyncio.sleep(8)
            assert [one.requests_per_second for one in s3.allowances if one] == [20, 20, 20]
            killed.die()
            await asyncio.sleep(20)
            assert sorted(one.requests_per_second or 0 for one in s3.allowances if one) == [20, 30, 30]
            await ended(running[1:])

        in_simulated_time(scenario())

    def test_job_obeys_although_what_was_changed_of_it_cannot_be_read(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 3_000)
            s3.put("lake", f"reports/job-{job.job_id}/control.json", "{")
            running = begin(job, s3)
            await asyncio.sleep(5)
            await controls(job, s3).cancel()
            (error,) = await ended(running)
            assert isinstance(error, JobCancelled)

        in_simulated_time(scenario())


class TestManifest:
    @pytest.mark.parametrize("now_there", [b"data,another\n", None])
    def test_change_of_the_manifest_ends_the_run_within_seconds_although_all_was_read_before(
        self, now_there: bytes | None
    ) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000)
            running = begin(job, s3)
            await asyncio.sleep(10)
            if now_there is None:
                await s3.call("DeleteObject", Bucket="lake", Key="manifest.csv")
            else:
                s3.put("lake", "manifest.csv", now_there)
            (error,) = await ended(running)
            assert isinstance(error, ManifestError)
            assert s3.done_at[-1] <= 14
            saved = await JobFolder.of(s3, job).read_checkpoints(0)
            assert sum(len(one.succeeded) for one in saved) == len(s3.requests)

        in_simulated_time(scenario())


class TestTwoAtOnce:
    def test_second_run_waits_for_the_first_and_finds_nothing_left(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 3_000)
            first, second = await asyncio.gather(run(job, s3), run(job, s3))
            assert first == second
            assert Counter(s3.requests) == Counter(range(1, 3_001))

        in_simulated_time(scenario())

    def test_of_two_that_begin_in_the_same_moment_one_waits(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 600, partitions=2)
            await run(job, s3, 1)
            first, second = await asyncio.gather(run(job, s3), run(job, s3))
            assert first == second
            assert Counter(s3.requests) == Counter(range(1, 601))

        in_simulated_time(scenario())

    def test_run_that_waits_can_be_stopped(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000)
            running, stop = begin(job, s3), asyncio.Event()
            await asyncio.sleep(5)
            waiting = asyncio.create_task(run(job, s3, stop=stop))
            await asyncio.sleep(5)
            stop.set()
            with pytest.raises(Stopped, match="stopped before it began"):
                await waiting
            assert seconds() < 11
            await ended(running)

        in_simulated_time(scenario())

    def test_second_run_fails_with_a_clear_error_when_the_first_goes_on(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000)
            running = begin(job, s3)
            await asyncio.sleep(1)
            with pytest.raises(JobConflict, match=r"partition 0: another run of it is alive .* let that one end"):
                await run(job, s3)
            assert seconds() < 75
            await ended(running)
            assert Counter(s3.requests) == Counter(range(1, 30_001))

        in_simulated_time(scenario())

    def test_retry_of_a_run_that_was_killed_waits_no_longer_than_its_sign_is_fresh(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000)
            killed = Mortal(s3)
            begin(job, killed)
            await asyncio.sleep(10)
            killed.die()
            died, before = seconds(), len(s3.requests)
            await run(job, s3)
            assert s3.done_at[before] <= died + 18
            assert (await complete(job, s3, now=now)).tally.succeeded == 30_000

        in_simulated_time(scenario())

    def test_run_after_one_that_said_that_it_stopped_does_not_wait(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000)
            stop = asyncio.Event()
            running = asyncio.create_task(run(job, s3, stop=stop))
            await asyncio.sleep(10)
            stop.set()
            await ended([running])
            stopped = seconds()
            again = begin(job, s3)
            await asyncio.sleep(2)
            assert seconds() <= stopped + 2
            assert s3.done_at[-1] > stopped
            await ended(again)

        in_simulated_time(scenario())

    def test_run_that_was_away_from_its_folder_for_too_long_finds_that_another_has_taken_over(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000)
            away = Mortal(s3)
            first = asyncio.create_task(run(job, away))
            await asyncio.sleep(5)
            away.lose_the_folder(for_seconds=30)
            second = asyncio.create_task(run(job, s3))
            ends = await ended([first, second])
            assert isinstance(ends[0], JobConflict)
            await complete(job, s3, now=now)
            assert len(await reported(job, s3)) == 30_000

        in_simulated_time(scenario())

    def test_run_knows_its_own_sign_although_its_answer_was_lost_or_somebody_deleted_it(self) -> None:
        class Lossy(SteadyEngine):
            async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
                answer = await super().call(action, **parameters)
                if action == "PutObject" and "/running/" in parameters["Key"]:
                    if 5 < seconds() < 10:
                        await asyncio.sleep(60)
                    if 30 < seconds() < 40:
                        await super().call("DeleteObject", Bucket="lake", Key=parameters["Key"])
                return answer

        async def scenario() -> None:
            s3 = Lossy()
            job = await prepared(s3, 6_000)
            assert (await run(job, s3)).tally.succeeded == 6_000

        in_simulated_time(scenario())


class TestDescribe:
    def test_job_is_told_in_the_words_of_describe_job_while_it_runs(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(lambda entry: fails(entry) if entry.row % 10 == 0 else succeeds(entry))
            job = await prepared(s3, 30_000, partitions=3, description="Tag the cold ones", priority=7)
            assert (await controls(job, s3).describe())["Status"] == "Ready"
            running = begin(job, s3)
            await asyncio.sleep(60)
            told = await controls(job, s3).describe()
            for task in running:
                task.cancel()
            await ended(running)
            progress = told["ProgressSummary"]
            assert (told["JobId"], told["Status"], told["Priority"]) == (job.job_id, "Active", 7)
            assert told["Description"] == "Tag the cold ones"
            assert (told["Operation"], told["Report"]) == (job.spec.operation.to_aws(), job.spec.report.to_aws())
            assert told["Manifest"] == job.spec.manifest.to_aws()
            assert progress["TotalNumberOfTasks"] == 30_000
            assert 56 * 270 <= progress["NumberOfTasksSucceeded"] <= 60 * 270
            assert 56 * 30 <= progress["NumberOfTasksFailed"] <= 60 * 30
            assert 56 <= progress["Timers"]["ElapsedTimeInActiveSeconds"] <= 60
            assert 290 <= told["ObjectsPerSecond"] <= 310
            assert 38 <= told["SecondsLeft"] <= 46
            assert "TerminationDate" not in told

        in_simulated_time(scenario())

    def test_job_that_was_asked_for_by_a_question_is_told_with_the_question_and_its_answer(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            s3.put("data", "a", b"")
            asked = spec(description="All of it").model_copy(update={"manifest": ListObjects("data")})
            job = await prepare(asked, s3, owner=OWNER, confirmation_required=True, now=now)
            told = await controls(job, s3).describe()
            assert told["ManifestGenerator"] == ListObjects("data").to_aws()
            found = told["GeneratedManifestDescriptor"]["Location"]
            assert found["ObjectArn"].startswith(f"arn:aws:s3:::lake/reports/job-{job.job_id}/generated-manifest/")
            assert told.pop("Manifest") == job.spec.manifest.to_aws()  # which has a word of ours
            for ours in ("Limits", "FailureThreshold", "Partitions", "ObjectsPerSecond", "SecondsLeft"):
                del told[ours]
            shape = botocore.session.Session().get_service_model("s3control").shape_for("JobDescriptor")
            assert botocore.validate.ParamValidator().validate(told, shape).generate_report() == ""

        in_simulated_time(scenario())

    @pytest.mark.parametrize("required", [True, False])
    def test_job_tells_whether_it_needs_or_needed_a_confirmation(self, *, required: bool) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            s3.put("lake", "manifest.csv", "data,a\n")
            job = await prepare(spec(), s3, owner=OWNER, confirmation_required=required, now=now)
            assert (await controls(job, s3).describe())["ConfirmationRequired"] is required
            assert (await prepare(spec(), s3, owner=OWNER, now=now)).job_id == job.job_id
            told = await controls(job, s3).describe()
            assert (told["Status"], told["ConfirmationRequired"]) == ("Ready", required)
            assert "GeneratedManifestDescriptor" not in told

        in_simulated_time(scenario())

    def test_numbers_of_a_job_that_has_ended_are_those_of_its_report(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 300, partitions=3)
            await ended(begin(job, s3))
            summary = await complete(job, s3, now=now)
            told = await controls(job, s3).describe()
            assert (told["Status"], told["SecondsLeft"]) == ("Complete", None)
            active = told["ProgressSummary"]["Timers"]["ElapsedTimeInActiveSeconds"]
            assert told["ObjectsPerSecond"] == pytest.approx(300 / active, abs=0.1)
            assert told["ProgressSummary"]["NumberOfTasksSucceeded"] == 300
            assert told["ReportUri"] == summary.report_uri

        in_simulated_time(scenario())

    def test_job_that_took_less_than_a_second_has_no_rate(self) -> None:
        async def scenario() -> None:
            s3 = ScriptedEngine()
            s3.put("lake", "manifest.csv", "data,a\n")
            job = await prepare(spec(), s3, owner=OWNER, now=now)
            await run(job, s3)
            await complete(job, s3, now=now)
            assert (await controls(job, s3).describe())["ObjectsPerSecond"] is None

        in_simulated_time(scenario())

    def test_job_that_is_paused_is_not_paused_again(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job_s = controls(await prepared(s3, 10), s3)
            assert (await job_s.pause()).status is JobStatus.PAUSED
            with pytest.raises(JobConflict, match=r"is Paused already$"):
                await job_s.pause()

        in_simulated_time(scenario())

    def test_job_that_is_nowhere_is_an_error_that_says_where(self) -> None:
        async def scenario() -> None:
            nobody = Controls(ScriptedEngine(), REPORTS, "0b55", now=now)
            for what in (nobody.describe, nobody.pause, nobody.resume, nobody.cancel):
                with pytest.raises(JobConflict, match="there is no job in s3://lake/reports/job-0b55/"):
                    await what()
            with pytest.raises(JobConflict):
                await nobody.change_limits(in_flight=1)

        in_simulated_time(scenario())

    def test_what_a_job_that_has_ended_is_asked_is_an_error_that_names_both_statuses(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 10)
            await run(job, s3)
            await complete(job, s3, now=now)
            job_s = controls(job, s3)
            for what, status in (
                (job_s.pause, "Pausing"),
                (job_s.resume, "Active"),
                (job_s.cancel, "Cancelling"),
            ):
                with pytest.raises(JobConflict, match=f"is Complete and can't become {status}"):
                    await what()
            with pytest.raises(JobConflict, match="is Complete; what it may use can be changed"):
                await job_s.change_limits(in_flight=1)

        in_simulated_time(scenario())

    def test_job_that_failed_at_prepare_is_told_with_its_reason(self) -> None:
        async def scenario() -> None:
            s3 = ScriptedEngine()
            s3.put("lake", "manifest.csv", "data,a\ndata\n")
            with pytest.raises(ManifestError):
                await prepare(spec(), s3, owner=OWNER, now=now)
            (told,) = await list_jobs(s3, REPORTS, now=now)
            assert (told["Status"], told["FailureReasons"][0]["FailureCode"]) == ("Failed", "InvalidManifestContent")

        in_simulated_time(scenario())

    def test_job_whose_manifest_changed_fails_for_good_with_the_report_of_what_ran(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 200, partitions=2)
            await run(job, s3, 0)
            s3.put("lake", "manifest.csv", "data,another\n")
            await ended(begin(job, s3))
            for _ in range(2):
                with pytest.raises(JobFailed, match=r"ManifestChanged: .* was changed"):
                    await complete(job, s3, now=now)
                described = await controls(job, s3).describe()
                assert described["Status"] == "Failed"
                assert [reason["FailureCode"] for reason in described["FailureReasons"]] == ["ManifestChanged"]
                assert described["ProgressSummary"]["NumberOfTasksSucceeded"] == 100
            rows = [outcome.entry.row async for outcome in read_report(described["ReportUri"], s3)]
            assert len(rows) == 100

        in_simulated_time(scenario())


class TestList:
    def test_jobs_are_listed_newest_first_by_status_and_up_to_a_limit(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(page_size=3)
            jobs = []
            for number in range(5):
                jobs.append(await prepared(s3, 10, owner=("dag", str(number))))
                await asyncio.sleep(60)
            await run(jobs[2], s3)
            await complete(jobs[2], s3, now=now)
            ids = [job.job_id for job in reversed(jobs)]
            assert [one["JobId"] for one in await list_jobs(s3, REPORTS, now=now)] == ids
            assert [one["JobId"] for one in await list_jobs(s3, REPORTS, limit=2, now=now)] == ids[:2]
            (complete_one,) = await list_jobs(s3, REPORTS, statuses=[JobStatus.COMPLETE], now=now)
            assert complete_one["JobId"] == jobs[2].job_id
            assert await list_jobs(s3, S3Location("lake", "elsewhere"), now=now) == []
            with pytest.raises(InvalidInput):
                await list_jobs(s3, REPORTS, limit=0)
            with pytest.raises(ReportError, match=r"the jobs in s3://nowhere/ can't be listed: .*NoSuchBucket"):
                await list_jobs(s3, S3Location("nowhere", ""), now=now)

        in_simulated_time(scenario())

    def test_jobs_that_ended_over_ninety_days_ago_are_left_out(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            done, ready = await prepared(s3, 10), await prepared(s3, 10, owner=("other",))
            await run(done, s3)
            await complete(done, s3, now=now)
            await asyncio.sleep(89 * 86_400)
            assert len(await list_jobs(s3, REPORTS, now=now)) == 2
            await asyncio.sleep(2 * 86_400)
            assert [one["JobId"] for one in await list_jobs(s3, REPORTS, now=now)] == [ready.job_id]

        in_simulated_time(scenario())


def test_job_that_is_cancelled_while_its_report_waits_for_a_killed_run_is_ended_by_the_report() -> None:
    async def scenario() -> None:
        s3 = SteadyEngine(rate=100)
        job = await prepared(s3, 2_000, partitions=2)
        mortal = Mortal(s3)
        killed, other = asyncio.create_task(run(job, mortal, 0)), asyncio.create_task(run(job, s3, 1))
        await asyncio.sleep(8.5)
        mortal.die()
        await other
        reporting = asyncio.create_task(complete(job, s3, now=now))
        await asyncio.sleep(3)
        assert (await controls(job, s3).cancel("enough")).status is JobStatus.CANCELLING
        with pytest.raises(JobCancelled, match="enough"):
            await reporting
        assert await status(job, s3) == "Cancelled"
        assert len(await reported(job, s3)) >= 1_000
        killed.cancel()
        await ended([killed])

    in_simulated_time(scenario())


def test_end_of_a_job_of_many_partitions_reads_some_of_their_checkpoints_at_a_time() -> None:
    """Each of them at once would be more connections than a process may open."""

    async def scenario() -> None:
        s3 = SteadyEngine(rate=20)
        job = await prepared(s3, 16_000, partitions=16)
        runs = [asyncio.create_task(run(job, s3, part.number, checkpoint_rows=20)) for part in job.partitions]
        await asyncio.sleep(40)
        await controls(job, s3).cancel()
        await ended(runs)
        busy = Busy(s3)
        left = await gather(job, JobFolder.of(busy, job))
        assert sum(one.succeeded for one in left) > 16 * 40 * 15
        assert 64 < busy.most <= 128

    in_simulated_time(scenario())


def test_job_of_an_operation_that_is_not_known_here_is_looked_at_and_stopped_all_the_same() -> None:
    """As from a script that doesn't import an author's DAG."""

    async def scenario() -> None:
        s3 = SteadyEngine(rate=100)
        job = await prepared(s3, 10)
        key = f"reports/job-{job.job_id}/job.json"
        text = (await s3.call("GetObject", Bucket="lake", Key=key))["Body"].decode()
        s3.put("lake", key, text.replace("S3PutObjectTagging", "AcmeFlag"))
        hands = controls(job, s3)

        described = await hands.describe()
        assert list(described["Operation"]) == ["AcmeFlag"]
        assert [one["JobId"] for one in await list_jobs(s3, REPORTS, now=now)] == [job.job_id]
        assert (await hands.change_limits(in_flight=3)).in_flight == 3
        assert (await hands.cancel("enough")).status is JobStatus.CANCELLED
        with pytest.raises(JobConflict, match=r"'AcmeFlag' is not an operation; known are .* once they are imported"):
            await JobFolder.of(s3, job).read_job()

    in_simulated_time(scenario())


def test_list_of_jobs_describes_some_at_a_time() -> None:
    async def scenario() -> None:
        s3 = SteadyEngine(rate=10)
        jobs = [await prepared(s3, 400, partitions=40, owner=(str(number),)) for number in range(12)]
        running = [one for job in jobs for one in begin(job, s3)]
        await asyncio.sleep(5)
        busy = Busy(s3)
        assert len(await list_jobs(busy, REPORTS, now=now)) == 12
        assert busy.most <= 4 * 32
        await ended(running)

    in_simulated_time(scenario())
