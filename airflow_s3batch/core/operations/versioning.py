"""Whether a bucket keeps versions, and so what comes back of its objects once they are deleted.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeletingObjectVersions.html
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import S3Error, printable
from airflow_s3batch.core.wording import first_of

__all__ = ["ENABLED", "told_loss", "versioning_of"]

ENABLED = "Enabled"
_SUSPENDED, _NEVER = "Suspended", ""
_RANKS, _UNKNOWN = {_NEVER: 0, _SUSPENDED: 1, ENABLED: 3}, 2
_PERMISSION = "s3:GetBucketVersioning"
_MESSAGE_SHOWN = 120
"""Characters of S3's own message, so that ours behind it isn't cut off."""
_BUCKETS_SHOWN = 10


async def versioning_of(bucket: str, s3: S3Calls) -> str:
    """``Enabled``, ``Suspended``, or empty for a bucket that has never kept versions.

    Raises:
        S3Error: S3 doesn't tell; where it may not, says what that takes.
    """
    try:
        return str((await s3.call("GetBucketVersioning", Bucket=bucket)).get("Status", _NEVER))
    except S3Error as error:
        if error.code != "AccessDenied":
            raise
        message = f"{printable(error.message, _MESSAGE_SHOWN)}; it takes {_PERMISSION}"
        raise S3Error(error.action, error.resource, status=error.status, code=error.code, message=message) from error


async def told_loss(buckets: Sequence[str], s3: S3Calls, *, objects: str) -> str:
    """What is gone once objects of these buckets are deleted without a version, the worst first.

    `objects` is what they are called. Of a bucket about which S3 doesn't tell, the text says that.
    """
    alike: dict[str, list[str]] = {}
    for bucket, status in zip(buckets, await each(lambda bucket: _status(bucket, s3), buckets), strict=True):
        alike.setdefault(status, []).append(bucket)
    worst_first = sorted(alike, key=lambda status: _RANKS.get(status, _UNKNOWN))
    return "; ".join(_told(status, alike[status], objects) for status in worst_first)


async def _status(bucket: str, s3: S3Calls) -> str:
    """Its versioning, or S3's code where it doesn't tell."""
    try:
        return await versioning_of(bucket, s3)
    except S3Error as error:
        return error.code


def _told(status: str, buckets: Sequence[str], objects: str) -> str:
    shown, keep = first_of(buckets, _BUCKETS_SHOWN), "keeps" if len(buckets) == 1 else "keep"
    if status == _NEVER:
        return f"{shown} {keep} no versions: {objects} are gone for good"
    if status == _SUSPENDED:
        return f"versioning of {shown} is suspended: null versions of {objects} are gone for good, older ones stay"
    if status == ENABLED:
        return f"{shown} {keep} versions: {objects} get delete markers, and UndeleteObject brings them back"
    why = f"{printable(status)}; it takes {_PERMISSION}"
    return f"S3 doesn't say whether {shown} {keep} versions ({why}): {objects} may be gone for good"
