"""A job over an inventory or a table goes from prepare to the last outcome, as one over a CSV file does."""

from __future__ import annotations

import asyncio

import pytest

from airflow_s3batch.core.job import Job
from airflow_s3batch.core.manifest import InventoryManifest, Manifest, ParquetManifest
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.run import run_partition
from tests.core.manifest.inventories import (
    FOLDER,
    MANIFEST,
    WRITERS,
    Row,
    csv_of,
    parquet_of,
    put_delivery,
    put_inventory,
)
from tests.core.scripted import OWNER, ScriptedEngine, spec

COLUMNS = ("bucket", "key", "version_id", "is_latest", "is_delete_marker")
ROWS: list[Row] = [
    {"bucket": "data", "key": f"k {n}", "version_id": f"v{n}", "is_latest": n % 2 == 0, "is_delete_marker": n % 10 == 0}
    for n in range(100)
]


def asked(manifest: Manifest, s3: ScriptedEngine, rows_per_partition: int = 20) -> Job:
    wanted = spec().model_copy(update={"manifest": manifest})
    return asyncio.run(prepare(wanted, s3, owner=OWNER, rows_per_partition=rows_per_partition))


def run_all(job: Job, s3: ScriptedEngine) -> list[int]:
    """The rows that were done, in order."""
    told = Job.from_aws(job.to_aws())
    for number in range(len(told.partitions)):
        asyncio.run(run_partition(told, number, s3))
    return sorted(s3.requests)


@pytest.mark.parametrize("file_format", WRITERS)
def test_every_row_that_is_kept_is_done_once(file_format: str) -> None:
    s3 = ScriptedEngine()
    put_inventory(s3, file_format, [ROWS, ROWS[:50], ROWS], COLUMNS)
    job = asked(InventoryManifest(MANIFEST, latest_only=True), s3)

    assert job.total == 100  # 40, 20 and 40
    assert len(job.partitions) == 5
    assert run_all(job, s3) == list(range(1, 101))


def test_a_table_of_ones_own_is_a_job() -> None:
    s3 = ScriptedEngine()
    for name in ("a", "b"):
        s3.put("lake", f"list/{name}.parquet", parquet_of(ROWS, ["bucket", "key"]))
    job = asked(ParquetManifest("s3://lake/list/*.parquet"), s3, 60)

    assert [partition.rows for partition in job.partitions] == [50] * 4
    assert run_all(job, s3) == list(range(1, 201))


def test_a_retried_prepare_keeps_the_inventory_that_was_the_newest() -> None:
    s3 = ScriptedEngine()
    put_delivery(s3, [csv_of(ROWS[:10], ["bucket", "key"])], at="2026-11-01T01-00Z")
    first = asked(InventoryManifest(FOLDER), s3)
    put_delivery(s3, [csv_of(ROWS, ["bucket", "key"])], at="2026-11-02T01-00Z")
    second = asked(InventoryManifest(FOLDER), s3)

    assert second == first
    assert first.spec.manifest.location.uri == MANIFEST
    assert run_all(second, s3) == list(range(1, 11))
