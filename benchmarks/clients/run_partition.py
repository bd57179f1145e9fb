"""The whole path: a manifest in S3, every object of it done, and the job's files written to S3."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from airflow_s3batch.core.engine import S3, Credentials, S3Access, run
from airflow_s3batch.core.engine.promise import S3Engine
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import CompletionReport, Job, JobSpec
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.manifest import CsvManifest
from airflow_s3batch.core.operations import CopyObject, DeleteObjects, Operation, PutObjectTagging
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.run import run_partition
from airflow_s3batch.testing import MemoryS3
from benchmarks.clients.meter import Meter, settings
from benchmarks.clients.own_operation import Look

_PREPARE = "--prepare"
_OPERATIONS: dict[str, Callable[[], Operation]] = {
    "PutObjectTagging": lambda: PutObjectTagging({"tier": "cold"}),
    "CopyObject": lambda: CopyObject("lake", target_prefix="copy/"),
    "DeleteObjects": DeleteObjects,
    "HeadObject of one's own": Look,
}


class _FilesInMemory:
    """The engine, with the manifest and the job's files kept here: for servers that only answer and keep nothing."""

    def __init__(self, engine: S3, rows: int) -> None:
        self._memory = MemoryS3("jobs")
        lines = (f"lake,data/part%3D{row // 1000}/file-{row}.parquet\n" for row in range(rows))
        self._memory.put("jobs", f"manifests/{rows}.csv", "".join(lines))
        self.call, self.check, self.run = self._memory.call, engine.check, engine.run


async def _work(told: dict[str, Any], *, only_prepare: bool) -> None:
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
    async with S3(access, limits) as engine:
        s3 = _FilesInMemory(engine, told["objects"]) if told.get("files_in_memory") else engine
        job = await _find(spec, s3, told.get("job_id", ""))
        if only_prepare:
            print(job.job_id)
            return
        meter = Meter()
        summary = await run_partition(job, 0, s3)
    if summary.tally.succeeded != told["objects"]:
        raise SystemExit(f"{summary.tally.succeeded} of {told['objects']} objects have succeeded")
    meter.report(told["objects"])


async def _find(spec: JobSpec, s3: S3Engine, job_id: str) -> Job:
    found = await JobFolder(s3, spec.report.place, job_id).read_job() if job_id else None
    return found or await prepare(spec, s3, owner=("bench",), rows_per_partition=10**9)


def _prepared_elsewhere(told: dict[str, Any]) -> str:
    """The id of the job, prepared by another process, as by another Airflow task: its memory is not the worker's."""
    command = [sys.executable, "-m", "benchmarks.clients.run_partition", json.dumps(told), _PREPARE]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Measure the run of a prepared job's one partition."""
    told = settings()
    only_prepare = _PREPARE in sys.argv
    if not only_prepare and not told.get("files_in_memory"):
        told["job_id"] = _prepared_elsewhere(told)
    runner: Callable[[Coroutine[Any, Any, None]], None] = run if told["loop"] == "uvloop" else asyncio.run
    runner(_work(told, only_prepare=only_prepare))


if __name__ == "__main__":
    main()
