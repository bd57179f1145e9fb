"""What may be in flight is changed while entries are on their way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar

import pytest

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.operations import Operation, StepsOperation
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.conftest import Run
from tests.core.engine.flights import TAG, entries, in_lists, limits, to
from tests.servers import Request, ScriptedServer, Step, answer

LATENCY = 0.1


class Look(StepsOperation):
    """A HEAD each."""

    aws_name: ClassVar[str] = "S3LookInTests"

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        await s3.call("HeadObject", Bucket=entry.bucket, Key=entry.key)
        return ""


@pytest.mark.parametrize("operation", [TAG, Look()], ids=["request", "steps"])
def test_more_and_fewer_are_in_flight_as_the_allowance_says(run: Run, operation: Operation) -> None:
    arrived: list[float] = []

    def script(_: Request) -> Sequence[Step]:
        arrived.append(time.monotonic())
        return [LATENCY, answer(200)]

    def at_once(begin: float, end: float) -> int:
        """The most that were in flight in this time."""
        return max(sum(at - LATENCY < other <= at for other in arrived) for at in arrived if begin <= at < end)

    async def change(url: str) -> tuple[list[Outcome], list[float]]:
        allowance = Allowance(in_flight=2)
        moments: list[float] = []
        outcomes: list[Outcome] = []

        async def keep_changing() -> None:
            for in_flight in (40, 3):
                await asyncio.sleep(2.0)
                moments.append(time.monotonic())
                allowance.in_flight = in_flight
            await asyncio.sleep(1.5)
            moments.append(time.monotonic())
            stop.set()

        stop = asyncio.Event()
        async with S3(to(url), limits(in_flight=8)) as s3:
            changing = asyncio.create_task(keep_changing())
            some = in_lists(entries(map(str, range(20_000))), 1_000)
            async for done in s3.run(some, operation, stop=stop, allowance=allowance):
                outcomes += done
            await changing
        return outcomes, moments

    with ScriptedServer(script) as slow:
        outcomes, (more, fewer, end) = run(asyncio.wait_for(change(slow.url), 30.0))

    assert len({outcome.entry.row for outcome in outcomes}) == len(outcomes) == len(arrived)
    assert at_once(0, more) <= 2
    assert 20 <= at_once(more, fewer) <= 40
    assert at_once(fewer + 2 * LATENCY, end) <= 3
