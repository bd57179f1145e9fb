"""What happens at the same time: two runs, two reports, a cancel in between, a store that stalls. In simulated time."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from airflow_s3batch.core.control.listing import list_jobs
from airflow_s3batch.core.errors import (
    JobCancelled,
    JobConflict,
    JobFailed,
    PartitionRuns,
    PartitionsMissing,
    S3BatchError,
    S3Error,
)
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.prepare import prepare, take_up
from airflow_s3batch.core.report import complete
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.control.test_controls import REPORTS, Mortal, begin, controls, ended, prepared, reported, run
from tests.core.scripted import OWNER, fails, spec, succeeds
from tests.core.simulated import in_simulated_time, now
from tests.core.steady import SteadyEngine, seconds

Answer = Callable[[], Awaitable[dict[str, Any]]]


class Meddled(SteadyEngine):
    """A store in which something happens before or after a call."""

    def __init__(
        self, meddle: Callable[[str, dict[str, Any], Answer], Awaitable[dict[str, Any]]], **options: Any
    ) -> None:
        super().__init__(**options)
        self._meddle = meddle

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        return await self._meddle(action, parameters, lambda: super(Meddled, self).call(action, **parameters))


def key_of(parameters: dict[str, Any]) -> str:
    return str(parameters.get("Key", ""))


def is_sign(action: str, parameters: dict[str, Any]) -> bool:
    return action == "PutObject" and "/running/" in key_of(parameters) and bool(parameters["Body"])


def some_fail(entry: Entry) -> Outcome:
    return fails(entry) if entry.row % 3 == 0 else succeeds(entry)


async def state(job: Job, s3: SteadyEngine) -> Any:
    return await JobFolder.of(s3, job).read_state()


class TestTwoRuns:
    def test_report_of_the_second_leaves_the_first_alone(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30_000)
            first = begin(job, s3)
            await asyncio.sleep(1)
            second = await take_up(job.job_id, job.spec.report, s3, owner=OWNER, now=now)
            with pytest.raises(JobConflict, match="another run of it is alive"):
                await run(second, s3)
            with pytest.raises(PartitionRuns, match=r"another run .* at work .* \(partition 0, rows 1 to 30,000\)"):
                await complete(second, s3, now=now)
            assert (await state(job, s3)).status is JobStatus.ACTIVE
            (summary,) = await ended(first)
            assert summary.tally.succeeded == 30_000
            assert (await complete(job, s3, now=now)).total == 30_000

        in_simulated_time(scenario())

    def test_report_waits_until_it_is_certain_that_a_partition_was_killed(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 3_000)
            way = Mortal(s3)
            begin(job, way)
            await asyncio.sleep(5)
            way.die()
            with pytest.raises(PartitionsMissing):
                await complete(job, s3, now=now)
            assert (await state(job, s3)).status is JobStatus.FAILED

        in_simulated_time(scenario())

    def test_report_counts_a_partition_that_ends_while_it_waits(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 1_000)
            running = begin(job, s3)
            await asyncio.sleep(5)
            assert (await complete(job, s3, now=now)).tally.succeeded == 1_000
            await ended(running)

        in_simulated_time(scenario())

    def test_one_that_waits_for_the_other_takes_its_end_and_does_no_failure_again(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(some_fail)
            job = await prepared(s3, 3_000)
            first = begin(job, s3)
            await asyncio.sleep(10)
            second = begin(job, s3)
            ends = await ended([*first, *second])
            assert ends[0] == ends[1]
            assert len(s3.requests) == 3_000

        in_simulated_time(scenario())

    def test_one_that_comes_back_after_the_job_is_complete_does_nothing(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(some_fail)
            job = await prepared(s3, 900)
            late = asyncio.create_task(run(job, Stalls(s3)))
            await asyncio.sleep(5)
            await run(job, s3)
            await complete(job, s3, now=now)
            assert (await late).tally.failed == 300
            assert len(s3.requests) == 900

        class Stalls(Mortal):
            async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
                answered = await super().call(action, **parameters)
                if action == "PutObject" and key_of(parameters).endswith("status.json"):
                    await asyncio.sleep(600)
                return answered

        in_simulated_time(scenario())

    def test_one_that_cannot_read_what_was_done_before_gives_the_partition_back(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 900)
            s3.put("lake", f"reports/job-{job.job_id}/partitions/0/checkpoint-000001.json", "{}")
            for _ in range(2):
                with pytest.raises(JobConflict, match="is not what this package writes there"):
                    await run(job, s3)
            assert seconds() == 0
            with pytest.raises(PartitionsMissing, match=r"JobConflict: .*checkpoint-000001"):
                await complete(job, s3, now=now)

        in_simulated_time(scenario())

    def test_one_that_stalls_before_its_first_rows_is_taken_over_and_the_other_goes_on(self) -> None:
        async def scenario() -> None:
            async def stalls(action: str, parameters: dict[str, Any], answer: Answer) -> dict[str, Any]:
                if not stalled and action == "ListObjectsV2" and "/partitions/" in parameters["Prefix"]:
                    stalled.append(seconds())
                    await asyncio.sleep(40)
                return await answer()

            stalled: list[float] = []
            s3 = Meddled(stalls)
            job = await prepared(s3, 6_000)
            first = asyncio.create_task(run(job, s3))
            await asyncio.sleep(1)
            one, other = await ended([first, asyncio.create_task(run(job, s3))])
            assert isinstance(one, JobConflict)
            assert other.tally.succeeded == 6_000

        in_simulated_time(scenario())


class TestSigns:
    @pytest.mark.parametrize("tenths", range(0, 31, 5))
    def test_no_sign_outlives_a_run_that_ends_while_it_leaves_one(self, tenths: int) -> None:
        async def slowly(action: str, parameters: dict[str, Any], answer: Answer) -> dict[str, Any]:
            answered = await answer()
            if is_sign(action, parameters):
                await asyncio.sleep(0.5)
            return answered

        async def scenario() -> None:
            s3 = Meddled(slowly)
            job = await prepared(s3, 300 + 10 * tenths)
            await run(job, s3)
            assert [sign.size for sign in (await JobFolder.of(s3, job).list_signs()).values()] == [0]

        in_simulated_time(scenario())

    def test_run_that_can_leave_none_obeys_all_the_same(self) -> None:
        async def refuses(action: str, parameters: dict[str, Any], answer: Answer) -> dict[str, Any]:
            if is_sign(action, parameters) and seconds() > 5:
                raise S3Error(action, key_of(parameters), status=503, code="SlowDown", message="slow")
            return await answer()

        async def scenario() -> None:
            s3 = Meddled(refuses)
            job = await prepared(s3, 12_000)
            running = begin(job, s3)
            await asyncio.sleep(10)
            await controls(job, s3).cancel("enough")
            (end,) = await ended(running)
            assert isinstance(end, JobCancelled)
            assert seconds() < 10 + 10

        in_simulated_time(scenario())

    def test_run_whose_reads_hang_shows_life(self) -> None:
        async def hang(action: str, parameters: dict[str, Any], answer: Answer) -> dict[str, Any]:
            if 10 < seconds() < 60 and (action == "ListObjectsV2" or key_of(parameters).endswith("status.json")):
                await asyncio.sleep(30)
            if is_sign(action, parameters):
                shown.append(seconds())
            return await answer()

        shown: list[float] = []

        async def scenario() -> None:
            s3 = Meddled(hang)
            job = await prepared(s3, 9_000)
            await run(job, s3)
            assert max(after - before for before, after in itertools.pairwise(shown)) <= 6

        in_simulated_time(scenario())

    @pytest.mark.parametrize("asked_at", [10, 15, 20])
    def test_run_whose_listings_hang_obeys_in_time(self, asked_at: float) -> None:
        async def hang(action: str, parameters: dict[str, Any], answer: Answer) -> dict[str, Any]:
            if seconds() > 5 and action == "ListObjectsV2" and asyncio.current_task() is not person:
                await asyncio.sleep(30)
            return await answer()

        person: asyncio.Task[Any] | None = None

        async def scenario() -> None:
            nonlocal person
            s3 = Meddled(hang)
            job = await prepared(s3, 12_000)
            running = begin(job, s3)
            await asyncio.sleep(asked_at)
            person = asyncio.current_task()
            await controls(job, s3).cancel("enough")
            await ended(running)
            assert max(s3.done_at) <= asked_at + 10

        in_simulated_time(scenario())

    def test_run_whose_folder_answers_what_nobody_foresaw_stops(self) -> None:
        async def oddly(action: str, parameters: dict[str, Any], answer: Answer) -> dict[str, Any]:
            answered = await answer()
            if action == "ListObjectsV2" and parameters["Prefix"].endswith("running/") and seconds() > 5:
                for one in answered.get("Contents", ()):
                    one["LastModified"] = "a minute ago"
            return answered

        async def scenario() -> None:
            s3 = Meddled(oddly)
            job = await prepared(s3, 12_000)
            (end,) = await ended(begin(job, s3))
            assert isinstance(end, AttributeError)
            assert seconds() < 12

        in_simulated_time(scenario())


class TestReport:
    @pytest.mark.parametrize("asked_at", [10, 13, 15])
    def test_all_that_ran_is_in_it_although_saving_is_slow(self, asked_at: float) -> None:
        async def slowly(action: str, parameters: dict[str, Any], answer: Answer) -> dict[str, Any]:
            if action == "PutObject" and ("/results/" in key_of(parameters) or "/checkpoint-" in key_of(parameters)):
                await asyncio.sleep(4)
            return await answer()

        async def scenario() -> None:
            s3 = Meddled(slowly, rate=1_000)
            job = await prepared(s3, 100_000)
            running = begin(job, s3)
            await asyncio.sleep(asked_at)
            await controls(job, s3).cancel("enough")
            with pytest.raises(JobCancelled):
                await complete(job, s3, now=now)
            await ended(running)
            assert (await state(job, s3)).succeeded == len(await reported(job, s3)) == len(s3.requests)

        in_simulated_time(scenario())

    def test_job_that_is_cancelled_while_it_is_begun_is_cancelled(self) -> None:
        async def cancels(action: str, parameters: dict[str, Any], answer: Answer) -> dict[str, Any]:
            if armed and action == "GetObject" and key_of(parameters).endswith("attempt.json"):
                await controls(armed.pop(), s3).cancel("late")
            return await answer()

        armed: list[Job] = []
        s3 = Meddled(cancels)

        async def scenario() -> None:
            job = await prepared(s3, 300)
            await run(job, s3)
            armed.append(job)
            with pytest.raises(JobCancelled, match="late"):
                await complete(job, s3, now=now)
            assert (await state(job, s3)).status is JobStatus.CANCELLED

        in_simulated_time(scenario())

    @pytest.mark.parametrize("waits", [3, 10])
    def test_job_that_is_cancelled_while_it_waits_for_a_dead_partition_is_cancelled(
        self, waits: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 2_000, partitions=2)
            way = Mortal(s3)
            killed = asyncio.create_task(run(job, way, 0))
            other = asyncio.create_task(run(job, s3, 1))
            await asyncio.sleep(8.5)
            way.die()
            await other
            reporting = asyncio.create_task(complete(job, s3, now=now))
            await asyncio.sleep(waits)
            assert (await controls(job, s3).cancel("enough")).status is JobStatus.CANCELLING
            (end,) = await ended([reporting])
            assert isinstance(end, JobCancelled)
            assert end.reason == "enough"
            assert not killed.done()
            assert (await state(job, s3)).status is JobStatus.CANCELLED
            assert (await state(job, s3)).succeeded == len(await reported(job, s3)) >= 1_000

        in_simulated_time(scenario())
        assert "failed could not be written down" not in caplog.text

    @pytest.mark.parametrize("rows", [3_000, 9_000])
    def test_partition_that_is_cleared_meanwhile_ends_before_the_job_is_complete(self, rows: int) -> None:
        async def clears(action: str, parameters: dict[str, Any], answer: Answer) -> dict[str, Any]:
            if armed and action == "PutObject" and key_of(parameters).endswith("/manifest.json"):
                again.extend(begin(armed.pop(), s3))
                await asyncio.sleep(1)
            return await answer()

        armed: list[Job] = []
        again: list[asyncio.Task[Any]] = []
        s3 = Meddled(clears, script=some_fail)

        async def scenario() -> None:
            job = await prepared(s3, rows)
            await run(job, s3)
            armed.append(job)
            if rows / 3 > 100 * 21:  # its failures take longer than a report waits
                with pytest.raises(PartitionRuns, match=r"another run .* at work .*; its report comes when that has"):
                    await complete(job, s3, now=now)
                assert (await state(job, s3)).status is JobStatus.ACTIVE
                await ended(again)
            assert (await complete(job, s3, now=now)).tally.failed == rows / 3
            assert (await state(job, s3)).status is JobStatus.COMPLETE
            assert len(s3.requests) == rows + rows / 3
            assert len(await reported(job, s3)) == rows

        in_simulated_time(scenario())

    def test_written_again_it_changes_nothing(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 300)
            await run(job, s3)
            await complete(job, s3, now=now)
            before = await state(job, s3)
            await asyncio.sleep(100)
            await complete(job, s3, now=now)
            assert await state(job, s3) == before

        in_simulated_time(scenario())

    @pytest.mark.parametrize("seed", range(10))
    def test_two_of_a_job_that_went_well_tell_the_same(self, seed: int) -> None:
        chance = random.Random(seed)

        async def whenever(_: str, __: dict[str, Any], answer: Answer) -> dict[str, Any]:
            await asyncio.sleep(chance.random() / 20)
            return await answer()

        async def scenario() -> None:
            s3 = Meddled(whenever, script=some_fail)
            job = await prepared(s3, 300)
            await run(job, s3)
            one, other = await ended([asyncio.create_task(complete(job, s3, now=now)) for _ in range(2)])
            assert one == other
            assert one.tally.succeeded == 200
            assert (await state(job, s3)).status is JobStatus.COMPLETE

        in_simulated_time(scenario())

    @pytest.mark.parametrize("seed", range(10))
    def test_two_that_are_written_at_once_are_one(self, seed: int) -> None:
        chance = random.Random(seed)

        async def whenever(_: str, __: dict[str, Any], answer: Answer) -> dict[str, Any]:
            await asyncio.sleep(chance.random() / 20)
            answered = await answer()
            await asyncio.sleep(chance.random() / 20)
            return answered

        async def scenario() -> None:
            s3 = Meddled(whenever)
            job = await prepared(s3, 3_000)
            running = begin(job, s3)
            await asyncio.sleep(5)
            await controls(job, s3).cancel("enough")
            await ended(running)
            await ended([asyncio.create_task(complete(job, s3, now=now)) for _ in range(2)])
            manifest = s3.get("lake", f"reports/job-{job.job_id}/manifest.json")
            md5 = s3.get("lake", f"reports/job-{job.job_id}/manifest.json.md5")
            assert hashlib.md5(manifest).hexdigest().encode() == md5

        in_simulated_time(scenario())


class TestPrepare:
    def test_one_that_fails_late_does_not_fail_the_job_that_its_retry_has_prepared(self) -> None:
        class Expires(Mortal):
            async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
                if key_of(parameters) == "manifest.csv" and next(reads) > 0:  # the first pins it
                    await expired.wait()
                    raise S3Error(action, "s3://lake/manifest.csv", status=403, code="ExpiredToken", message="old")
                return await super().call(action, **parameters)

        reads = itertools.count()
        expired = asyncio.Event()

        async def scenario() -> None:
            s3 = SteadyEngine()
            await prepared(s3, 3_000, owner=("who puts the manifest there",))
            late = asyncio.create_task(prepare(spec(), Expires(s3), owner=OWNER, now=now))
            await asyncio.sleep(1)
            running = begin(await prepare(spec(), s3, owner=OWNER, now=now), s3)
            await asyncio.sleep(5)
            expired.set()
            (failure,) = await ended([late])
            assert isinstance(failure, S3BatchError)
            (summary,) = await ended(running)
            assert summary.tally.succeeded == 3_000

        in_simulated_time(scenario())

    def test_retry_does_not_open_a_job_that_has_failed_for_good(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine(fails)
            job = await prepared(s3, 3_000)
            (end,) = await ended(begin(job, s3))
            assert isinstance(end, JobFailed)
            with pytest.raises(JobFailed, match="FailureThresholdExceeded"):
                await prepare(spec(), s3, owner=OWNER, reopens=False, now=now)
            with pytest.raises(JobFailed):
                await complete(job, s3, now=now)
            with pytest.raises(JobFailed, match="FailureThresholdExceeded"):
                await prepare(spec(), s3, owner=OWNER, reopens=False, now=now)

        in_simulated_time(scenario())

    def test_retry_does_not_open_a_job_that_was_cancelled_meanwhile(self) -> None:
        async def scenario() -> None:
            s3 = SteadyEngine()
            job = await prepared(s3, 30)
            await controls(job, s3).cancel("wrong tag")
            with pytest.raises(JobCancelled, match="wrong tag"):
                await prepare(spec(), s3, owner=OWNER, reopens=False, now=now)
            assert (await state(job, s3)).status is JobStatus.CANCELLED
            await prepare(spec(), s3, owner=OWNER, now=now)  # a Clear does
            assert (await state(job, s3)).status is JobStatus.READY

        in_simulated_time(scenario())


@pytest.mark.parametrize("name", ["status.json", "job.json"])
def test_folder_that_cannot_be_understood_hides_no_other_job(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        s3 = SteadyEngine()
        broken = await prepared(s3, 10, owner=("broken",))
        job = await prepared(s3, 10)
        s3.put("lake", f"reports/job-{broken.job_id}/{name}", "[]")
        assert [told["JobId"] for told in await list_jobs(s3, REPORTS, now=now)] == [job.job_id]
        assert f"job-{broken.job_id}/{name} is not what this package writes there" in caplog.text

    in_simulated_time(scenario())
