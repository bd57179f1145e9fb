"""An object in S3 is a file to who reads it in a thread."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_s3batch.core.errors import ManifestError
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest.object import ManifestObject
from airflow_s3batch.core.manifest.ranged_file import RangedFile
from airflow_s3batch.testing import MemoryS3

T = TypeVar("T")
CONTENT = bytes(range(256)) * 4096 * 12  # 12 MiB: more than is kept of it


def reading(read: Callable[[RangedFile], T], content: bytes = CONTENT) -> T:
    async def run() -> T:
        s3 = MemoryS3("lake")
        s3.put("lake", "file", content)
        found = await ManifestObject.find(s3, S3Location("lake", "file"), None, None)
        return await asyncio.to_thread(read, RangedFile(found, s3, asyncio.get_running_loop()))

    return asyncio.run(run())


PLACES = st.integers(0, len(CONTENT) + 100)
STEPS = st.lists(st.tuples(st.sampled_from([0, 1, 2]), PLACES, st.integers(0, 3_000_000)), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_it_reads_as_a_file_in_memory_does(steps: list[tuple[int, int, int]]) -> None:
    def follow(file: io.RawIOBase | io.BytesIO) -> list[tuple[int, bytes | None]]:
        told = []
        for whence, place, size in steps:
            offset = place if whence == io.SEEK_SET else place - len(CONTENT)
            file.seek(max(offset, -file.tell()) if whence == io.SEEK_CUR else offset, whence)
            told.append((file.tell(), file.read(size)))
        return told

    def capped(told: list[tuple[int, bytes | None]]) -> list[bytes | None]:
        return [data for _, data in told]

    assert capped(reading(follow)) == capped(follow(io.BytesIO(CONTENT)))


def test_all_of_it_is_what_is_left() -> None:
    def read(file: RangedFile) -> tuple[bool, bool, bytes]:
        file.seek(-3, io.SEEK_END)
        return file.readable(), file.seekable(), file.read()

    assert reading(read) == (True, True, CONTENT[-3:])


def test_what_is_read_in_little_pieces_is_asked_for_once() -> None:
    asked: list[int] = []

    class Counting(MemoryS3):
        async def call(self, action: str, /, **parameters: object) -> dict[str, object]:
            asked.append(1)
            return await super().call(action, **parameters)

    async def run() -> bytes:
        s3 = Counting("lake")
        s3.put("lake", "file", CONTENT)
        found = await ManifestObject.find(s3, S3Location("lake", "file"), None, None)
        file = RangedFile(found, s3, asyncio.get_running_loop())
        return await asyncio.to_thread(lambda: b"".join(file.read(1000) for _ in range(2000)))

    assert asyncio.run(run()) == CONTENT[:2_000_000]
    assert len(asked) == 1 + 2


def test_nothing_is_read_once_it_was_given_up() -> None:
    def read(file: RangedFile) -> None:
        file.give_up()
        file.read(1)

    with pytest.raises(OSError, match="reading was given up"):
        reading(read)


def test_why_a_read_failed_is_kept() -> None:
    async def run() -> None:
        s3 = MemoryS3("lake")
        file = RangedFile(ManifestObject(S3Location("lake", "gone"), "etag", size=10), s3, asyncio.get_running_loop())
        with pytest.raises(ManifestError, match="doesn't exist") as caught:
            await asyncio.to_thread(file.read, 1)
        assert file.failure is caught.value

    asyncio.run(run())
