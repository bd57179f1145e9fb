"""`Inspection`: what a listing doesn't tell of an object and a filter needs: by a HEAD, or its tags, for each one.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import S3Error
from airflow_s3batch.core.manifest.encryption import EncryptionFilter
from airflow_s3batch.core.manifest.replication import ReplicationRules

__all__ = ["Inspection"]

_AT_ONCE = 128
"""Requests at once."""
_BAD_REQUEST, _MISSING, _NOT_ALLOWED = 400, 404, 405
_REPLICATION = {None: "NONE", "COMPLETE": "COMPLETED"}
"""ReplicationStatus of HEAD, where AWS's filter has another word."""


@dataclass(frozen=True)
class Inspection:
    """What an object has to be, asked one by one."""

    replication_statuses: frozenset[str] = frozenset()
    """COMPLETED, FAILED, REPLICA, NONE: one of them."""
    encryption: tuple[EncryptionFilter, ...] = ()
    """One of them."""
    tags: frozenset[tuple[str, str]] = frozenset()
    """All of them, and maybe others."""
    replication: ReplicationRules | None = None
    """Rules of which one has to be about the object."""

    @property
    def needed(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._asks_head or self.tags or self.replication)

    @property
    def _asks_head(self) -> bool:
        return bool(self.replication_statuses or self.encryption)

    async def passed(self, items: Sequence[Mapping[str, Any]], bucket: str, s3: S3Calls) -> list[Mapping[str, Any]]:
        """The items of a listing's page that pass. One that is gone by now doesn't.

        A delete marker passes if nothing is asked but whether it is replicated, and it is.

        Raises:
            S3Error: an object can't be asked.
        """
        passes = await each(lambda item: self._passes(item, _Asked(item, bucket, s3)), items, at_once=_AT_ONCE)
        return [item for item, passed in zip(items, passes, strict=True) if passed]

    async def _passes(self, item: Mapping[str, Any], asked: _Asked) -> bool:
        rules = self.replication and self.replication.about(item)
        if rules is not None and not rules:
            return False
        if "DeleteMarker" in item:
            return not (self._asks_head or self.tags)
        try:
            if self._asks_head and not self._fits(await asked.head()):
                return False
            if self.tags and not await asked.tags() >= self.tags:
                return False
            return rules is None or await _is_replicated(rules, item, asked)
        except S3Error as error:
            if error.status in {_MISSING, _NOT_ALLOWED}:  # deleted since it was listed
                return False
            raise

    def _fits(self, head: Mapping[str, Any]) -> bool:
        status = head.get("ReplicationStatus")
        if self.replication_statuses and _REPLICATION.get(status, status) not in self.replication_statuses:
            return False
        return not self.encryption or any(one.passes(head) for one in self.encryption)


async def _is_replicated(rules: ReplicationRules, item: Mapping[str, Any], asked: _Asked) -> bool:
    if rules.by_tags:
        rules = rules.about_tags(await asked.tags())
    if rules and rules.need_head(item):
        rules = rules.about_head(await asked.head())
    return bool(rules)


class _Asked:
    """An object, asked for each thing once."""

    def __init__(self, item: Mapping[str, Any], bucket: str, s3: S3Calls) -> None:
        self._which = {"Bucket": bucket, "Key": item["Key"]}
        if "VersionId" in item:
            self._which["VersionId"] = item["VersionId"]
        self._s3 = s3
        self._head: Mapping[str, Any] | None = None
        self._tags: frozenset[tuple[str, str]] | None = None

    async def head(self) -> Mapping[str, Any]:
        if self._head is None:
            self._head = await self._asked_head()
        return self._head

    async def tags(self) -> frozenset[tuple[str, str]]:
        if self._tags is None:
            got = await self._s3.call("GetObjectTagging", **self._which)
            self._tags = frozenset((tag["Key"], tag["Value"]) for tag in got["TagSet"])
        return self._tags

    async def _asked_head(self) -> Mapping[str, Any]:
        try:
            return await self._s3.call("HeadObject", **self._which)
        except S3Error as error:
            if error.status != _BAD_REQUEST:
                raise
            # An object under a customer's key can't be asked without it. A HEAD's error has no body: GET tells why.
            return await self._under_customers_key(error)

    async def _under_customers_key(self, refused: S3Error) -> Mapping[str, Any]:
        try:
            await self._s3.call("GetObject", **self._which, Range="bytes=0-0")
        except S3Error as error:
            if error.code == "InvalidRequest" and "Server Side Encryption" in error.message:
                return {"SSECustomerAlgorithm": "AES256"}
            raise
        raise refused
