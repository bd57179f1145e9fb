"""One partition, whatever dies: every object once in the report, none done again that succeeded."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_s3batch.core.errors import (
    InvalidInput,
    JobConflict,
    ManifestChanged,
    ManifestError,
    ReportError,
    S3BatchError,
    S3Error,
    Stopped,
)
from airflow_s3batch.core.folder.status import iso
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.operations.base import RUNNING_JOB, RUNNING_NOTES, RUNNING_SINCE
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete, read_report
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.core.run import run_partition
from airflow_s3batch.core.running.progress import Progress
from tests.core.scripted import LIMITS, OWNER, ScriptedEngine, fails, prepared, spec, succeeds
from tests.core.simulated import in_simulated_time

CHECKPOINT = 20
"""checkpoint_rows in these tests."""
CONDITIONS = {"IfMatch", "IfNoneMatch"}


def every(step: int) -> Callable[[Entry], Outcome]:
    return lambda entry: fails(entry) if entry.row % step == 0 else succeeds(entry)


async def run(job: Job, s3: ScriptedEngine, number: int = 0, **options: Any) -> Any:
    return await run_partition(job, number, s3, checkpoint_rows=CHECKPOINT, checkpoint_seconds=5.0, **options)


async def reported(job: Job, s3: ScriptedEngine) -> dict[int, bool]:
    """The report's rows by number, and whether each succeeded; exactly one a row of the manifest."""
    summary = await complete(job, s3)
    keys = [(outcome.entry.key, outcome.succeeded) async for outcome in read_report(summary.report_uri, s3)]
    assert sorted(key for key, _ in keys) == [f"key-{row:05}" for row in range(1, job.total + 1)]
    return {int(key[4:]): succeeded for key, succeeded in keys}


def test_log_of_a_run_that_goes_on_tells_what_was_done_before(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10))
        job = await prepared(s3, 1_500)
        await run(job, s3)
        assert not [line for line in caplog.messages if "before" in line]
        await run(job, s3)

    with caplog.at_level("INFO", "airflow_s3batch"):
        asyncio.run(scenario())
    assert "1,350 succeeded before; this run goes on with the other 150 objects" in caplog.messages


def test_every_object_is_done_once_and_reported_once() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10), seed=3)
        job = await prepared(s3, 100)
        summary = await run(job, s3)
        assert (summary.rows, summary.tally.succeeded, summary.tally.failed) == (100, 90, 10)
        assert summary.tally.codes == {"NoSuchKey": 10}
        assert sorted(s3.requests) == list(range(1, 101))
        assert s3.operations == [job.spec.operation]
        assert {row for row, succeeded in (await reported(job, s3)).items() if not succeeded} == set(range(10, 101, 10))

    in_simulated_time(scenario())


def test_an_operation_can_learn_its_job_and_note_what_it_has_begun() -> None:
    async def scenario() -> None:
        known = set()

        def script(entry: Entry) -> Outcome:
            notes = RUNNING_NOTES.get()
            assert isinstance(notes, JobFolder)
            since = RUNNING_SINCE.get()
            assert since is not None
            known.add((RUNNING_JOB.get(), notes.job_id, iso(since)))
            return succeeds(entry)

        s3 = ScriptedEngine(script)
        job = await prepared(s3, 10)
        await run(job, s3)
        assert known == {(job.job_id, job.job_id, job.created)}
        notes = JobFolder.of(s3, job)
        assert await notes.read_note(7) == {}
        for upload in ("one", "two"):
            await notes.write_note(7, {"UploadId": upload})
        assert (await notes.read_note(7), await notes.read_note(8)) == ({"UploadId": "two"}, {})
        assert len(await reported(job, s3)) == 10

    in_simulated_time(scenario())


def test_a_partition_done_without_failures_is_not_done_again() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 50)
        first = await run(job, s3)
        s3.requests.clear()
        assert await run(job, s3) == first
        assert s3.requests == []

    in_simulated_time(scenario())


def test_run_again_only_the_failures_are_done_and_the_report_has_their_new_outcome() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(7))
        job = await prepared(s3, 100)
        await run(job, s3)
        await complete(job, s3)
        s3.requests.clear()
        s3.script = every(14)
        summary = await run(job, s3)
        assert sorted(s3.requests) == list(range(7, 101, 7))
        assert (summary.attempt, summary.skipped, summary.tally.succeeded, summary.tally.failed) == (2, 86, 93, 7)
        assert {row for row, succeeded in (await reported(job, s3)).items() if not succeeded} == set(range(14, 101, 14))

    in_simulated_time(scenario())


