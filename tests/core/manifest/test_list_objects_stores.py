"""`ListObjects` against two S3 servers that others wrote, with every awkward key."""

from __future__ import annotations

import pytest

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.folder.status import utc_now
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import ListObjects
from airflow_s3batch.core.manifest.keyspace import KeySpace, Page
from airflow_s3batch.core.manifest.listing import ObjectListing, VersionListing
from airflow_s3batch.core.partition import split
from airflow_s3batch.core.rows import Entry
from tests.core.engine.flights import limits, to
from tests.core.engine.test_stores import Store, store

__all__ = ["store"]

FOLDERS = [
    f"{year}/{month:02}/part-{number:03}.csv" for year in (2025, 2026) for month in (1, 2, 3) for number in range(9)
]


def found(store: Store, manifest: ListObjects) -> list[Entry]:
    async def finding() -> list[Entry]:
        async with S3(to(store.url), limits()) as s3:
            resolved = await manifest.resolve(s3, S3Location("ten", "job-1/generated-manifest/"), utc_now())
            survey = await resolved.survey(s3)
            (whole,) = split(survey.marks, survey.rows, 1)
            return [entry async for some in resolved.read(s3, whole) for entry in some]

    entries: list[Entry] = engine.run(finding())
    return sorted(entries, key=lambda entry: (entry.key, entry.version or ""))


def test_every_awkward_key_is_found_as_it_is(store: Store) -> None:
    assert [entry.key for entry in found(store, ListObjects("lake"))] == sorted(store.keys)


@pytest.fixture(scope="module")
def versions(store: Store) -> list[tuple[str, str]]:
    """A bucket ``history`` with three versions of each awkward key and a delete marker on half of them."""

    async def fill() -> list[tuple[str, str]]:
        written = []
        async with S3(to(store.url), limits()) as s3:
            await s3.call("CreateBucket", Bucket="history")
            await s3.call("PutBucketVersioning", Bucket="history", VersioningConfiguration={"Status": "Enabled"})
            for number, key in enumerate(store.keys):
                for body in (b"1", b"2", b"3"):
                    got = await s3.call("PutObject", Bucket="history", Key=key, Body=body)
                    written.append((key, got["VersionId"]))
                if number % 2:
                    got = await s3.call("DeleteObject", Bucket="history", Key=key)
                    written.append((key, got["VersionId"]))
        return written

    written: list[tuple[str, str]] = engine.run(fill())
    return written


def test_every_version_is_found_once(store: Store, versions: list[tuple[str, str]]) -> None:
    entries = found(store, ListObjects("history", versions=True, delete_markers=True))

    assert [(entry.key, entry.version) for entry in entries] == sorted(versions)


@pytest.mark.parametrize("listing", [ObjectListing, VersionListing])
@pytest.mark.parametrize("size", [7])
def test_a_bucket_is_listed_in_parts_whatever_the_size_of_pages(
    store: Store, versions: list[tuple[str, str]], listing: type[ObjectListing | VersionListing], size: int
) -> None:
    class SmallPages:  # at most so many items
        def __init__(self, s3: S3, bucket: str) -> None:
            self._listing = listing(s3, bucket)
            self.uri, self.repeats = self._listing.uri, self._listing.repeats
            self.after, self.first, self.groups = self._listing.after, self._listing.first, self._listing.groups

        async def page(self, prefix: str, start: dict[str, str]) -> Page:
            return await self._listing.page(prefix, {**start, "MaxKeys": size})  # type: ignore[dict-item]

    async def listed() -> list[tuple[str, str]]:
        async with S3(to(store.url), limits()) as s3:
            pages = KeySpace(SmallPages(s3, "history"), at_once=4).pages()  # type: ignore[arg-type]
            return [(item["Key"], item.get("VersionId", "")) async for page in pages for item in page]

    current = {(key, "") for number, key in enumerate(store.keys) if number % 2 == 0}
    wanted = set(versions) if listing is VersionListing else current
    found = engine.run(listed())
    if store.name == "moto" and listing is VersionListing:
        # It counts a page's versions without its delete markers, and tells these some pages later.
        assert len(wanted) > len(found) >= 3 * len(store.keys)
    else:
        assert sorted(found) == sorted(wanted)


def test_keys_are_chosen_by_tags_that_a_server_keeps(store: Store) -> None:
    async def fill() -> None:
        async with S3(to(store.url), limits()) as s3:
            await s3.call("CreateBucket", Bucket="folders")
            for number, key in enumerate(FOLDERS):
                tags = "tier=cold" if number % 5 == 0 else "tier=hot"
                await s3.call("PutObject", Bucket="folders", Key=key, Body=b"x" * number, Tagging=tags)

    engine.run(fill())

    entries = found(store, ListObjects("folders", tags={"tier": "cold"}, globs="2026/*/*", larger_than=30))

    assert [entry.key for entry in entries] == [FOLDERS[at] for at in (35, 40, 45, 50)]
