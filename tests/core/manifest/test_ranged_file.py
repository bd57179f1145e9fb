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


MIB = 1024 * 1024


def asked_when(expected: list[list[tuple[int, int]]], read: Callable[[RangedFile], object]) -> list[list[int]]:
    """The blocks that are asked for to get ready, by what then reads, and to get ready again."""

    async def run() -> list[list[int]]:
        s3 = MemoryS3("lake")
        s3.put("lake", "file", CONTENT)
        found = await ManifestObject.find(s3, S3Location("lake", "file"), None, None)
        file = RangedFile(found, s3, asyncio.get_running_loop())
        file.expect(expected)
        told = []
        for step in (None, read, None):
            s3.calls.clear()
            if step is None:
                await file.ready()
                await asyncio.sleep(0.01)  # what isn't waited for
            else:
                await asyncio.to_thread(step, file)
            ranges = [call.parameters["Range"] for call in s3.calls]
            told.append(sorted(int(asked.removeprefix("bytes=").partition("-")[0]) // MIB for asked in ranges))
        return told

    return asyncio.run(run())


def test_what_is_expected_of_each_column_is_there_before_it_is_read() -> None:
    def read(file: RangedFile) -> None:
        for place in (0, 6 * MIB):
            file.seek(place)
            assert file.read(1000) == CONTENT[place : place + 1000]

    columns = [[(0, 2 * MIB), (4 * MIB, 5 * MIB)], [(6 * MIB, 9 * MIB)]]
    assert asked_when(columns, read) == [[0, 1, 6, 7], [], [4, 8]]


def test_what_is_expected_beyond_the_end_is_not_asked_for() -> None:
    wrong = [[(-5, -1), (11 * MIB, 1 << 60)], [(1 << 50, 1 << 60)]]

    assert asked_when(wrong, lambda file: file.seek(0)) == [[11], [], []]


def test_of_many_columns_no_more_is_kept_than_of_few() -> None:
    columns = [[(number * MIB, (number + 1) * MIB)] for number in range(12)]

    assert asked_when(columns, lambda file: file.read(100)) == [list(range(8)), [], []]


def test_a_long_read_is_not_put_together_of_blocks() -> None:
    def read(file: RangedFile) -> None:
        assert file.read(9 * MIB) == CONTENT[: 9 * MIB]

    assert asked_when([[(0, 12 * MIB)]], read) == [[0, 1], list(range(9)), [9, 10]]


def test_who_has_given_up_asks_for_nothing_more() -> None:
    assert asked_when([[(0, 12 * MIB)]], RangedFile.give_up) == [[0, 1], [], []]
