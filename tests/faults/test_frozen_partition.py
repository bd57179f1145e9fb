"""A run that stands still until it is taken for dead, and then goes on: two runs of one partition at once."""

from __future__ import annotations

import asyncio
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
from tests.faults.nursery import Run, access, nursery

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_s3batch.core.job import Job
    from tests.faults.recording_s3 import Record

pytestmark = pytest.mark.faults

LAKE = audit.Lake("lake-frozen", 12_000)
IN_FLIGHT, CHECKPOINT_ROWS, BEAT = 64, 1_000, 1.0


async def prepared(record: Record) -> Job:
    record.put("jobs", "frozen.csv", LAKE.manifest())
    spec = JobSpec(
        manifest=CsvManifest("s3://jobs/frozen.csv"),
        operation=PutObjectTagging({"tier": "cold"}),
        report=CompletionReport("s3://jobs/reports"),
        limits=Limits(in_flight=IN_FLIGHT),
    )
    async with S3(access(record.url)) as s3:
        return await prepare(spec, s3, owner=("frozen",))


async def reported(record: Record, job: Job) -> None:
    async with S3(access(record.url)) as s3:
        await complete(job, s3)


async def until(true: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(true):  # noqa: ASYNC110 - another process's doing
        await asyncio.sleep(0.1)


async def frozen_and_woken(record: Record, job: Job, log: Path) -> tuple[int, int]:
    """Freeze a run, let another take over, and wake the first; the exit codes of the two."""
    asked = Run("s3://jobs/reports", job.job_id, 0, CHECKPOINT_ROWS, 0.5, BEAT)
    with log.open("w") as file:
        async with nursery(record.url, file) as nest:
            first = await nest.start(asked)
            await until(lambda: sum(map(bool, record.tagged(LAKE.bucket))) > CHECKPOINT_ROWS)
            first.freeze()
            before = sum(map(bool, record.tagged(LAKE.bucket)))
            second = await nest.start(asked)
            await until(lambda: sum(map(bool, record.tagged(LAKE.bucket))) > before + IN_FLIGHT)
            first.wake()
            codes = await first.ended, await second.ended
            third = await nest.start(asked)  # in case the first could still write a checkpoint before the second
            assert await third.ended == 0
            return codes


def test_woken_run_gives_way_and_the_report_is_whole(record: Record, tmp_path: Path) -> None:
    record.set_latency(0.02)
    job = run(prepared(record))

    first, _ = asyncio.run(frozen_and_woken(record, job, tmp_path / "runs.log"))
    run(reported(record, job))

    evidence = audit.Evidence.take(record, LAKE, "jobs", f"reports/job-{job.job_id}/")
    assert first == 1
    assert audit.findings(evidence, repeats_committed=True) == []
    assert evidence.repeats <= 2 * (CHECKPOINT_ROWS + IN_FLIGHT)
