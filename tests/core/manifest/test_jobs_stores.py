"""A job by every kind of manifest, from prepare to its report, against two S3 servers that others wrote."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.job import CompletionReport, JobSpec
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
from airflow_s3batch.core.operations import PutObjectTagging
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.report import complete
from airflow_s3batch.core.reported import read_report
from airflow_s3batch.core.rows import Outcome
from airflow_s3batch.core.run import run_partition
from airflow_s3batch.testing import MemoryS3
from tests.core.engine.flights import limits, to
from tests.core.engine.test_stores import Store, store
from tests.core.manifest.inventories import FOLDER, MANIFEST, WRITERS, parquet_of, put_inventory
from tests.core.scripted import OWNER

__all__ = ["store"]


def files(file_format: str, keys: tuple[str, ...]) -> MemoryS3:
    """What is to be put on the server: the same objects and one that isn't there, in several formats."""
    s3 = MemoryS3("lake")
    rows = [{"bucket": "lake", "key": key} for key in (*keys, "missing +")]
    put_inventory(s3, file_format, [rows[:5], rows[5:]])
    s3.put("lake", "inv/keys.csv", "".join(f"lake,{quote(row['key'], safe='/')}\n" for row in rows))
    s3.put("lake", "inv/keys.parquet", parquet_of(rows, ["bucket", "key"]))
    return s3


@asynccontextmanager
async def put(s3: S3, made: MemoryS3) -> AsyncGenerator[None, None]:
    """The files on the server, for a while: other tests list the same bucket."""
    for key in made.keys("lake"):
        await s3.call("PutObject", Bucket="lake", Key=key, Body=made.get("lake", key))
    yield
    for key in made.keys("lake"):
        await s3.call("DeleteObject", Bucket="lake", Key=key)


async def done(s3: S3, manifest: Manifest, tag: str) -> tuple[str, list[Outcome]]:
    """Run a whole job: where its report is, and what stands in it."""
    spec = JobSpec(
        manifest=manifest,
        operation=PutObjectTagging({"job": tag}),
        report=CompletionReport("s3://ten/reports"),
        limits=limits(),
    )
    job = await prepare(spec, s3, owner=OWNER, rows_per_partition=20)
    for number in range(len(job.partitions)):
        await run_partition(job, number, s3)
    report = (await complete(job, s3)).report_uri
    return report, [outcome async for outcome in read_report(report, s3)]


async def tagged(s3: S3, keys: tuple[str, ...], tag: str) -> set[str]:
    wanted = [{"Key": "job", "Value": tag}]
    return {key for key in keys if (await s3.call("GetObjectTagging", Bucket="lake", Key=key))["TagSet"] == wanted}


KINDS: dict[str, Callable[[tuple[str, ...]], Manifest]] = {
    "csv": lambda _: CsvManifest("s3://lake/inv/keys.csv"),
    "parquet": lambda _: ParquetManifest("s3://lake/inv/*.parquet"),
    "listing": lambda _: ListObjects("lake", exclude="inv/**"),
    "objects": lambda keys: Objects([("lake", key) for key in (*keys, "missing +")]),
    "newest": lambda _: InventoryManifest(FOLDER),
    "filtered": lambda _: FilteredManifest(InventoryManifest(MANIFEST), where="key IS NOT NULL AND bucket = 'lake'"),
    **{file_format: lambda _: InventoryManifest(MANIFEST) for file_format in WRITERS},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_awkward_key_is_done_and_reported(store: Store, kind: str) -> None:
    made = files(kind if kind in WRITERS else "CSV", store.keys)
    missing: set[str] = set() if kind == "listing" else {"missing +"}

    async def scenario() -> dict[str, Any]:
        async with S3(to(store.url), limits()) as s3, put(s3, made):
            report, outcomes = await done(s3, KINDS[kind](store.keys), kind)
            found: dict[str, Any] = {
                "succeeded": [outcome.entry.key for outcome in outcomes if outcome.succeeded],
                "failed": [outcome.entry.key for outcome in outcomes if not outcome.succeeded],
                "tagged": await tagged(s3, store.keys, kind),
            }
            if missing:
                _, again = await done(s3, FailedObjects(report, codes="NoSuchKey"), "again")
                found["again"] = [(outcome.entry.key, outcome.code) for outcome in again]
            return found

    found = engine.run(scenario())

    assert sorted(found["succeeded"]) == sorted(store.keys)
    assert found["tagged"] == set(store.keys)
    assert set(found["failed"]) == missing
    assert found.get("again", [("missing +", "NoSuchKey")]) == [("missing +", "NoSuchKey")]
