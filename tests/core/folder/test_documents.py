"""Documents that many change at once, on stores that mind conditions and on such that don't."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_s3batch.core.errors import JobConflict, ReportError, S3Error
from airflow_s3batch.core.folder.documents import Documents
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.testing import MemoryS3


class Store(MemoryS3):
    """Lets other callers go first at every call, and answers conditional writes as told.

    Args:
        refusal: the status that answers them; None to mind them.
        times: how many of them; the rest is minded.
        lost: whether what is refused is carried out nevertheless.
    """

    def __init__(self, refusal: int | None = None, *, times: int = 1_000_000, lost: bool = False) -> None:
        super().__init__("lake")
        self._refusal = refusal
        self._times = times
        self._lost = lost

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self._refusal is not None and self._times and parameters.keys() & {"IfMatch", "IfNoneMatch"}:
            self._times -= 1
            if self._lost:
                await super().call(action, **parameters)
            raise S3Error(action, "s3://lake/", status=self._refusal, code="Refused", message="no")
        return await super().call(action, **parameters)


def documents(s3: MemoryS3) -> Documents:
    return Documents(s3, S3Location("lake", "job/"), "job 1")


async def enter(place: Documents, name: str) -> list[str]:
    """Add a name to a list of names; return it."""

    def read(told: dict[str, Any]) -> list[str]:
        return list(told["names"])

    def write(names: list[str]) -> bytes:
        return json.dumps({"names": names}).encode()

    return await place.change("names.json", read, lambda before: [*(before or []), name], write)


@pytest.mark.parametrize("s3", [Store(), Store(409, times=5)])
def test_of_many_changes_at_once_none_is_lost(s3: Store) -> None:
    async def scenario() -> None:
        place = documents(s3)
        longest = max(await asyncio.gather(*[enter(place, name) for name in "abcdefgh"]), key=len)
        assert sorted(longest) == list("abcdefgh")

    asyncio.run(scenario())


def test_change_to_what_is_there_is_not_written() -> None:
    async def scenario() -> None:
        s3 = Store()
        place = documents(s3)
        await place.write("same.json", b"{}")
        s3.calls.clear()
        same: dict[str, Any] = {}
        assert await place.change("same.json", lambda _: same, lambda _: same, lambda _: b"") is same
        assert s3.actions == ["GetObject"]

    asyncio.run(scenario())


def test_store_that_does_not_implement_conditions_is_written_without() -> None:
    async def scenario() -> None:
        place = documents(Store(501))
        assert [len(await enter(place, name)) for name in "abc"] == [1, 2, 3]

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [409, 412])
def test_write_whose_answer_was_lost_is_ours(status: int) -> None:
    async def scenario() -> None:
        place = documents(Store(status, times=1, lost=True))
        assert await place.replace("a.json", b"{}", None)
        assert await place.read("a.json", dict) == {}

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [403, 412])
def test_refusal_without_a_reason_is_an_error(status: int) -> None:
    async def scenario() -> None:
        with pytest.raises(ReportError, match="job 1: The job report could not be written"):
            await documents(Store(status)).replace("a.json", b"{}", None)

    asyncio.run(scenario())


def test_document_that_others_change_all_the_time_is_a_conflict() -> None:
    class Busy(Store):
        async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
            if action == "PutObject":
                self.put("lake", "job/names.json", json.dumps({"names": [len(self.calls)]}))
            return await super().call(action, **parameters)

    async def scenario() -> None:
        with pytest.raises(JobConflict, match="changed by others all the time"):
            await enter(documents(Busy()), "a")

    asyncio.run(scenario())


def test_bytes_are_those_that_were_written() -> None:
    async def scenario() -> None:
        place = documents(MemoryS3("lake"))
        await place.write("rows", b"x")
        assert await place.read_bytes("rows", "9dd4e461268c8034f5c8564e155c67a6") == b"x"
        with pytest.raises(ReportError, match="job/rows is not the file that was written"):
            await place.read_bytes("rows", "0" * 32)
        with pytest.raises(ReportError, match="job/gone is missing"):
            await place.read_bytes("gone", "0" * 32)

    asyncio.run(scenario())
