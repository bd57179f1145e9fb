"""Entries to fly, and the short way to fly them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from urllib.parse import quote

from airflow_s3batch.core.engine import S3, Credentials, S3Access
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.operations import Operation, PutObjectTagging
from airflow_s3batch.core.rows import Entry, Outcome

__all__ = ["BUCKET", "KEYS", "TAG", "Naps", "entries", "fly", "in_lists", "limits", "to"]

BUCKET = "lake"
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TAG = PutObjectTagging({"tier": "cold"})


class Naps:
    """A sleep that takes no time, and remembers how long it would have been."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


def to(url: str, credentials: Callable[[], Credentials | None] = lambda: KEYS, **options: Any) -> S3Access:
    """Access to the server at this address, buckets in the path."""
    return S3Access(
        credentials=credentials, endpoint_url=url, lambda_endpoint_url=url, addressing_style="path", **options
    )


def limits(**chosen: Any) -> Limits:
    """Limits that let a fault show soon."""
    return Limits(**{"in_flight": 8, "retries": 8, "connect_timeout": 5.0, "read_timeout": 5.0, **chosen})


def entries(keys: Iterable[str], *, bucket: str = BUCKET, version: str | None = None) -> list[Entry]:
    return [Entry(row, bucket, key, version, quote(key)) for row, key in enumerate(keys, start=1)]


async def in_lists(some: list[Entry], size: int) -> AsyncIterator[list[Entry]]:
    for start in range(0, len(some), size):
        yield some[start : start + size]


async def fly(
    access: S3Access,
    some: list[Entry],
    operation: Operation = TAG,
    *,
    chosen: Limits | None = None,
    naps: Naps | None = None,
    size: int = 1_000,
) -> list[Outcome]:
    """Run the operation on the entries; their outcomes in the order in which they came."""
    async with S3(access, chosen or limits(), sleep=naps or Naps()) as s3:
        return [outcome async for some_done in s3.run(in_lists(some, size), operation) for outcome in some_done]