@pytest.mark.parametrize("seed", range(40))
def test_whenever_the_store_vanishes_nothing_is_lost_doubled_or_repeated_beyond_the_bound(seed: int) -> None:
    async def scenario() -> None:
        chance = random.Random(seed)
        s3 = ScriptedEngine(every(chance.choice([2, 9, 1000])), seed=seed)
        job = await prepared(s3, 300)
        deaths = 0
        for _ in range(8):
            s3.broken_after, s3.arrives = chance.randrange(1, 60), chance.random() < 0.5
            try:
                await run(job, s3)
            except S3BatchError:
                deaths += 1
        s3.broken_after = None
        await run(job, s3)
        outcomes = await reported(job, s3)
        times = Counter(s3.requests)
        repeats = sum(count - 1 for row, count in times.items() if outcomes[row])
        assert set(times) == set(range(1, 301))
        assert repeats <= deaths * (CHECKPOINT + LIMITS.in_flight)

    in_simulated_time(scenario())


@pytest.mark.parametrize("seed", range(20))
def test_whenever_it_is_cancelled_all_outcomes_so_far_are_saved(seed: int) -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(11), seed=seed)
        job = await prepared(s3, 200)
        running = asyncio.create_task(run(job, s3))
        for _ in range(random.Random(seed).randrange(300)):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        done = {row for row in s3.requests if row % 11}
        s3.requests.clear()
        await run(job, s3)
        assert not done & set(s3.requests)
        await reported(job, s3)

    in_simulated_time(scenario())


def test_a_stop_saves_what_is_done_and_begins_nothing_more() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        s3 = ScriptedEngine()
        job = await prepared(s3, 500)
        with pytest.raises(Stopped, match=r"stopped after [\d,]+ of 500 rows; run it again"):
            await run(job, s3, stop=stop, on_progress=lambda progress: stop.set() if progress.done > 60 else None)
        done = set(s3.requests)
        assert len(done) < 200
        s3.requests.clear()
        await run(job, s3)
        assert sorted(s3.requests) == sorted(set(range(1, 501)) - done)

    in_simulated_time(scenario())


def test_a_stop_that_comes_first_begins_nothing() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        stop.set()
        s3 = ScriptedEngine()
        job = await prepared(s3, 50)
        with pytest.raises(Stopped, match="stopped after 0 of 50 rows"):
            await run(job, s3, stop=stop)
        assert s3.requests == []

    in_simulated_time(scenario())


def test_a_stop_while_requests_hang_saves_what_is_done() -> None:
    class Hangs(ScriptedEngine):
        async def run(self, entries: Any, operation: Any, *, stop: Any = None, allowance: Any = None) -> Any:
            outcomes = super().run(entries, operation, stop=stop, allowance=allowance)
            yield await anext(outcomes)
            await stop.wait()
            await asyncio.sleep(0.05)

    async def scenario() -> None:
        s3 = Hangs()
        job = await prepared(s3, 500)
        stop = asyncio.Event()
        running = asyncio.create_task(run(job, s3, stop=stop))
        await asyncio.sleep(0.05)
        stop.set()
        with pytest.raises(Stopped, match=rf"after {len(s3.requests)} of 500 rows"):
            await running

    in_simulated_time(scenario())


def test_a_run_that_is_cancelled_while_the_store_is_away_says_that_outcomes_were_not_saved(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 500)
        loop = asyncio.get_running_loop()
        running: list[asyncio.Task[Any]] = []

        def away(_: Progress) -> None:
            s3.broken_after = 0
            loop.call_soon(running[0].cancel)

        running.append(asyncio.create_task(run(job, s3, on_progress=away)))
        with pytest.raises(asyncio.CancelledError):
            await running[0]

    in_simulated_time(scenario())
    assert "The outcomes since the last checkpoint could not be written; they will be done again" in caplog.text


def test_a_stop_that_comes_too_late_is_no_stop() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        s3 = ScriptedEngine()
        job = await prepared(s3, 5)
        summary = await run(job, s3, stop=stop, on_progress=lambda _: stop.set())
        assert summary.tally.succeeded == 5

    in_simulated_time(scenario())


