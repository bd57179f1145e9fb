"""Listing in parallel gives every key once, whatever keys there are and wherever their space is cut."""

from __future__ import annotations

import asyncio
import bisect
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.errors import ManifestError, S3Error
from airflow_s3batch.core.manifest.keyspace import KeySpace, Page, guesses


class Bucket:
    """A bucket of these keys, which answers in an order of its own, and counts what it is asked."""

    uri = "s3://lake/"

    def __init__(self, keys: Iterable[str], *, page: int = 10, repeats: bool = False, seed: int = 0) -> None:
        self.keys = sorted(keys)
        self.repeats = repeats
        self.pages = 0
        self.looks = 0
        self.at_once = 0
        self.most_at_once = 0
        self._page = page
        self._random = random.Random(seed)

    def after(self, key: str) -> Mapping[str, str]:
        return {"StartAfter": key}

    async def page(self, prefix: str, start: Mapping[str, str]) -> Page:
        self.pages += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self._answering()
        self.at_once -= 1
        at = int(start["At"]) if "At" in start else bisect.bisect_right(self.keys, start["StartAfter"])
        found = [(i, key) for i, key in enumerate(self.keys) if i >= at and key.startswith(prefix)]
        taken = found[: self._page]
        more = {"At": str(taken[-1][0] + 1)} if len(found) > len(taken) else None
        return Page([{"Key": key, "At": i} for i, key in taken], more)

    async def first(self, prefix: str, key: str) -> str | None:
        await self._answering()
        self.looks += 1
        return next((found for found in self.keys if found > key and found.startswith(prefix)), None)

    async def groups(self, prefix: str, key: str) -> list[str]:
        await self._answering()
        self.looks += 1
        inside = [found for found in self.keys if found.startswith(prefix)]
        groups = {found[: found.find("/", len(prefix)) + 1] for found in inside if "/" in found[len(prefix) :]}
        return sorted(group for group in groups if group > key)[: self._page]

    async def _answering(self) -> None:
        for _ in range(self._random.randrange(4, 8)):
            await asyncio.sleep(0)


def listed(bucket: Bucket, *prefixes: str, at_once: int = 8) -> list[dict[str, Any]]:
    async def listing() -> list[dict[str, Any]]:
        space = KeySpace(bucket, at_once=at_once)
        return [item async for items in space.pages(prefixes) for item in items]

    return asyncio.run(listing())


def keys_of(items: list[dict[str, Any]]) -> list[str]:
    return sorted(item["Key"] for item in items)


