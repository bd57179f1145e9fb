"""Manifests are read from a server that others wrote, by the engine, on both of its loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.manifest import CsvManifest, InventoryManifest, Manifest, ParquetManifest
from airflow_s3batch.core.partition import split
from airflow_s3batch.testing import MemoryS3
from tests.core.engine.flights import limits, to
from tests.core.manifest.inventories import AWKWARD, MANIFEST, WRITERS, csv_of, parquet_of, put_inventory

KEYS = [f"{number:05}{key}" for number in range(200) for key in AWKWARD]
ROWS = [{"bucket": "src", "key": key} for key in KEYS]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return engine.run if request.param == "uvloop" else asyncio.run


def files_of(file_format: str) -> MemoryS3:
    """What is to be put on the server."""
    s3 = MemoryS3("lake")
    put_inventory(s3, file_format, [ROWS, ROWS])
    s3.put("lake", "list/a.parquet", parquet_of(ROWS, ["bucket", "key"], rows_a_group=1_000))
    s3.put("lake", "list/b.parquet", parquet_of(ROWS, ["bucket", "key"], rows_a_group=1_000))
    s3.put("lake", "list.csv.gz", csv_of([{"bucket": "src", "key": "k"}] * 10_000, ["bucket", "key"]))
    return s3


@pytest.mark.parametrize("file_format", WRITERS)
def test_manifests_are_read_over_http(
    file_format: str, url: str, run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    async def keys(s3: S3, manifest: Manifest) -> list[str]:
        pinned = await manifest.pin(s3)
        found = await pinned.survey(s3)
        return [
            entry.key
            for partition in split(found.marks, 3_000, 100)
            async for some in pinned.read(s3, partition)
            for entry in some
        ]

    async def everything() -> None:
        files = files_of(file_format)
        async with S3(to(url), limits()) as s3:
            await s3.call("CreateBucket", Bucket="lake")
            for key in files.keys("lake"):
                await s3.call("PutObject", Bucket="lake", Key=key, Body=files.get("lake", key))
            assert await keys(s3, InventoryManifest(MANIFEST)) == KEYS * 2
            assert await keys(s3, ParquetManifest("s3://lake/list/*.parquet")) == KEYS * 2
            assert await keys(s3, CsvManifest("s3://lake/list.csv.gz")) == ["k"] * 10_000

    run(everything())
