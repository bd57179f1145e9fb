"""A job prepared from a manifest that is larger than memory should be: no object is touched."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

from airflow_s3batch.core.engine import S3, Credentials, S3Access, run
from airflow_s3batch.core.job import CompletionReport, JobSpec
from airflow_s3batch.core.manifest import CsvManifest, InventoryManifest, Manifest
from airflow_s3batch.core.operations import PutObjectTagging
from airflow_s3batch.core.prepare import prepare
from benchmarks.clients.meter import Meter, settings
from benchmarks.clients.rows import KINDS, text
from benchmarks.repeated_s3 import INVENTORY, RepeatedS3

_PERIOD = 50_000
"""Rows of CSV, after which they come again."""
_HASHES = "an inventory of hashes"


def _csv(s3: RepeatedS3, rows: int) -> tuple[Manifest, int]:
    s3.repeat("lake", "manifest.csv", text("two columns", _PERIOD), rows // _PERIOD)
    return CsvManifest("s3://lake/manifest.csv"), rows


def _parquet(s3: RepeatedS3, rows: int) -> tuple[Manifest, int]:
    """An inventory of files of as many rows each: one and the same, under as many names."""
    from benchmarks.clients import prepare_file  # and pyarrow: what is measured begins after the imports

    body = subprocess.run([sys.executable, "-m", prepare_file.__name__], check=True, capture_output=True).stdout
    files = []
    for number in range(rows // prepare_file.ROWS):
        md5 = s3.put("lake", f"{INVENTORY}/{number}.parquet", body).strip('"')
        files.append({"key": f"{INVENTORY}/{number}.parquet", "size": len(body), "MD5checksum": md5})
    return InventoryManifest(s3.put_inventory("lake", files, "Parquet", "what the files say")), rows


def _gzip(s3: RepeatedS3, size: int) -> tuple[Manifest, int]:
    """An inventory of one CSV file of so many bytes, compressed: gzip lets members follow each other."""
    member = zlib.compressobj(1, wbits=31)
    packed = member.compress(text(_HASHES, _PERIOD)) + member.flush()
    times = size // len(packed)
    s3.repeat("lake", f"{INVENTORY}/0.csv.gz", packed, times)
    files = [s3.listed("lake", f"{INVENTORY}/0.csv.gz")]
    uri = s3.put_inventory("lake", files, "CSV", ", ".join(KINDS[_HASHES][0]))
    return InventoryManifest(uri), times * _PERIOD


_MANIFESTS: dict[str, Callable[[RepeatedS3, int], tuple[Manifest, int]]] = {
    "CSV": _csv,
    "Parquet": _parquet,
    "CSV.gz": _gzip,
}


class _Engine:
    """The engine, which tries the operation and sends nothing, with all files in memory."""

    def __init__(self, engine: S3, memory: RepeatedS3) -> None:
        self.call, self.check, self.run = memory.call, engine.check, engine.run


async def _work(told: dict[str, Any]) -> None:
    memory = RepeatedS3("lake", "jobs")
    manifest, rows = _MANIFESTS[told["format"]](memory, told["size"])
    spec = JobSpec(
        manifest=manifest, operation=PutObjectTagging({"tier": "cold"}), report=CompletionReport("s3://jobs/reports")
    )
    async with S3(S3Access(credentials=lambda: Credentials("AKIDEXAMPLE", "secret"))) as engine:
        meter = Meter()
        job = await prepare(spec, _Engine(engine, memory), owner=("bench",))
        took = meter.lap()
    if job.total != rows:
        raise SystemExit(f"{job.total} rows found of {rows}")
    sizes = [partition.rows for partition in job.partitions]
    meter.report(rows, took=took, partitions=len(sizes), largest=max(sizes) / (sum(sizes) / len(sizes)))


if __name__ == "__main__":
    run(_work(settings()))
