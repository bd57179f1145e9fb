"""A run stops once its manifest isn't the pinned one any more. In simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from airflow_s3batch.core.errors import ManifestChanged, ManifestError
from airflow_s3batch.core.job import Job
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.manifest import InventoryManifest
from airflow_s3batch.core.operations import Operation
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.core.run import run_partition
from tests.core.manifest.inventories import MANIFEST, put_inventory
from tests.core.scripted import OWNER, ScriptedEngine, spec
from tests.core.simulated import in_simulated_time, now
from tests.core.steady import SteadyEngine, seconds

ROWS = 4_000


async def prepared(s3: ScriptedEngine, *, key_bytes: int = 5) -> Job:
    s3.put("lake", "manifest.csv", "".join(f"data,{row:0>{key_bytes}}\n" for row in range(1, ROWS + 1)))
    return await prepare(spec(), s3, owner=OWNER, now=now)


async def run(job: Job, s3: ScriptedEngine) -> Any:
    return await run_partition(job, 0, s3, clock=seconds, now=now)


async def overwrite(s3: ScriptedEngine) -> None:
    s3.put("lake", "manifest.csv", "data,other\n")


async def delete(s3: ScriptedEngine) -> None:
    await s3.call("DeleteObject", Bucket="lake", Key="manifest.csv")


@pytest.mark.parametrize(("change", "error"), [(overwrite, ManifestChanged), (delete, ManifestError)])
def test_change_of_the_manifest_stops_a_run_within_a_second(
    change: Callable[[ScriptedEngine], Awaitable[None]], error: type[ManifestError]
) -> None:
    async def scenario() -> None:
        s3 = SteadyEngine(rate=100)
        job = await prepared(s3)
        running = asyncio.create_task(run(job, s3))
        await asyncio.sleep(10.3)
        await change(s3)
        changed = seconds()
        with pytest.raises(error):
            await running
        assert max(s3.done_at) - changed <= 1.0
        assert seconds() - changed <= 1.1

    in_simulated_time(scenario())


def test_change_of_a_data_file_that_is_not_read_yet_stops_a_run_as_soon() -> None:
    async def scenario() -> None:
        s3 = SteadyEngine(rate=100)
        files = [[{"bucket": "data", "key": f"{file}/{row}"} for row in range(ROWS // 2)] for file in range(2)]
        put_inventory(s3, "CSV", files, ("bucket", "key"))
        job = await prepare(spec(manifest=InventoryManifest(MANIFEST)), s3, owner=OWNER, now=now)
        running = asyncio.create_task(run(job, s3))
        await asyncio.sleep(10.3)
        s3.put("lake", "inv/src/all/data/2026-11-01T01-00Z-1", b"another")
        changed = seconds()
        with pytest.raises(ManifestChanged, match=r"data/2026-11-01T01-00Z-1: .*no further object is touched"):
            await running
        assert max(s3.done_at) - changed <= 1.0
        assert seconds() - changed <= 1.1

    in_simulated_time(scenario())


class Ahead(ScriptedEngine):
    """Takes all entries before it begins any, while somebody overwrites the manifest."""

    async def run(
        self,
        entries: AsyncIterator[list[Entry]],
        operation: Operation,  # noqa: ARG002 - nothing is done
        *,
        stop: asyncio.Event | None = None,
        allowance: Allowance | None = None,  # noqa: ARG002
    ) -> AsyncGenerator[list[Outcome], None]:
        taken: list[Entry] = []
        async for some in entries:
            await overwrite(self)
            taken += some
        assert 0 < len(taken) < ROWS
        if stop is None or not stop.is_set():
            yield [self._do(entry) for entry in taken]


def test_run_that_reads_another_content_begins_nothing_of_what_it_has_read_before() -> None:
    async def scenario() -> None:
        s3 = Ahead()
        job = await prepared(s3, key_bytes=900)
        with pytest.raises(ManifestChanged):
            await run(job, s3)
        assert s3.requests == []

    in_simulated_time(scenario())