LAYOUTS: dict[str, Callable[[], Iterable[str]]] = {
    "numbered": lambda: (f"part-{number:05}.parquet" for number in range(2_000)),
    "hashes": lambda: (f"{random.Random(number).getrandbits(128):032x}" for number in range(2_000)),
    "days": lambda: (
        f"raw/year=2026/month={month:02}/day={day:02}/part-{number:03}"
        for month in range(1, 13)
        for day in range(1, 29)
        for number in range(6)
    ),
    "words": lambda: (
        f"{one}{two}/{three}/{number}"
        for one in "abcdefgh"
        for two in "xyzé"
        for three in ("in", "out")
        for number in range(30)
    ),
    "one folder in one folder": lambda: (f"a/b/c/d/e/f/{number:04}" for number in range(2_000)),
    "markers and folders": lambda: (
        key for number in range(500) for key in (f"f{number:03}", f"f{number:03}/", f"f{number:03}/x")
    ),
    "awkward": lambda: (
        f"{chr(letter)}{number}" for letter in (1, 9, 10, 0x7F, 0xFFFF, 0x10FFFF) for number in range(200)
    ),
    "one": lambda: ["only"],
    "none": list,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("at_once", [1, 3, 32])
def test_every_key_is_listed_once(layout: str, at_once: int) -> None:
    keys = list(LAYOUTS[layout]())

    assert keys_of(listed(Bucket(keys), at_once=at_once)) == sorted(keys)


# Few characters, so that keys have much in common; among them those about which XML, URLs and sorting differ.
KEYS = st.sets(st.text(st.sampled_from("ab/019-\x01\n\x7fé\uffff\U0001f600\U0010ffff"), min_size=1, max_size=6))


@given(keys=KEYS, page=st.integers(1, 7), at_once=st.integers(1, 12), seed=st.integers(0, 1_000))
def test_any_keys_are_listed_once(keys: set[str], page: int, at_once: int, seed: int) -> None:
    assert keys_of(listed(Bucket(keys, page=page, seed=seed), at_once=at_once)) == sorted(keys)


@given(
    keys=st.lists(st.text(st.sampled_from("ab/0\U0010ffff"), min_size=1, max_size=4), max_size=60),
    page=st.integers(1, 5),
    seed=st.integers(0, 1_000),
)
def test_every_version_of_a_key_is_listed_once(keys: list[str], page: int, seed: int) -> None:
    items = listed(Bucket(keys, page=page, repeats=True, seed=seed))

    assert sorted((item["Key"], item["At"]) for item in items) == [(key, at) for at, key in enumerate(sorted(keys))]


@given(keys=KEYS, prefixes=st.lists(st.text(st.sampled_from("ab/0"), max_size=3), min_size=1, max_size=4))
def test_prefixes_choose_and_may_overlap(keys: set[str], prefixes: list[str]) -> None:
    wanted = sorted(key for key in keys if key.startswith(tuple(prefixes)))

    assert keys_of(listed(Bucket(keys), *prefixes)) == wanted


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in {"one", "none"}])
def test_the_space_is_divided_among_the_idle(layout: str) -> None:
    bucket = Bucket(LAYOUTS[layout](), page=20)

    listed(bucket, at_once=16)

    assert bucket.most_at_once >= 8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_being_parallel_costs_at_most_as_many_pages_again(layout: str) -> None:
    bucket = Bucket(LAYOUTS[layout](), page=20)

    listed(bucket, at_once=16)

    assert bucket.pages <= 2 * (len(bucket.keys) // 20 + 1) + 2 * 16


def test_one_worker_asks_for_the_pages_of_a_serial_listing() -> None:
    bucket = Bucket(LAYOUTS["days"](), page=20)

    listed(bucket, at_once=1)

    assert (bucket.pages, bucket.looks) == (-(-len(bucket.keys) // 20), 0)


def test_guesses_lie_where_keys_of_the_same_make_would() -> None:
    page = [f"part-{number:05}" for number in range(417)]

    assert guesses(page, None, 0) == ["part-01", "part-04", "part-07", "part-1", "part-4", "part-7"]


def test_a_guess_is_after_the_page_and_before_the_end() -> None:
    page = [f"{number:03}" for number in range(100, 200)]

    assert all("199" < guess < "5" for guess in guesses(page, "5", 0))


def test_keys_that_come_in_no_order_are_refused() -> None:
    bucket = Bucket("abc")
    bucket.keys = ["b", "a", "c"]

    with pytest.raises(ManifestError, match=r"s3://lake/: keys are not listed in their order \(near 'b'\)"):
        listed(bucket)


def test_what_a_worker_fails_with_ends_the_listing() -> None:
    class Broken(Bucket):
        async def page(self, prefix: str, start: Mapping[str, str]) -> Page:
            if self.pages == 20:
                raise S3Error("ListObjectsV2", self.uri, status=403, code="AccessDenied", message="no")
            return await super().page(prefix, start)

    with pytest.raises(S3Error, match="AccessDenied"):
        listed(Broken(LAYOUTS["numbered"]()))


def test_memory_holds_some_pages_a_worker_when_they_are_taken_slowly() -> None:
    async def scenario() -> int:
        bucket = Bucket(LAYOUTS["numbered"](), page=1)
        pages = KeySpace(bucket, at_once=4).pages()
        await anext(pages)
        for _ in range(1_000):
            await asyncio.sleep(0)
        await pages.aclose()
        return bucket.pages

    assert asyncio.run(scenario()) < 20
