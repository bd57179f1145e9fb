"""The engine without a manifest and a job: entries out of thin air, for so many seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow_s3batch.core.engine import S3, Credentials, S3Access, run
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.operations import PutObjectTagging
from airflow_s3batch.core.rows import Entry
from benchmarks.clients.meter import Meter, settings

_AT_ONCE = 1000


async def _entries(until: float) -> AsyncIterator[list[Entry]]:
    row = 0
    while time.monotonic() < until:
        keys = [f"data/part={row // 1000}/file-{row + n}.parquet" for n in range(_AT_ONCE)]
        yield [Entry(row + n + 1, "lake", key, None, key) for n, key in enumerate(keys)]
        row += _AT_ONCE


async def _work(told: dict[str, Any]) -> None:
    access = S3Access(
        credentials=lambda: Credentials(told["name"], "secret"), endpoint_url=told["url"], addressing_style="path"
    )
    limits = Limits(in_flight=told["in_flight"])
    done = failed = 0
    stop = asyncio.Event()
    async with S3(access, limits) as s3:
        meter = Meter()
        until = time.monotonic() + told["seconds"]
        asyncio.get_running_loop().call_later(told["seconds"], stop.set)
        async for outcomes in s3.run(_entries(until + 1), PutObjectTagging({"tier": "cold"}), stop=stop):
            done += len(outcomes)
            failed += sum(not outcome.succeeded for outcome in outcomes)
    meter.report(done, failed=failed)


def main() -> None:
    """Run for the time told."""
    run(_work(settings()))


if __name__ == "__main__":
    main()