def test_a_manifest_that_changes_in_the_middle_of_a_partition_ends_it_and_keeps_what_was_done() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        manifest = "".join(f"data,{row:0>900}\n" for row in range(1, 30_001))
        s3.put("lake", "manifest.csv", manifest)
        job = await prepare(spec(), s3, owner=OWNER)
        s3.script = lambda entry: succeeds(entry) if s3.put("lake", "manifest.csv", "data,other\n") else fails(entry)
        with pytest.raises(ManifestChanged):
            await run_partition(job, 0, s3)
        saved = sum(len(one.succeeded) for one in await JobFolder.of(s3, job).read_checkpoints(0))
        assert 0 < saved == len(s3.requests) < 30_000

    in_simulated_time(scenario())


def test_a_manifest_that_changed_between_two_partitions_ends_the_second_before_it_begins() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 100, partitions=2)
        await run(job, s3, 0)
        s3.put("lake", "manifest.csv", "data,another\n")
        with pytest.raises(ManifestChanged):
            await run(job, s3, 1)
        assert max(s3.requests) <= job.partitions[0].rows

    in_simulated_time(scenario())


def test_of_two_runs_at_once_one_does_it_and_its_end_is_that_of_both() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(5))
        job = await prepared(s3, 200)
        one, other = await asyncio.gather(run(job, s3), run(job, s3))
        assert one == other
        assert Counter(s3.requests) == dict.fromkeys(range(1, 201), 1)
        await reported(job, s3)

    in_simulated_time(scenario())


def test_of_two_runs_at_once_no_row_is_told_twice_on_a_store_without_conditions() -> None:
    class Plain(ScriptedEngine):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if action == "PutObject":
                parameters = {name: value for name, value in parameters.items() if name not in CONDITIONS}
            return await super().call(action, **parameters)

    async def scenario() -> None:
        s3 = Plain(every(5))
        job = await prepared(s3, 200)
        await asyncio.gather(run(job, s3), run(job, s3), return_exceptions=True)
        await run(job, s3)
        await reported(job, s3)

    in_simulated_time(scenario())


def test_a_store_that_does_not_implement_conditions_is_written_without() -> None:
    class Old(ScriptedEngine):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if action == "PutObject" and parameters.keys() & CONDITIONS:
                raise S3Error(
                    action, "s3://lake/", status=501, code="NotImplemented", message="A header is not implemented"
                )
            return await super().call(action, **parameters)

    async def scenario() -> None:
        s3 = Old(every(5))
        job = await prepared(s3, 100)
        await run(job, s3)
        await reported(job, s3)

    in_simulated_time(scenario())


def test_a_report_that_cannot_be_written_ends_the_run_with_aws_words() -> None:
    class ReadOnly(ScriptedEngine):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if "/results/" in parameters.get("Key", ""):
                raise S3Error(action, "s3://lake/", status=403, code="AccessDenied", message="Access Denied")
            return await super().call(action, **parameters)

    async def scenario() -> None:
        s3 = ReadOnly()
        job = await prepared(s3, 500)
        with pytest.raises(ReportError, match=r"could not be written to your report bucket\. Please"):
            await run(job, s3)
        assert len(s3.requests) < 100
        attempt = await JobFolder.of(s3, job).read_attempt(0)
        assert attempt is not None
        assert attempt.halt is not None
        assert attempt.halt.cause.code == "ReportError"

    in_simulated_time(scenario())


def test_what_the_engine_raises_ends_the_run_and_keeps_what_was_done() -> None:
    def script(entry: Entry) -> Outcome:
        if entry.row == 300:
            raise InvalidInput("no such bucket name")
        return succeeds(entry)

    async def scenario() -> None:
        s3 = ScriptedEngine(script)
        job = await prepared(s3, 400)
        with pytest.raises(InvalidInput):
            await run(job, s3)
        saved = sum(len(one.succeeded) for one in await JobFolder.of(s3, job).read_checkpoints(0))
        assert saved > 200

    in_simulated_time(scenario())


def test_an_engine_that_gives_a_row_two_outcomes_is_found_out() -> None:
    class Twice(ScriptedEngine):
        def _do(self, entry: Entry) -> Outcome:
            return super()._do(entry._replace(row=min(entry.row, 40)))

    async def scenario() -> None:
        s3 = Twice()
        job = await prepared(s3, 50)
        with pytest.raises(JobConflict, match="two outcomes"):
            await run(job, s3)

    in_simulated_time(scenario())


