"""`Inspection`: what a listing doesn't tell of an object and a filter needs: by a HEAD, or its tags, for each one.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import S3Error

__all__ = ["Inspection"]

_AT_ONCE = 128
"""Requests at once."""
_BAD_REQUEST, _MISSING, _NOT_ALLOWED = 400, 404, 405
_ENCRYPTION = {None: "NOTSSE", "AES256": "SSES3", "aws:kms": "SSEKMS", "aws:kms:dsse": "DSSEKMS"}
"""ServerSideEncryption of HEAD, in the words of AWS's ObjectEncryptionFilter."""
_REPLICATION = {None: "NONE", "COMPLETE": "COMPLETED"}
"""ReplicationStatus of HEAD, where AWS's filter has another word."""


@dataclass(frozen=True)
class Inspection:
    """What an object has to be, asked one by one."""

    replication_statuses: frozenset[str] = frozenset()
    """COMPLETED, FAILED, REPLICA, NONE: one of them."""
    encryption: str = ""
    """SSES3, SSEKMS, DSSEKMS, SSEC, NOTSSE."""
    kms_key: str | None = None
    """The ARN of the key, where it matters."""
    bucket_key: bool | None = None
    """Whether a bucket key is used, where it matters."""
    tags: tuple[tuple[str, str], ...] = ()
    """All of them, and maybe others."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._asks_head or self.tags)

    @property
    def _asks_head(self) -> bool:
        return bool(self.replication_statuses or self.encryption)

    async def passed(self, items: Sequence[Mapping[str, Any]], bucket: str, s3: S3Calls) -> list[Mapping[str, Any]]:
        """The items of a listing's page that pass. One that is gone by now doesn't, and neither does a delete marker.

        Raises:
            S3Error: an object can't be asked.
        """
        places = asyncio.Semaphore(_AT_ONCE)

        async def ask(item: Mapping[str, Any]) -> bool:
            async with places:
                return "DeleteMarker" not in item and await self._passes(item, bucket, s3)

        asked = [asyncio.create_task(ask(item)) for item in items]
        try:
            passes = await asyncio.gather(*asked)
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return [item for item, passed in zip(items, passes, strict=True) if passed]

    async def _passes(self, item: Mapping[str, Any], bucket: str, s3: S3Calls) -> bool:
        which = {"Bucket": bucket, "Key": item["Key"]}
        if "VersionId" in item:
            which["VersionId"] = item["VersionId"]
        try:
            if self._asks_head and not self._fits(await self._head(which, s3)):
                return False
            return not self.tags or await self._is_tagged(which, s3)
        except S3Error as error:
            if error.status in {_MISSING, _NOT_ALLOWED}:  # deleted since it was listed
                return False
            raise

    async def _head(self, which: dict[str, str], s3: S3Calls) -> Mapping[str, Any]:
        try:
            return await s3.call("HeadObject", **which)
        except S3Error as error:
            if error.status != _BAD_REQUEST:
                raise
            # An object under a customer's key can't be asked without it. A HEAD's error has no body: GET tells why.
            return await self._under_customers_key(which, s3, error)

    async def _under_customers_key(self, which: dict[str, str], s3: S3Calls, refused: S3Error) -> Mapping[str, Any]:
        try:
            await s3.call("GetObject", **which, Range="bytes=0-0")
        except S3Error as error:
            if error.code == "InvalidRequest" and "Server Side Encryption" in error.message:
                return {"SSECustomerAlgorithm": "AES256"}
            raise
        raise refused

    def _fits(self, head: Mapping[str, Any]) -> bool:
        status = head.get("ReplicationStatus")
        if self.replication_statuses and _REPLICATION.get(status, status) not in self.replication_statuses:
            return False
        if not self.encryption:
            return True
        if "SSECustomerAlgorithm" in head:
            return self.encryption == "SSEC"
        if _ENCRYPTION.get(head.get("ServerSideEncryption")) != self.encryption:
            return False
        if self.kms_key is not None and head.get("SSEKMSKeyId") != self.kms_key:
            return False
        return self.bucket_key is None or head.get("BucketKeyEnabled", False) is self.bucket_key

    async def _is_tagged(self, which: dict[str, str], s3: S3Calls) -> bool:
        got = await s3.call("GetObjectTagging", **which)
        there = {(tag["Key"], tag["Value"]) for tag in got["TagSet"]}
        return there.issuperset(self.tags)
