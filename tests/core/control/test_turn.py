"""A job whose priority was changed goes before or after the others at its report location."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from airflow_s3batch.core.control.confirm import answer
from airflow_s3batch.core.control.controls import Controls
from airflow_s3batch.core.control.turn import change_priority, goes_before, takes_its_turn
from airflow_s3batch.core.errors import InvalidInput, JobConflict
from airflow_s3batch.core.folder.overrides import Overrides
from airflow_s3batch.core.folder.status import JobState
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete
from tests.core.scripted import ScriptedEngine, spec
from tests.core.test_run import run


def scenario(work: Callable[[ScriptedEngine, Job, Job], Awaitable[None]], *, first: int = 1, second: int = 5) -> None:
    """Two jobs that are Ready, of these priorities."""

    async def main() -> None:
        s3 = ScriptedEngine()
        s3.put("lake", "manifest.csv", "data,a\n")
        jobs = [
            await prepare(spec().model_copy(update={"priority": priority}), s3, owner=(name,))
            for name, priority in (("first", first), ("second", second))
        ]
        await work(s3, *jobs)

    asyncio.run(main())


async def change(s3: ScriptedEngine, job: Job, priority: int) -> None:
    await change_priority(s3, job.spec.report.place, job.job_id, priority)


async def described(s3: ScriptedEngine, job: Job) -> dict[str, Any]:
    return await Controls(s3, job.spec.report.place, job.job_id).describe()


def test_jobs_whose_priorities_nobody_changed_wait_for_nobody_here() -> None:
    async def work(s3: ScriptedEngine, first: Job, second: Job) -> None:
        assert (await goes_before(first, s3), await goes_before(second, s3)) == (None, None)

    scenario(work)


def test_job_that_is_raised_goes_before_the_others() -> None:
    async def work(s3: ScriptedEngine, first: Job, second: Job) -> None:
        await change(s3, first, 9)
        assert (await goes_before(first, s3), await goes_before(second, s3)) == (None, first.job_id)
        assert (await described(s3, first))["Priority"] == 9
        assert (await described(s3, second))["Priority"] == 5

    scenario(work)


def test_job_that_is_lowered_goes_after_the_others() -> None:
    async def work(s3: ScriptedEngine, first: Job, second: Job) -> None:
        await change(s3, second, 0)
        assert (await goes_before(first, s3), await goes_before(second, s3)) == (None, first.job_id)

    scenario(work)


def test_priority_that_is_changed_back_gives_the_order_back() -> None:
    async def work(s3: ScriptedEngine, first: Job, second: Job) -> None:
        await change(s3, first, 9)
        await change(s3, first, 1)
        assert (await goes_before(first, s3), await goes_before(second, s3)) == (second.job_id, None)

    scenario(work)


def test_equals_wait_for_nobody() -> None:
    async def work(s3: ScriptedEngine, first: Job, second: Job) -> None:
        await change(s3, first, 9)
        await change(s3, first, 5)
        assert (await goes_before(first, s3), await goes_before(second, s3)) == (None, None)

    scenario(work)


def test_nobody_waits_for_a_job_that_has_ended() -> None:
    async def work(s3: ScriptedEngine, first: Job, second: Job) -> None:
        await change(s3, first, 9)
        await run(first, s3)
        assert await goes_before(second, s3) == first.job_id
        await complete(first, s3)
        assert await goes_before(second, s3) is None

    scenario(work)


@pytest.mark.parametrize("status", list(JobStatus))
def test_nobody_waits_for_a_job_that_waits_itself_or_is_over(status: JobStatus) -> None:
    state = JobState(job_id="other", status=status, created="2026-11-24T12:00:00.000Z")

    assert takes_its_turn(state) is (status in {JobStatus.READY, JobStatus.ACTIVE})


def test_nobody_waits_for_a_job_that_is_gone() -> None:
    assert not takes_its_turn(None)


@pytest.mark.parametrize("priority", [-1, 2**31, 1.5, True])
def test_wrong_priority_is_refused_before_s3_is_asked(priority: Any) -> None:
    async def work(s3: ScriptedEngine, first: Job, _: Job) -> None:
        s3.calls.clear()
        with pytest.raises(InvalidInput, match="it is a whole number from 0 to 2147483647"):
            await change(s3, first, priority)
        assert s3.calls == []

    scenario(work)


def test_job_that_is_over_keeps_its_priority() -> None:
    async def work(s3: ScriptedEngine, first: Job, _: Job) -> None:
        await answer(first, s3, approved=False, by="ada")
        with pytest.raises(JobConflict, match="can't be changed: it is Cancelled"):
            await change(s3, first, 9)
        with pytest.raises(JobConflict, match="can't be changed: there is no such job"):
            await change_priority(s3, first.spec.report.place, "nobodys", 9)

    scenario(work)


def test_order_is_kept_with_what_else_was_changed() -> None:
    async def work(s3: ScriptedEngine, first: Job, second: Job) -> None:
        await Controls(s3, second.spec.report.place, second.job_id).change_limits(in_flight=3)
        await change(s3, first, 9)
        overrides = await JobFolder.of(s3, second).read_overrides()
        assert (dict(overrides.limits), overrides.after) == ({"in_flight": 3}, (first.job_id,))
        assert Overrides.from_json(overrides.to_json()) == overrides

    scenario(work)
