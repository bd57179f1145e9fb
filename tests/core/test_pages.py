"""A listing that a store answers oddly is no listing: nobody works on what is missing in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_s3batch.core.control.listing import list_jobs
from airflow_s3batch.core.errors import ManifestError, ReportError, S3BatchError, Unreachable
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import InventoryManifest, ListObjects, ParquetManifest
from airflow_s3batch.core.pages import list_page, list_pages
from airflow_s3batch.testing import MemoryS3

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
PLACE = S3Location("lake", "reports")
FOLDER = S3Location("lake", "reports/job-12345/generated-manifest/")
KEYS = ("data/a.parquet", "data/b.parquet", "inventory/2026-11-01T01-00Z/manifest.json", "reports/job-12345/running/0")


class Forgetful(MemoryS3):
    """An S3 that leaves something out of every entry of its listings, or of the page itself."""

    def __init__(self, *forgotten: str, **options: Any) -> None:
        super().__init__("lake", **options)
        for key in KEYS:
            self.put("lake", key, "{}")
        self.forgotten = forgotten

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        answer = await super().call(action, **parameters)
        if not action.startswith("List"):
            return answer
        return {name: self._less(value) for name, value in answer.items() if name not in self.forgotten}

    def _less(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [{name: one for name, one in entry.items() if name not in self.forgotten} for entry in value]


def test_all_pages_are_listed_one_after_the_other() -> None:
    async def keys() -> list[str]:
        s3 = Forgetful(page_size=1)
        return [one["Key"] async for page in list_pages(s3, Bucket="lake") for one in page["Contents"]]

    assert asyncio.run(keys()) == sorted(KEYS)


@pytest.mark.parametrize("forgotten", ["Key", "Size", "LastModified"])
def test_object_without_what_is_read_of_it_makes_the_page_unusable(forgotten: str) -> None:
    with pytest.raises(
        Unreachable, match=f"ListObjectsV2 s3://lake/data/: .*an entry of the listing has no {forgotten}"
    ):
        asyncio.run(list_page(Forgetful(forgotten), "ListObjectsV2", Bucket="lake", Prefix="data/"))


def test_version_and_group_without_their_names_make_the_page_unusable() -> None:
    with pytest.raises(Unreachable, match="has no VersionId"):
        asyncio.run(list_page(Forgetful("VersionId"), "ListObjectVersions", Bucket="lake"))
    with pytest.raises(Unreachable, match="has no Prefix"):
        asyncio.run(list_page(Forgetful("Prefix"), "ListObjectsV2", Bucket="lake", Delimiter="/"))


@pytest.mark.parametrize(
    ("action", "forgotten"),
    [("ListObjectsV2", ("NextContinuationToken",)), ("ListObjectVersions", ("NextKeyMarker", "NextVersionIdMarker"))],
)
def test_part_that_does_not_lead_to_the_next_is_not_taken_for_the_end(action: Any, forgotten: tuple[str, ...]) -> None:
    with pytest.raises(Unreachable, match="the listing is a part, and doesn't tell how to get the next"):
        asyncio.run(list_page(Forgetful(*forgotten, page_size=1), action, Bucket="lake"))


@pytest.mark.parametrize(
    ("ask", "forgotten", "error"),
    [
        (lambda s3: ListObjects("lake").resolve(s3, FOLDER, NOON), "LastModified", Unreachable),
        (lambda s3: ListObjects("lake", versions=True).resolve(s3, FOLDER, NOON), "VersionId", Unreachable),
        (lambda s3: ParquetManifest("s3://lake/data/*.parquet").pin(s3), "Size", ManifestError),
        (lambda s3: ParquetManifest("s3://lake/data/*.parquet").pin(s3), "ETag", ManifestError),
        (lambda s3: InventoryManifest("s3://lake/inventory/").resolve(s3, FOLDER, NOON), "Key", ManifestError),
        (lambda s3: JobFolder(s3, PLACE, "12345").list_signs(), "LastModified", ReportError),
        (lambda s3: list_jobs(s3, PLACE), "Prefix", ReportError),
    ],
)
def test_whoever_lists_says_what_the_store_left_out(
    ask: Callable[[MemoryS3], Any], forgotten: str, error: type[S3BatchError]
) -> None:
    with pytest.raises(error, match=forgotten):
        asyncio.run(ask(Forgetful(forgotten)))
