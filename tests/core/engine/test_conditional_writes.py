"""What the job's folder builds on, against two S3 servers of others: of many writers at once one has its way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.folder.documents import Documents
from airflow_s3batch.core.location import S3Location
from tests.core.engine.conftest import Run
from tests.core.engine.flights import limits, to
from tests.core.engine.test_stores import SERVERS, Store


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as store:
        yield store


def test_of_many_writers_at_once_one_has_its_way_and_no_change_is_lost(run: Run, server: Store) -> None:
    async def write(bucket: str) -> None:
        async with S3(to(server.url), limits()) as s3:
            await s3.call("CreateBucket", Bucket=bucket)
            place = Documents(s3, S3Location(bucket, "job/"), "job 1")
            first = await asyncio.gather(*[place.replace("claim", f"{n}".encode(), None) for n in range(8)])
            (etag,) = filter(None, first)
            second = await asyncio.gather(*[place.replace("claim", f"again {n}".encode(), etag) for n in range(8)])
            assert len(list(filter(None, second))) == 1
            assert await place.replace("claim", b"late", etag) is None
            await asyncio.gather(*[enter(place, name) for name in "abcdef"])
            assert sorted(await place.read("names", names) or []) == list("abcdef")

    run(write(f"lake-{run.__module__.rpartition('.')[2]}"))


def names(told: dict[str, Any]) -> list[str]:
    return list(told["names"])


async def enter(place: Documents, name: str) -> list[str]:
    return await place.change(
        "names", names, lambda before: [*(before or []), name], lambda all_: json.dumps({"names": all_}).encode()
    )
