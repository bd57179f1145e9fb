"""`list_page` and `list_pages`: what is in a bucket, by S3's listings.

Stores that imitate S3 may leave out what S3 always tells. A listing that lacks what is read of it here is no usable
answer: a job is not to be about objects that were guessed.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Mapping
from operator import itemgetter
from typing import Any, Literal

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import Unreachable
from airflow_s3batch.core.location import S3Location

__all__ = ["following", "list_page", "list_pages"]

_NEEDED = {
    "Contents": itemgetter("Key", "LastModified", "Size"),
    "Versions": itemgetter("Key", "LastModified", "VersionId"),
    "DeleteMarkers": itemgetter("Key", "LastModified", "VersionId"),
    "CommonPrefixes": itemgetter("Prefix"),
}
"""What each entry of a page has to tell, by the member that lists such entries."""
_MARKS = {
    "NextContinuationToken": "ContinuationToken",
    "NextKeyMarker": "KeyMarker",
    "NextVersionIdMarker": "VersionIdMarker",
}
"""Where a page says what comes next, and the parameter that takes it."""


async def list_page(
    s3: S3Calls, action: Literal["ListObjectsV2", "ListObjectVersions"], /, **asked: Any
) -> dict[str, Any]:
    """One page: boto3's answer, whose entries all have their keys, times, sizes or versions.

    Raises:
        S3Error: S3 refused it; `Unreachable` when what came can't be used.
    """
    page = await s3.call(action, **asked)
    try:
        for member, needed in _NEEDED.items():
            deque(map(needed, page.get(member, ())), maxlen=0)
    except KeyError as missing:
        raise _unusable(action, asked, f"an entry of the listing has no {missing.args[0]}") from None
    if page.get("IsTruncated") and not following(page):
        raise _unusable(action, asked, "the listing is a part, and doesn't tell how to get the next")
    return page


async def list_pages(s3: S3Calls, **asked: Any) -> AsyncGenerator[dict[str, Any], None]:
    """All pages of a ListObjectsV2, one after the other.

    Raises:
        S3Error: as `list_page`.
    """
    more: Mapping[str, str] | None = {}
    while more is not None:
        page = await list_page(s3, "ListObjectsV2", **asked, **more)
        yield page
        more = following(page)


def following(page: Mapping[str, Any]) -> dict[str, str] | None:
    """The parameters that ask for the page after this one; None if it is the last."""
    if not page.get("IsTruncated"):
        return None
    return {parameter: page[mark] for mark, parameter in _MARKS.items() if page.get(mark)}


def _unusable(action: str, asked: Mapping[str, Any], problem: str) -> Unreachable:
    place = S3Location(asked["Bucket"], asked.get("Prefix", ""))
    return Unreachable(action, place.uri, status=200, code="InvalidResponse", message=problem)