def test_an_engine_that_loses_a_row_is_found_out() -> None:
    class Loses(ScriptedEngine):
        async def run(self, entries: Any, operation: Any, *, stop: Any = None, allowance: Any = None) -> Any:
            async for outcomes in super().run(entries, operation, stop=stop, allowance=allowance):
                yield outcomes[1:]

    async def scenario() -> None:
        s3 = Loses()
        job = await prepared(s3, 5)
        with pytest.raises(S3BatchError, match="only 4 of 5 rows have an outcome"):
            await run(job, s3)

    in_simulated_time(scenario())


def test_failures_only_leaves_succeeded_objects_out_of_the_report_and_in_the_counts() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine(every(10))
        job = await prepared(s3, 100, scope="FailedTasksOnly")
        summary = await run(job, s3)
        assert summary.tally.succeeded == 90
        report = await complete(job, s3)
        told = [outcome async for outcome in read_report(report.report_uri, s3)]
        assert [outcome.succeeded for outcome in told] == [False] * 10

    in_simulated_time(scenario())


def test_a_checkpoint_is_written_after_the_seconds_even_if_few_outcomes_come() -> None:
    class Slow(ScriptedEngine):
        async def run(self, entries: Any, operation: Any, *, stop: Any = None, allowance: Any = None) -> Any:
            async for outcomes in super().run(entries, operation, stop=stop, allowance=allowance):
                yield outcomes
                await asyncio.sleep(0.2)

    async def scenario() -> None:
        s3 = Slow()
        job = await prepared(s3, 40)
        await run_partition(job, 0, s3, checkpoint_rows=10_000, checkpoint_seconds=0.05)
        assert len(await JobFolder.of(s3, job).read_checkpoints(0)) == 2

    in_simulated_time(scenario())


def test_the_engine_is_not_fed_beyond_what_a_kill_may_repeat() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 1000)
        await run(job, s3)
        assert s3.most_fed <= CHECKPOINT + LIMITS.in_flight

    in_simulated_time(scenario())


def test_a_suspended_job_does_not_run() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 10)
        folder = JobFolder.of(s3, job)
        state = await folder.read_state()
        assert state is not None
        await folder.change_state(lambda _: dataclasses.replace(state, status=JobStatus.SUSPENDED))
        with pytest.raises(JobConflict, match="is Suspended and can't become Active"):
            await run(job, s3)
        assert s3.requests == []

    in_simulated_time(scenario())


def test_the_first_run_makes_the_job_active() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 10)
        folder = JobFolder.of(s3, job)
        ready = await folder.read_state()
        assert ready is not None
        assert ready.status is JobStatus.READY
        await run(job, s3)
        active = await folder.read_state()
        assert active is not None
        assert active.status is JobStatus.ACTIVE

    in_simulated_time(scenario())


def test_a_job_whose_status_is_gone_runs_and_is_active() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 10)
        await s3.call("DeleteObject", Bucket="lake", Key=f"reports/job-{job.job_id}/status.json")
        await run(job, s3)
        state = await JobFolder.of(s3, job).read_state()
        assert state is not None
        assert (state.status, state.total) == (JobStatus.ACTIVE, 10)

    in_simulated_time(scenario())


def test_a_manifest_that_gives_other_rows_than_prepare_counted_is_an_error() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 10)
        wrong = job.model_copy(update={"partitions": (job.partitions[0]._replace(rows=11),)})
        with pytest.raises(ManifestError, match=r"manifest\.csv: .* read 10 rows where prepare counted 11"):
            await run(wrong, s3)

    in_simulated_time(scenario())


def test_progress_counts_up_to_the_end() -> None:
    async def scenario() -> None:
        seen: list[Progress] = []
        s3 = ScriptedEngine(every(2))
        job = await prepared(s3, 100)
        await run(job, s3, on_progress=seen.append)
        assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
        assert seen[-1][:3] == (100, 50, 100)
        assert str(seen[-1]).startswith("100 of 100 objects (100 %), 50 failed (most often NoSuchKey), ")

    in_simulated_time(scenario())


def test_a_partition_that_the_job_does_not_have_is_refused() -> None:
    async def scenario() -> None:
        s3 = ScriptedEngine()
        job = await prepared(s3, 10)
        with pytest.raises(InvalidInput, match="has partitions 0 to 0, not 1"):
            await run(job, s3, 1)

    in_simulated_time(scenario())
