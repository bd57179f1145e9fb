"""What partitions notice that run in processes of their own: too many failures of all together, a changed manifest."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from airflow_s3batch.core.engine import S3, run
from airflow_s3batch.core.errors import JobFailed
from airflow_s3batch.core.folder.sign import BEAT
from airflow_s3batch.core.job import CompletionReport, JobSpec
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.manifest import CsvManifest
from airflow_s3batch.core.operations import PutObjectTagging
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete
from tests.faults.audit import Lake
from tests.faults.nursery import Child, Run, access, nursery

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from airflow_s3batch.core.job import Job
    from tests.faults.recording_s3 import Record

pytestmark = pytest.mark.faults

PARTITIONS, ROWS_A_PARTITION = 4, 20_000
LATENCY = 0.05
PATIENCE = 60.0


async def prepared(record: Record, lake: Lake, in_flight: int) -> Job:
    record.set_latency(LATENCY)
    record.put("jobs", f"{lake.bucket}.csv", lake.manifest())
    spec = JobSpec(
        manifest=CsvManifest(f"s3://jobs/{lake.bucket}.csv"),
        operation=PutObjectTagging({"tier": "cold"}),
        report=CompletionReport("s3://jobs/reports"),
        limits=Limits(in_flight=in_flight),
    )
    async with S3(access(record.url)) as s3:
        return await prepare(spec, s3, owner=(lake.bucket,), rows_per_partition=ROWS_A_PARTITION)


async def reported(record: Record, job: Job) -> None:
    async with S3(access(record.url)) as s3:
        await complete(job, s3)


def served(record: Record, lake: Lake) -> list[int]:
    return [row for row in record.tagged(lake.bucket) if row]


def by_partition(job: Job, rows: list[int]) -> list[list[int]]:
    return [[row for row in rows if part.first_row <= row < part.first_row + part.rows] for part in job.partitions]


def status(record: Record, job: Job) -> str:
    return str(json.loads(record.get("jobs", f"reports/job-{job.job_id}/status.json"))["Status"])


async def until(true: Callable[[], bool]) -> float:
    """When it is."""
    give_up = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.05)
    return time.monotonic()


@asynccontextmanager
async def running(record: Record, job: Job, log: Path) -> AsyncGenerator[list[Child], None]:
    """All partitions of the job, each in a process."""
    with log.open("w") as file:
        async with nursery(record.url, file) as nest:
            yield [
                await nest.start(Run("s3://jobs/reports", job.job_id, part.number, 10_000, 30.0, BEAT))
                for part in job.partitions
            ]


async def all_ended(children: list[Child]) -> list[int]:
    return list(await asyncio.wait_for(asyncio.gather(*(child.ended for child in children)), PATIENCE))


def test_job_fails_within_ten_seconds_of_too_many_failures_in_all_processes_together(
    record: Record, tmp_path: Path
) -> None:
    lake = Lake("lake-failing", PARTITIONS * ROWS_A_PARTITION, missing_every=1)
    job = run(prepared(record, lake, in_flight=5))
    each: list[int] = []

    async def scenario() -> float:
        async with running(record, job, tmp_path / "runs.log") as children:
            passed = await until(lambda: len(served(record, lake)) >= 1_000)
            each.extend(map(len, by_partition(job, served(record, lake))))
            assert await all_ended(children) == [1] * PARTITIONS
            return time.monotonic() - passed

    assert asyncio.run(scenario()) <= 10.0
    assert 0 < min(each) <= max(each) < 1_000
    with pytest.raises(JobFailed, match="FailureThresholdExceeded"):
        run(reported(record, job))
    assert status(record, job) == "Failed"


def test_changed_manifest_stops_all_processes_within_seconds_and_no_row_of_it_is_run(
    record: Record, tmp_path: Path
) -> None:
    lake = Lake("lake-swapped", PARTITIONS * ROWS_A_PARTITION)
    other = Lake("lake-swapped-other", lake.rows)
    job = run(prepared(record, lake, in_flight=16))

    async def scenario() -> float:
        async with running(record, job, tmp_path / "runs.log") as children:
            await until(lambda: len(served(record, lake)) >= 1_000)
            record.put("jobs", f"{lake.bucket}.csv", other.manifest())
            changed = time.monotonic()
            assert await all_ended(children) == [1] * PARTITIONS
            return time.monotonic() - changed

    assert asyncio.run(scenario()) <= 8.0
    assert served(record, other) == []
    assert len(served(record, lake)) < lake.rows
    with pytest.raises(JobFailed, match="ManifestChanged"):
        run(reported(record, job))
    assert status(record, job) == "Failed"
