from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.share import keep_share
from airflow_s3batch.core.store import JobFolder
from airflow_s3batch.testing import MemoryS3


class Clock:
    """S3's clock, and the sleep that moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        return self.now


async def after(folder: JobFolder, number: int, allowance: Allowance) -> None:
    """Let a partition leave its sign and count the others once."""

    async def enough(_: float) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await keep_share(folder, number, 900.0, allowance, sleep=enough)


def test_the_job_s_rate_is_divided_among_the_partitions_that_run() -> None:
    async def scenario() -> None:
        folder = JobFolder(MemoryS3("lake"), S3Location("lake", "reports"), "j")
        shares = [Allowance(), Allowance(), Allowance()]
        for number, share in enumerate(shares):
            await after(folder, number, share)
        assert [share.requests_per_second for share in shares] == [900, 450, 300]
        await after(folder, 0, shares[0])
        assert shares[0].requests_per_second == 300

    asyncio.run(scenario())


def test_what_a_partition_that_ended_has_used_goes_to_the_others() -> None:
    async def scenario() -> None:
        clock, share = Clock(), Allowance()
        folder = JobFolder(MemoryS3("lake", now=clock), S3Location("lake", "reports"), "j")
        await after(folder, 1, Allowance())
        await after(folder, 0, share)
        assert share.requests_per_second == 450
        clock.now += timedelta(seconds=16)
        await after(folder, 0, share)
        assert share.requests_per_second == 900

    asyncio.run(scenario())


def test_a_folder_that_cannot_be_read_leaves_the_share_as_it_is() -> None:
    async def scenario() -> None:
        share = Allowance(7.0)
        await after(JobFolder(MemoryS3(), S3Location("gone", ""), "j"), 0, share)
        assert share.requests_per_second == 7.0

    asyncio.run(scenario())
