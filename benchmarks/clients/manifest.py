"""What a row of a manifest costs: checked by prepare's survey, and read by a partition's run."""

from __future__ import annotations

import asyncio
import csv
import io

from airflow_s3batch.core.manifest import CsvManifest
from airflow_s3batch.core.partition import split
from airflow_s3batch.testing import MemoryS3
from benchmarks.clients.meter import Meter, settings


async def _work(rows: int) -> None:
    lines = (f"lake-bucket,data/year%3D2026/part%3D{row // 1000}/file-{row}.parquet\n" for row in range(rows))
    s3, text = MemoryS3("lake"), "".join(lines)
    s3.put("lake", "manifest.csv", text)
    manifest = await CsvManifest("s3://lake/manifest.csv").pin(s3)
    meter = Meter()
    survey = await manifest.survey(s3)
    surveyed = meter.lap()
    read = 0
    for partition in split(survey.marks, 100_000, 100):
        async for entries in manifest.read(s3, partition):
            read += len(entries)
    reading, _ = meter.lap()
    for _ in csv.reader(io.StringIO(text)):
        pass
    plainly, _ = meter.lap()
    if not survey.rows == read == rows:
        raise SystemExit(f"{survey.rows} rows surveyed and {read} read of {rows}")
    meter.report(rows, took=surveyed, read_us=reading / rows * 1e6, csv_us=plainly / rows * 1e6)


if __name__ == "__main__":
    asyncio.run(_work(settings()["objects"]))
