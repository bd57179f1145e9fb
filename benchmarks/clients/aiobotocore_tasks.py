"""aiobotocore, so many calls at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from aiobotocore.config import AioConfig  # type: ignore[import-not-found]
from aiobotocore.session import get_session  # type: ignore[import-not-found]

from benchmarks.clients.meter import Meter, settings

_TAGS = {"TagSet": [{"Key": "tier", "Value": "cold"}]}


async def _lane(client: Any, keys: Iterator[str]) -> None:
    for key in keys:
        await client.put_object_tagging(Bucket="lake", Key=key, Tagging=_TAGS)


async def _work(told: dict[str, Any]) -> None:
    keys = iter([f"data/part={number // 1000}/file-{number}.parquet" for number in range(told["objects"])])
    meter = Meter()
    async with get_session().create_client(
        "s3",
        endpoint_url=told["url"],
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=AioConfig(s3={"addressing_style": "path"}, max_pool_connections=told["in_flight"]),
    ) as client:
        await asyncio.gather(*(_lane(client, keys) for _ in range(told["in_flight"])))
    meter.report(told["objects"])


if __name__ == "__main__":
    asyncio.run(_work(settings()))
