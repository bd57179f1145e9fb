"""UndeleteObject: bring every deleted object back, by removing what hides it."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import ObjectFailed, printable
from airflow_s3batch.core.operations.base import StepsOperation
from airflow_s3batch.core.rows import Entry

__all__ = ["UndeleteObject"]


# A DELETE by version takes no condition that a marker could meet, so nothing can keep it from what came in between.
_NULL_MARKER = (
    "The delete marker is the null version, which a new object may replace at any moment; give the row the version "
    "null if nobody writes."
)


class UndeleteObject(StepsOperation):
    """Bring every object back that was deleted in a versioned bucket: ``UndeleteObject()``.

    Removes the delete marker that hides the object, and those that lie right under it. Never removes anything else: an
    object that isn't deleted succeeds as it is ("Was not deleted"), and one of which no version is left fails. A row
    that names a version is about that delete marker, and fails unless it is the one that hides the object. A marker
    that is the null version (of a bucket whose versioning is suspended) is only removed if the row names it: a new
    object of the same moment would take its place.

    No operation of AWS's: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManagingDelMarkers.html
    """

    aws_name: ClassVar[str] = "S3UndeleteObject"

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:
        """One ListObjectVersions and one DeleteObject."""
        removal = {"Bucket": bucket, "Key": key, "VersionId": version or "null"}
        return [("ListObjectVersions", _two_newest(bucket, key)), ("DeleteObject", removal)]

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Look what is current, and remove it while it is a delete marker with something under it."""
        removed = None
        while True:
            versions, markers = await _newest(entry, s3)
            hiding = next((marker["VersionId"] for marker in markers if marker.get("IsLatest")), None)
            if len(versions) + len(markers) == (0 if hiding is None else 1):
                raise ObjectFailed("NoSuchKey", "No version of the object is left to bring back.", 404)
            if hiding is None:
                return "Was not deleted" if removed is None else ""
            if removed is None and entry.version not in {None, hiding}:
                raise ObjectFailed("InvalidRequest", "The version is not the delete marker that hides the object.", 400)
            if hiding == "null" and entry.version is None:
                raise ObjectFailed("InvalidRequest", _NULL_MARKER, 400)
            if removed == hiding:
                raise ObjectFailed("OperationAborted", f"Delete marker {printable(hiding)} is still there.", 409)
            await s3.call("DeleteObject", Bucket=entry.bucket, Key=entry.key, VersionId=hiding)
            if versions:  # lies right under it
                return ""
            removed = hiding


def _two_newest(bucket: str, key: str) -> dict[str, Any]:
    """Parameters of ListObjectVersions: a key comes before those it is a prefix of, and its newest version first."""
    return {"Bucket": bucket, "Prefix": key, "MaxKeys": 2}


async def _newest(entry: Entry, s3: S3Calls) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The object's versions and its delete markers, among its two newest."""
    answer = await s3.call("ListObjectVersions", **_two_newest(entry.bucket, entry.key))
    versions, markers = (
        [item for item in answer.get(kind, ()) if item["Key"] == entry.key] for kind in ("Versions", "DeleteMarkers")
    )
    return versions, markers
