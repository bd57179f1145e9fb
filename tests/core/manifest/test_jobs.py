"""A job over an inventory or a table goes from prepare to the last outcome, as one over a CSV file does."""

from __future__ import annotations

import asyncio

import pytest

from airflow_s3batch.core.job import Job
from airflow_s3batch.core.manifest import (
    CsvManifest,
    FailedObjects,
    FilteredManifest,
    InventoryManifest,
    ListObjects,
    Manifest,
    Objects,
    ParquetManifest,
)
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete
from airflow_s3batch.core.restored import Restores, look_again
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.core.run import run_partition
from tests.core.manifest.inventories import (
    AWKWARD,
    FOLDER,
    MANIFEST,
    WRITERS,
    Row,
    csv_of,
    parquet_of,
    put_delivery,
    put_inventory,
)
from tests.core.scripted import OWNER, ScriptedEngine, fails, spec, succeeds

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


def every_third_fails(entry: Entry) -> Outcome:
    return fails(entry, ("NoSuchKey", "AccessDenied")[entry.row % 2]) if entry.row % 3 == 0 else succeeds(entry)


@pytest.mark.parametrize("file_format", WRITERS)
def test_keys_of_an_inventory_are_found_again_in_its_jobs_report(file_format: str) -> None:
    keys = [f"{number:03}{key}" for number in range(4) for key in AWKWARD]
    s3 = ScriptedEngine(every_third_fails)
    put_inventory(s3, file_format, [[{"bucket": "data", "key": key} for key in keys]])
    job = asked(InventoryManifest(MANIFEST), s3)
    run_all(job, s3)
    report = asyncio.run(complete(job, s3)).report_uri
    failed = set(keys[2::3])
    for key in set(keys) - failed:  # what isn't there, the sensor would say will never be restored
        s3.put("data", key, "restored")

    again = asked(FailedObjects(report), s3)
    denied = asked(FailedObjects(report, codes="AccessDenied"), s3)
    looked = asyncio.run(look_again(report, s3, Restores(), expected=len(keys) - len(failed)))

    assert {entry.key for entry in entries(again, s3)} == failed
    assert {entry.key for entry in entries(denied, s3)} == set(keys[2::6])
    assert (looked.rows, looked.restored, looked.ended) == (len(keys), len(keys) - len(failed), True)


def entries(job: Job, s3: ScriptedEngine) -> list[Entry]:
    """What the job is about."""

    async def reading() -> list[Entry]:
        manifest = job.spec.manifest
        return [one for part in job.partitions async for some in manifest.read(s3, part) for one in some]

    return asyncio.run(reading())


def in_two_buckets(s3: ScriptedEngine) -> dict[str, Manifest]:
    """A manifest of every kind, about two objects in each of two buckets."""
    rows: list[Row] = [{"bucket": bucket, "key": f"k {n}"} for bucket in ("data", "lake") for n in range(2)]
    for row in rows:
        s3.put(row["bucket"], row["key"], "x")
    put_inventory(s3, "CSV", [rows])
    s3.put("lake", "rows.csv", "".join(f"{row['bucket']},{row['key'].replace(' ', '%20')}\n" for row in rows))
    s3.put("lake", "rows.parquet", parquet_of(rows, ["bucket", "key"]))
    return {
        "csv": CsvManifest("s3://lake/rows.csv"),
        "inventory": InventoryManifest(MANIFEST),
        "parquet": ParquetManifest("s3://lake/rows.parquet"),
        "listing": ListObjects(["data", "lake"], prefixes="k "),
        "objects": Objects([(row["bucket"], row["key"]) for row in rows]),
        "filtered": FilteredManifest(InventoryManifest(MANIFEST), where="key LIKE 'k %'"),
    }


@pytest.mark.parametrize("kind", ["csv", "inventory", "parquet", "listing", "objects", "filtered"])
def test_several_buckets_may_be_in_a_manifest_of_any_kind_and_in_its_failures(kind: str) -> None:
    s3 = ScriptedEngine(fails)
    job = asked(in_two_buckets(s3)[kind], s3, 3)
    run_all(job, s3)
    again = asked(FailedObjects(asyncio.run(complete(job, s3)).report_uri), s3)

    expected = [("data", "k 0"), ("data", "k 1"), ("lake", "k 0"), ("lake", "k 1")]
    assert sorted((entry.bucket, entry.key) for entry in entries(job, s3)) == expected
    assert sorted((entry.bucket, entry.key) for entry in entries(again, s3)) == expected
    assert {"data", "lake"} <= set(s3.checked)
