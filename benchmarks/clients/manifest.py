"""What a row of a CSV manifest costs: checked by prepare's survey, and read by a partition's run."""

from __future__ import annotations

import csv
from typing import Any

from airflow_s3batch.core.engine import run
from airflow_s3batch.core.manifest import CsvManifest, InventoryManifest, Manifest
from airflow_s3batch.core.partition import split
from benchmarks.clients.meter import Meter, settings
from benchmarks.clients.rows import KINDS, text
from benchmarks.repeated_s3 import INVENTORY, RepeatedS3

_PERIOD = 50_000
"""Rows, after which they come again."""
_READ = 5
"""Partitions of a hundred thousand rows."""


async def _pinned(s3: RepeatedS3, kind: str, period: bytes, times: int) -> Manifest:
    fields, key = KINDS[kind][0], f"{INVENTORY}/0.csv"
    s3.repeat("lake", key, period, times)
    if not kind.startswith("an inventory"):
        return await CsvManifest(f"s3://lake/{key}", fields=fields).pin(s3)
    uri = s3.put_inventory("lake", [s3.listed("lake", key)], "CSV", ", ".join(fields))
    # The MD5 costs 0.2 µs a row more.
    return await InventoryManifest(uri, verify_checksums=False, include_delete_markers=True).pin(s3)


async def _work(told: dict[str, Any]) -> None:
    rows, period = told["objects"], text(told["kind"], _PERIOD)
    s3 = RepeatedS3("lake")
    manifest = await _pinned(s3, told["kind"], period, rows // _PERIOD)
    meter = Meter()
    survey = await manifest.survey(s3)
    surveyed = meter.lap()
    read = 0
    for partition in split(survey.marks, 100_000, 1_000)[:_READ]:
        async for entries in manifest.read(s3, partition):
            read += len(entries)
    reading, _ = meter.lap()
    plain = sum(1 for _ in csv.reader(period.decode().splitlines()))
    plainly, _ = meter.lap()
    if survey.rows != rows:
        raise SystemExit(f"{survey.rows} rows surveyed of {rows}")
    meter.report(rows, took=surveyed, read_us=reading / read * 1e6, csv_us=plainly / plain * 1e6)


if __name__ == "__main__":
    run(_work(settings()))
