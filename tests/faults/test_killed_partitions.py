"""`run_partition` in processes of its own, killed at hundreds of moments, against an S3 that remembers."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from airflow_s3batch.core.engine import S3, run
from airflow_s3batch.core.job import CompletionReport, JobSpec
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.manifest import CsvManifest
from airflow_s3batch.core.operations import PutObjectTagging
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete
from tests.faults import audit
from tests.faults.nursery import Nursery, Run, access, nursery

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_s3batch.core.job import Job
    from tests.faults.campaign import Campaign
    from tests.faults.recording_s3 import Record

pytestmark = pytest.mark.faults

IN_FLIGHT, CHECKPOINT_ROWS, CHECKPOINT_SECONDS = 64, 1_000, 0.5
BEAT = 1.0
"""Seconds; a run that was killed is waited for five times as long. S3 tells its time in whole seconds."""
ROWS_A_PARTITION, KILLS_A_PARTITION, AT_ONCE = 10_000, 5, 24
"""A partition's objects, the processes that may be killed for it, and partitions that run at once."""
STARTING, WORKING = 8.0, 2.5
"""Seconds: every other process is killed at a random moment after its start, the others once they have done objects."""


async def prepared(record: Record, lake: audit.Lake) -> Job:
    record.put("jobs", "manifest.csv", lake.manifest())
    spec = JobSpec(
        manifest=CsvManifest("s3://jobs/manifest.csv"),
        operation=PutObjectTagging({"tier": "cold"}),
        report=CompletionReport("s3://jobs/reports"),
        limits=Limits(in_flight=IN_FLIGHT),
    )
    async with S3(access(record.url)) as s3:
        return await prepare(spec, s3, owner=("faults",), rows_per_partition=ROWS_A_PARTITION)


async def reported(record: Record, job: Job) -> None:
    async with S3(access(record.url)) as s3:
        await complete(job, s3)


class Killing:
    """Runs of partitions that are killed at random moments until there have been so many kills."""

    def __init__(self, job: Job, nest: Nursery, kills: int) -> None:
        self._job = job
        self._nest = nest
        self._left = kills
        self.killed = 0

    async def until_done(self, number: int, chance: random.Random) -> None:
        """Run a partition until it has run to its end."""
        asked = Run("s3://jobs/reports", self._job.job_id, number, CHECKPOINT_ROWS, CHECKPOINT_SECONDS, BEAT)
        while True:
            child = await self._nest.start(asked)
            kill = self._left > 0
            self._left -= kill
            at_work = chance.random() < 0.5
            seconds = chance.uniform(0.0, WORKING if at_work else STARTING)
            if not kill or not await child.killed_after(seconds, at_work=at_work):
                assert await child.ended == 0
                self._left += kill
                return
            self.killed += 1


async def killed(record: Record, job: Job, log: Path, seed: int, kills: int) -> int:
    """Run the job's partitions, many at once, with so many kills; how many there were."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(killing: Killing, number: int) -> None:
        async with free:
            await killing.until_done(number, random.Random(f"{seed} {number}"))

    with log.open("w") as file:
        async with nursery(record.url, file) as nest:
            killing = Killing(job, nest, kills)
            await asyncio.gather(*(one(killing, number) for number in range(len(job.partitions))))
            return killing.killed


def test_partition_killed_at_any_moment_loses_and_repeats_no_more_than_promised(
    record: Record, campaign: Campaign, tmp_path: Path
) -> None:
    record.set_latency(0.02)
    campaign.begin()
    lake = audit.Lake("lake", campaign.partition_kills // KILLS_A_PARTITION * ROWS_A_PARTITION)
    job = run(prepared(record, lake))
    kills = asyncio.run(killed(record, job, tmp_path / "runs.log", campaign.seed, campaign.partition_kills))
    run(reported(record, job))

    evidence = audit.Evidence.take(record, lake, "jobs", f"reports/job-{job.job_id}/")
    bound = CHECKPOINT_ROWS + IN_FLIGHT
    lost = [attempt.lost for attempt in evidence.attempts()]
    campaign.tell(
        "run_partition",
        kills={"process": kills},
        evidence=[evidence],
        bound=bound,
    )

    assert audit.findings(evidence) == []
    assert max(lost) <= bound
    assert evidence.repeats <= kills * bound
    assert kills >= campaign.partition_kills * 0.9
    assert campaign.results[-1].died_at_work >= kills / 3
