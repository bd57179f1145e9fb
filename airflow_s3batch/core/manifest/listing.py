"""`ObjectListing` and `VersionListing`: a bucket's listing, as `KeySpace` takes it.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import merge
from typing import Any

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest.keyspace import Page

__all__ = ["ObjectListing", "VersionListing"]

_SLASH = "/"


class ObjectListing:
    """The current objects of a bucket.

    Args:
        s3: S3.
        bucket: the bucket's name.
        owner: the account that has to own the bucket, as S3's ExpectedBucketOwner; None for any.
    """

    repeats = False

    def __init__(self, s3: S3Calls, bucket: str, owner: str | None = None) -> None:
        self._s3 = s3
        self._bucket = {"Bucket": bucket} if owner is None else {"Bucket": bucket, "ExpectedBucketOwner": owner}
        self.uri = S3Location(bucket, "").uri

    def after(self, key: str) -> Mapping[str, str]:
        """See `Source.after`."""
        return {"StartAfter": key} if key else {}

    async def page(self, prefix: str, start: Mapping[str, str]) -> Page:
        """See `Source.page`."""
        got = await self._list(prefix, **start)
        following = {"ContinuationToken": got["NextContinuationToken"]} if got.get("IsTruncated") else None
        return Page(got.get("Contents", []), following)

    async def first(self, prefix: str, key: str) -> str | None:
        """See `Source.first`."""
        found = (await self._list(prefix, **self.after(key), MaxKeys=1)).get("Contents")
        return found[0]["Key"] if found else None

    async def groups(self, prefix: str, key: str) -> list[str]:
        """See `Source.groups`."""
        got = await self._list(prefix, **self.after(key), Delimiter=_SLASH)
        return [group["Prefix"] for group in got.get("CommonPrefixes", ())]

    async def _list(self, prefix: str, **more: Any) -> dict[str, Any]:
        return await self._s3.call("ListObjectsV2", **self._bucket, Prefix=prefix, **more)


class VersionListing:
    """All versions of a bucket's objects, and its delete markers, which have ``DeleteMarker: True``.

    Takes what `ObjectListing` takes.
    """

    repeats = True

    def __init__(self, s3: S3Calls, bucket: str, owner: str | None = None) -> None:
        self._s3 = s3
        self._bucket = {"Bucket": bucket} if owner is None else {"Bucket": bucket, "ExpectedBucketOwner": owner}
        self.uri = S3Location(bucket, "").uri

    def after(self, key: str) -> Mapping[str, str]:
        """See `Source.after`."""
        return {"KeyMarker": key} if key else {}

    async def page(self, prefix: str, start: Mapping[str, str]) -> Page:
        """See `Source.page`."""
        got = await self._list(prefix, **start)
        following = None
        if got.get("IsTruncated"):
            marks = {"KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
            following = {name: got[mark] for name, mark in marks.items() if got.get(mark)}
        return Page(_versions(got), following)

    async def first(self, prefix: str, key: str) -> str | None:
        """See `Source.first`."""
        # A store may begin at the marker itself, and with as many versions of it as there are: these don't count.
        found = _versions(await self._list(prefix, **self.after(key), MaxKeys=1))
        return found[0]["Key"] if found and found[0]["Key"] > key else None

    async def groups(self, prefix: str, key: str) -> list[str]:
        """See `Source.groups`."""
        got = await self._list(prefix, **self.after(key), Delimiter=_SLASH)
        return [group["Prefix"] for group in got.get("CommonPrefixes", ())]

    async def _list(self, prefix: str, **more: Any) -> dict[str, Any]:
        return await self._s3.call("ListObjectVersions", **self._bucket, Prefix=prefix, **more)


def _versions(got: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The page's versions and delete markers by their keys, as S3 has them in one list."""
    markers = [{**marker, "DeleteMarker": True} for marker in got.get("DeleteMarkers", ())]
    return list(merge(got.get("Versions", ()), markers, key=lambda item: str(item["Key"])))
