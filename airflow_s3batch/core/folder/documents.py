"""`Documents`: JSON documents under one prefix of a bucket, read, written, and changed without overwriting each other.

A change is a compare-and-swap: S3's ``If-Match`` (or ``If-None-Match: *`` for what mustn't be there yet) refuses it
when somebody else was first. A store that doesn't know the conditions (501) or ignores them works as well, with that
one guard less.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import JobConflict, ReportError, S3Error
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.pages import list_pages

__all__ = ["UNWRITABLE", "Document", "Documents", "Listed"]

UNWRITABLE = "The job report could not be written to your report bucket. Please check your permissions."
"""AWS's words."""

_TRIES = 20
"""How often a change is made anew on what others have written meanwhile."""
_HTTP_NOT_FOUND, _HTTP_CONFLICT, _HTTP_PRECONDITION, _HTTP_NOT_IMPLEMENTED = 404, 409, 412, 501
_REFUSALS = frozenset({_HTTP_NOT_FOUND, _HTTP_CONFLICT, _HTTP_PRECONDITION, _HTTP_NOT_IMPLEMENTED})

T = TypeVar("T")


@dataclass(frozen=True)
class Document(Generic[T]):
    """A document as it was found."""

    value: T
    etag: str
    modified: float
    """When it was written, by S3's clock: Unix seconds."""


class Listed(NamedTuple):
    """An object as a listing shows it."""

    name: str
    etag: str
    size: int
    modified: float
    """By S3's clock: Unix seconds."""


class Documents:
    """The documents under a prefix.

    Every method raises `ReportError` where S3 can't be read or written, and every one that reads `JobConflict` where
    what it finds isn't what this package writes there.

    Args:
        s3: S3.
        place: the bucket, and the prefix: empty, or with a slash at its end.
        owner: whose documents they are, for errors: ``job 1234``.
    """

    def __init__(self, s3: S3Calls, place: S3Location, owner: str) -> None:
        self._s3 = s3
        self._place = place
        self._owner = owner

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix/``."""
        return self._place.uri

    def key(self, name: str) -> str:
        """The key of a document."""
        return self._place.key + name

    async def find(self, name: str, build: Callable[[dict[str, Any]], T]) -> Document[T] | None:
        """The document of this name, None if there is none."""
        found = await self._get(name)
        if found is None:
            return None
        try:
            value = build(json.loads(found.value or b"{}"))
        except (ValueError, TypeError, AttributeError) as error:  # InvalidInput and broken JSON are ValueErrors
            raise JobConflict(f"{self.uri}{name} is not what this package writes there: {error}") from error
        return Document(value, found.etag, found.modified)

    async def read(self, name: str, build: Callable[[dict[str, Any]], T]) -> T | None:
        """What the document of this name says, None if there is none."""
        found = await self.find(name, build)
        return None if found is None else found.value

    async def read_bytes(self, name: str, md5: str) -> bytes:
        """What an object holds, whose MD5 (hex) is known.

        Raises:
            ReportError: it is missing, or another one.
        """
        found = await self._get(name)
        if found is None or hashlib.md5(found.value, usedforsecurity=False).hexdigest() != md5:
            raise ReportError(f"{self.uri}{name} is {'missing' if found is None else 'not the file that was written'}")
        return found.value

    async def write(self, name: str, body: bytes, content_type: str = "application/json") -> str:
        """Write it, whatever is there; return its ETag."""
        try:
            return await self._put(name, body, content_type)
        except S3Error as error:
            raise self._unwritable(error) from error

    async def replace(self, name: str, body: bytes, over: str | None) -> str | None:
        """Write it over what has the ETag `over`, or where nothing is (None).

        Returns:
            Its ETag; None if something else is there.
        """
        condition = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
        for _ in range(_TRIES):
            try:
                return await self._put(name, body, **condition)
            except S3Error as error:
                if error.status not in _REFUSALS:
                    raise self._unwritable(error) from error
                refusal = error
            there = await self._get(name)
            if there is not None and there.value == body:
                return there.etag  # an attempt of ours may have arrived although its answer didn't
            if (there.etag if there is not None else None) != over:
                return None
            if refusal.status == _HTTP_NOT_IMPLEMENTED:
                condition = {}
            elif refusal.status != _HTTP_CONFLICT:
                break
            await asyncio.sleep(random.random() / 10)  # noqa: S311 - two writers at the same time: not in step again
        raise self._unwritable(refusal) from refusal

    async def change(
        self, name: str, build: Callable[[dict[str, Any]], T], make: Callable[[T | None], T], body: Callable[[T], bytes]
    ) -> T:
        """Make the document of what it says now (None if there is none), and write it; the same value is not written.

        `make` is asked anew when somebody else has written it in between; what it raises is raised.
        """
        for _ in range(_TRIES):
            found = await self.find(name, build)
            before = None if found is None else found.value
            value = make(before)
            if value == before or await self.replace(name, body(value), None if found is None else found.etag):
                return value
            await asyncio.sleep(random.random() / 10)  # noqa: S311
        raise JobConflict(f"{self.uri}{name} is changed by others all the time; try again")

    async def list(self, folder: str) -> list[Listed]:
        """What is in a folder, by its name in there."""
        start = len(self.key(folder))
        try:
            return [
                Listed(one["Key"][start:], one.get("ETag", ""), one["Size"], one["LastModified"].timestamp())
                async for page in list_pages(self._s3, **self._place.in_bucket, Prefix=self.key(folder))
                for one in page.get("Contents", ())
            ]
        except S3Error as error:
            raise self._unreadable(error) from error

    async def touch(self, name: str) -> float:
        """S3's time: when it says that an empty object of this name was written just now. Unix seconds."""
        await self.write(name, b"")
        found = await self._get(name)
        return found.modified if found is not None else 0.0

    async def _get(self, name: str) -> Document[bytes] | None:
        try:
            answer = await self._s3.call("GetObject", **self._place.in_bucket, Key=self.key(name))
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise self._unreadable(error) from error
        return Document(answer["Body"], answer["ETag"], answer["LastModified"].timestamp())

    async def _put(self, name: str, body: bytes, content_type: str = "application/json", **condition: str) -> str:
        about = {**self._place.in_bucket, "Key": self.key(name), "ContentType": content_type}
        answer = await self._s3.call("PutObject", **about, Body=body, **condition)
        etag: str = answer["ETag"]
        return etag

    def _unwritable(self, error: S3Error) -> ReportError:
        if error.code == "NoSuchBucket":
            return self._without_bucket()
        return ReportError(f"{self._owner}: {UNWRITABLE} ({error})")

    def _unreadable(self, error: S3Error) -> ReportError:
        if error.code == "NoSuchBucket":
            return self._without_bucket()
        return ReportError(
            f"{self._owner}: its folder {self.uri} can't be read ({error}); "
            "the connection needs s3:GetObject, s3:PutObject and, to tell what isn't there yet, s3:ListBucket on it"
        )

    def _without_bucket(self) -> ReportError:
        return ReportError(
            f"{self._owner}: the report's bucket {self._place.bucket} doesn't exist; create it, or name another"
        )
