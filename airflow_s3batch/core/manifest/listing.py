"""`ObjectListing` and `VersionListing`: a bucket's listing, as `KeySpace` takes it.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import merge
from typing import Any, ClassVar, Literal

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import ManifestError, S3Error, printable
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest.keyspace import Page
from airflow_s3batch.core.pages import following, list_page

__all__ = ["ObjectListing", "VersionListing"]


class _Listing:
    """What the two have in common."""

    action: ClassVar[Literal["ListObjectsV2", "ListObjectVersions"]]
    starts_after: ClassVar[str]
    """The parameter that takes the key after which a page begins."""
    permission: ClassVar[str]
    """What an identity needs to be given a page."""

    def __init__(self, s3: S3Calls, bucket: str, owner: str | None = None) -> None:
        place = S3Location(bucket, "", owner or "")
        self._s3 = s3
        self._bucket = place.in_bucket
        self.uri = place.uri

    def after(self, key: str) -> Mapping[str, str]:
        """See `Source.after`."""
        return {self.starts_after: key} if key else {}

    async def groups(self, prefix: str, key: str) -> list[str]:
        """See `Source.groups`."""
        got = await self._list(prefix, **self.after(key), Delimiter="/")
        return [group["Prefix"] for group in got.get("CommonPrefixes", ())]

    async def _list(self, prefix: str, **more: Any) -> dict[str, Any]:
        try:
            return await list_page(self._s3, self.action, **self._bucket, Prefix=prefix, **more)
        except S3Error as error:
            if error.code == "NoSuchBucket":
                wrong = "the bucket doesn't exist; create it, or name another"
            elif error.code == "AccessDenied":
                told = f"{error.code}: {printable(error.message)}"
                wrong = f"the bucket can't be listed: {told}; it takes {self.permission}"
            else:
                raise
            raise ManifestError(self.uri, wrong, code=error.code) from error


class ObjectListing(_Listing):
    """The current objects of a bucket.

    Args:
        s3: S3.
        bucket: the bucket's name.
        owner: the account that has to own the bucket, as S3's ExpectedBucketOwner; None for any.
    """

    action = "ListObjectsV2"
    starts_after = "StartAfter"
    permission = "s3:ListBucket"
    repeats = False

    async def page(self, prefix: str, start: Mapping[str, str]) -> Page:
        """See `Source.page`."""
        got = await self._list(prefix, **start)
        return Page(got.get("Contents", []), following(got))

    async def first(self, prefix: str, key: str) -> str | None:
        """See `Source.first`."""
        found = (await self._list(prefix, **self.after(key), MaxKeys=1)).get("Contents")
        return found[0]["Key"] if found else None


class VersionListing(_Listing):
    """All versions of a bucket's objects, and its delete markers, which have ``DeleteMarker: True``.

    Takes what `ObjectListing` takes.
    """

    action = "ListObjectVersions"
    starts_after = "KeyMarker"
    permission = "s3:ListBucketVersions"
    repeats = True

    async def page(self, prefix: str, start: Mapping[str, str]) -> Page:
        """See `Source.page`."""
        got = await self._list(prefix, **start)
        return Page(_versions(got), following(got))

    async def first(self, prefix: str, key: str) -> str | None:
        """See `Source.first`."""
        # A store may begin at the marker itself, and with as many versions of it as there are: these don't count.
        found = _versions(await self._list(prefix, **self.after(key), MaxKeys=1))
        return found[0]["Key"] if found and found[0]["Key"] > key else None


def _versions(got: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The page's versions and delete markers by their keys, as S3 has them in one list."""
    markers = [{**marker, "DeleteMarker": True} for marker in got.get("DeleteMarkers", ())]
    return list(merge(got.get("Versions", ()), markers, key=lambda item: str(item["Key"])))
