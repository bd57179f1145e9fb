"""The whole path: a manifest in S3, every object of it done, and the job's files written to S3."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from airflow_s3batch.core.engine import S3, Credentials, S3Access, run
from airflow_s3batch.core.job import CompletionReport, JobSpec
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.manifest import CsvManifest
from airflow_s3batch.core.operations import CopyObject, DeleteObjects, Operation, PutObjectTagging
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.run import run_partition
from airflow_s3batch.testing import MemoryS3
from benchmarks.clients.meter import Meter, settings

_OPERATIONS: dict[str, Callable[[], Operation]] = {
    "PutObjectTagging": lambda: PutObjectTagging({"tier": "cold"}),
    "CopyObject": lambda: CopyObject("lake", target_prefix="copy/"),
    "DeleteObjects": DeleteObjects,
}


class _FilesInMemory:
    """The engine, with the manifest and the job's files kept here: for servers that only answer and keep nothing."""

    def __init__(self, engine: S3, rows: int) -> None:
        self._memory = MemoryS3("jobs")
        lines = (f"lake,data/part%3D{row // 1000}/file-{row}.parquet\n" for row in range(rows))
        self._memory.put("jobs", f"manifests/{rows}.csv", "".join(lines))
        self.call, self.check, self.run = self._memory.call, engine.check, engine.run


async def _work(told: dict[str, Any]) -> None:
    limits = Limits(in_flight=told["in_flight"])
    access = S3Access(
        credentials=lambda: Credentials("AKIDEXAMPLE", "secret"),
        endpoint_url=told["url"],
        addressing_style="path",
        verify=told["certificate"] or True,
    )
    spec = JobSpec(
        manifest=CsvManifest(f"s3://jobs/{told['manifest']}"),
        operation=_OPERATIONS[told["operation"]](),
        report=CompletionReport(f"s3://jobs/{told['report']}"),
        limits=limits,
    )
    started = time.process_time()
    async with S3(access, limits) as engine:
        s3 = _FilesInMemory(engine, told["objects"]) if told.get("files_in_memory") else engine
        job = await prepare(spec, s3, owner=("bench",), rows_per_partition=10**9)
        prepared = time.process_time() - started
        meter = Meter()
        summary = await run_partition(job, 0, s3)
    if summary.tally.succeeded != told["objects"]:
        raise SystemExit(f"{summary.tally.succeeded} of {told['objects']} objects have succeeded")
    meter.report(told["objects"], prepare_cpu=prepared)


def main() -> None:
    """Prepare the job, then measure the run of its one partition."""
    told = settings()
    runner: Callable[[Coroutine[Any, Any, None]], None] = run if told["loop"] == "uvloop" else asyncio.run
    runner(_work(told))


if __name__ == "__main__":
    main()
