"""`ManifestObject`: the manifest's bytes in S3, pinned by ETag and version, read in ranges."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import (
    CredentialsRefused,
    ManifestChanged,
    ManifestError,
    ManifestInvalid,
    S3Error,
    printable,
)
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.values import Text

__all__ = ["ETag", "ManifestObject", "VersionId"]

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_JobManifestLocation.html
ETag = Annotated[Text, Field(min_length=1, max_length=1024)]
VersionId = Annotated[Text, Field(min_length=1, max_length=2000)]

PIECE = 1024 * 1024
"""Bytes a GET asks for (8 MiB cost 26 MB of memory more); one is fetched while the one before is worked on."""
_HEAD, _GZIP = "bytes=0-1", b"\x1f\x8b"
_FORBIDDEN, _MISSING, _NOT_AS_PINNED, _NOT_IN_RANGE = 403, 404, 412, 416


@dataclass(frozen=True)
class ManifestObject:
    """One object of a manifest, as it was when the job was prepared."""

    location: S3Location
    etag: str
    """Without quotes."""
    version_id: str | None = None
    size: int = 0
    """Bytes; 0 until it is known."""
    gzipped: bool = False
    """Whether it begins as gzip does."""

    @classmethod
    async def find(cls, s3: S3Calls, location: S3Location, etag: str | None, version_id: str | None) -> ManifestObject:
        """Look at the object as it is now.

        Raises:
            ManifestError: it doesn't exist, can't be read, or is empty.
            ManifestChanged: it isn't the one that `etag` names.
        """
        try:
            # Not HEAD, whose errors have no body: it can't tell a missing bucket from a missing file.
            got = await s3.call("GetObject", **_wanted(location, version_id), Range=_HEAD)
        except S3Error as error:
            if error.status == _NOT_IN_RANGE:
                raise ManifestInvalid(location.uri, "the manifest is empty: it lists no object") from error
            raise _explained(location, error) from error
        found = got["ETag"].strip('"')
        if etag is not None and etag.strip('"') != found:
            wrong = f"its ETag is {printable(found)}, not {printable(etag)}: it was changed after that ETag was noted"
            raise ManifestChanged(location.uri, wrong, code="ManifestChanged")
        size = _size(got)
        if size == 0:
            raise ManifestInvalid(location.uri, "the manifest is empty: it lists no object")
        version = got.get("VersionId")
        version_id = version_id if version in {None, "null"} else version
        return cls(location, found, version_id, size, got["Body"][:2] == _GZIP)

    async def looked_at(self, s3: S3Calls) -> ManifestObject:
        """The same object with its size, and whether it is gzip's.

        Raises:
            ManifestError, ManifestChanged: as for `ranges`.
        """
        got = await self._answer(s3, _HEAD)
        return replace(self, size=_size(got), gzipped=got["Body"][:2] == _GZIP)

    async def whole(self, s3: S3Calls) -> bytes:
        """All of its bytes, where they are few.

        Raises:
            ManifestError, ManifestChanged: as for `ranges`.
        """
        return b"".join([piece async for piece in self.ranges(s3, 0, self.size)])

    async def ranges(
        self, s3: S3Calls, start: int, end: int, *, piece_bytes: int = PIECE
    ) -> AsyncGenerator[bytes, None]:
        """The bytes from start to end, in order, in pieces of a MiB, or of so many bytes.

        Raises:
            ManifestError: it can't be read.
            ManifestChanged: it is no longer the object that was found.
        """
        ahead: asyncio.Task[bytes] | None = None
        try:
            for first in range(start, end, piece_bytes):
                piece = await (ahead or self._get(s3, first, min(first + piece_bytes, end)))
                following = first + piece_bytes
                ahead = None
                if following < end:
                    ahead = asyncio.create_task(self._get(s3, following, min(following + piece_bytes, end)))
                yield piece
        finally:
            if ahead is not None:
                ahead.cancel()
                with contextlib.suppress(asyncio.CancelledError, ManifestError):
                    await ahead

    async def _get(self, s3: S3Calls, first: int, end: int) -> bytes:
        body: bytes = (await self._answer(s3, f"bytes={first}-{end - 1}"))["Body"]
        if len(body) != end - first:
            wrong = f"S3 sent {len(body)} bytes where {end - first} were asked for, from byte {first} on"
            raise ManifestError(self.location.uri, wrong)
        return body

    async def _answer(self, s3: S3Calls, wanted: str) -> dict[str, Any]:
        where = _wanted(self.location, self.version_id)
        try:
            got = await s3.call("GetObject", **where, Range=wanted, IfMatch=f'"{self.etag}"')
        except S3Error as error:
            if error.status in {_NOT_AS_PINNED, _NOT_IN_RANGE}:
                raise self._changed() from error
            raise _explained(self.location, error) from error
        if got["ETag"].strip('"') != self.etag:  # not every store minds If-Match
            raise self._changed()
        return got

    def _changed(self) -> ManifestChanged:
        wrong = (
            f"the manifest was changed after the job was prepared (its ETag was {printable(self.etag)}); "
            "no further object is touched. Prepare a new job to run it as it is now"
        )
        return ManifestChanged(self.location.uri, wrong, code="ManifestChanged")


def _size(got: dict[str, Any]) -> int:
    return int(got.get("ContentRange", "").rpartition("/")[2] or len(got["Body"]))


def _wanted(location: S3Location, version_id: str | None) -> dict[str, Any]:
    wanted = {"Bucket": location.bucket, "Key": location.key}
    return wanted if version_id is None else {**wanted, "VersionId": version_id}


def _explained(location: S3Location, error: S3Error) -> ManifestError:
    told = f"{printable(error.code)}: {printable(error.message)}"
    if error.code == "SignatureDoesNotMatch":
        told = f"{told}; is the connection's secret key (its password) right?"
    if error.status == _FORBIDDEN and not isinstance(error, CredentialsRefused):
        return ManifestError(location.uri, f"Reading the manifest is forbidden: {told}", code=error.code)
    if error.status == _MISSING:
        return ManifestError(location.uri, f"the manifest doesn't exist ({told})", code=error.code)
    return ManifestError(location.uri, f"the manifest can't be read: {error}", code=error.code)
