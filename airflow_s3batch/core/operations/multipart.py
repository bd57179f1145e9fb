"""A copy of any size: what CopyObject does, by a multipart upload whose parts S3 copies side by side.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/CopyingObjectsMPUapi.html
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import ObjectFailed, S3Error, printable
from airflow_s3batch.core.operations.base import RUNNING_NOTES, Notes, with_version

__all__ = ["MultipartCopy", "copied", "copied_in_parts", "part_size"]

log = logging.getLogger(__name__)

_MIB = 1024**2
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_MOST_BY_COPY_OBJECT = 5 * 1024 * _MIB
_LEAST_PART, _MOST_PART, _MOST_PARTS = 5 * _MIB, 5 * 1024 * _MIB, 10_000
_USUAL_PART = 256 * _MIB
_SIDE_BY_SIDE = 16
"""Parts of one object at once, within the job's limits."""
_HURRY = 2.0
"""Seconds to abort an upload when the run is stopped; Airflow kills a task 5 s after it asked."""

# What CopyObject takes and CreateMultipartUpload doesn't, besides CopySource….
_COPYS_OWN = {"MetadataDirective", "TaggingDirective", "AnnotationDirective", "ChecksumAlgorithm"}
_COPIED_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Expires",
    "Metadata",
)
# Checksums of a whole object that S3 can put together from those of its parts:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
_WHOLE = {"CRC32", "CRC32C", "CRC64NVME"}
_MD5 = re.compile(r"[0-9a-f]{32}")
_UPLOADED_IN_PARTS = re.compile(r'-(\d+)"?$')


def part_size(size: int, source_part: int | None = None, *, usual: int = _USUAL_PART) -> int:
    """Bytes of every part but the last, for an object of so many: as the source's, if they can be.

    With the same parts the copy has the source's ETag (where S3 makes ETags of MD5s) and composite checksum.
    """
    if source_part is not None and _LEAST_PART <= source_part <= _MOST_PART and source_part * _MOST_PARTS >= size:
        return source_part
    least = -(-size // _MOST_PARTS)
    return max(usual, -(-least // _MIB) * _MIB)


async def copied(row: int, copy: dict[str, Any], s3: S3Calls) -> tuple[dict[str, Any], str]:
    """Copy by one CopyObject with these parameters, or in parts what S3 refuses as too large for one.

    `row` is the object's in the manifest.

    Returns:
        CopyObject's answer, empty for a copy in parts; and the result message.

    Raises:
        ObjectFailed, S3Error: it can't be copied; what was begun is aborted.
    """
    try:
        return await s3.call("CopyObject", **copy), ""
    except S3Error as error:
        message = await copied_in_parts(row, copy, error, s3)
        if message is None:
            raise
        return {}, message


async def copied_in_parts(row: int, copy: dict[str, Any], error: S3Error, s3: S3Calls) -> str | None:
    """Copy what CopyObject, with these parameters, refused because of its size; None if that wasn't why.

    `row` is the object's in the manifest.

    S3 says InvalidRequest, which has other meanings, so that the size decides; other stores say EntityTooLarge.

    Raises:
        ObjectFailed, S3Error: it can't be copied; what was begun is aborted.
    """
    if error.code not in {"InvalidRequest", "EntityTooLarge"}:
        return None
    parts = MultipartCopy(row, copy, s3)
    if await parts.look() <= _MOST_BY_COPY_OBJECT and error.code == "InvalidRequest":
        return None
    return await parts.run()


class MultipartCopy:
    """The copy of one object.

    Metadata, content headers, tags and the kind of checksum are the source's unless CopyObject's parameters replace
    them; all parts are pinned to the source as `look` found it.

    Args:
        row: the object's in the manifest: the job's notes know the upload by it.
        copy: CopyObject's parameters, as boto3 takes them.
        s3: paced calls.
        usual_part: bytes a part, where the source has no parts to go by.
    """

    def __init__(self, row: int, copy: dict[str, Any], s3: S3Calls, *, usual_part: int = _USUAL_PART) -> None:
        self._row = row
        self._copy = copy
        self._s3 = s3
        self._usual_part = usual_part
        source = copy["CopySource"]
        self._source = with_version({"Bucket": source["Bucket"], "Key": source["Key"]}, source.get("VersionId"))
        self._target = {"Bucket": copy["Bucket"], "Key": copy["Key"]}
        self._head: dict[str, Any] = {}

    async def look(self) -> int:
        """Look at the source, and pin it; return its size in bytes.

        Raises:
            ObjectFailed: it isn't what the copy's conditions ask for (PreconditionFailed).
            S3Error: S3 doesn't tell.
        """
        copy, conditions = self._copy, ("IfMatch", "IfModifiedSince", "IfUnmodifiedSince")
        given = {name: copy[f"CopySource{name}"] for name in conditions if f"CopySource{name}" in copy}
        try:
            self._head = await self._call("HeadObject", **self._source, **given, ChecksumMode="ENABLED")
        except S3Error as error:
            if error.code not in {"NotModified", "PreconditionFailed"}:
                raise
            raise ObjectFailed("PreconditionFailed", "the source isn't as the copy's conditions ask for", 412) from None
        size: int = self._head["ContentLength"]
        return size

    async def run(self) -> str:
        """Copy it; return the result message. Needs `look` to have been called.

        Raises:
            ObjectFailed, S3Error: it can't be copied; the upload is aborted.
            ReportError: the job's folder can't be read or written; likewise.
        """
        notes = RUNNING_NOTES.get()
        if notes is not None:
            await self._clear_leftover(notes)
        size = part_size(self._head["ContentLength"], await self._source_part(), usual=self._usual_part)
        created = await self._call("CreateMultipartUpload", **await self._creation())
        upload: str = created["UploadId"]
        try:
            if notes is not None:
                await notes.write_note(self._row, {**self._target, "UploadId": upload})
            parts = await self._copy_parts(upload, list(_ranges(self._head["ContentLength"], size)))
            await self._complete(upload, parts)
        except asyncio.CancelledError:
            await self._abort_in_a_hurry(upload)
            raise
        except BaseException:
            await self._abort(upload)
            raise
        return f"Copied in {len(parts)} parts"

    async def _call(self, action: str, **parameters: Any) -> dict[str, Any]:
        payer = {"RequestPayer": self._copy["RequestPayer"]} if "RequestPayer" in self._copy else {}
        return await self._s3.call(action, **parameters, **payer)

    async def _source_part(self) -> int | None:
        """Bytes of the source's parts; None if it has none, or of different sizes."""
        found = _UPLOADED_IN_PARTS.search(self._head["ETag"])
        if found is None:
            return None
        try:
            first = await self._call("HeadObject", **self._source, PartNumber=1)
        except S3Error:  # a store that knows nothing of parts
            return None
        part: int = first.get("ContentLength", 0)
        return part if part and -(-self._head["ContentLength"] // part) == int(found[1]) else None

    async def _creation(self) -> dict[str, Any]:
        """CreateMultipartUpload's parameters: what CopyObject is told, and what it copies untold."""
        copy, head = self._copy, self._head
        creation = {name: value for name, value in copy.items() if name not in _COPYS_OWN and "CopySource" not in name}
        creation.pop("RequestPayer", None)  # _call adds it
        creation.pop("IfNoneMatch", None)  # a condition of the completion
        if copy.get("MetadataDirective") != "REPLACE":
            creation |= {name: head[name] for name in _COPIED_HEADERS if head.get(name)}
        if copy.get("TaggingDirective") != "REPLACE":
            told = await self._call("GetObjectTagging", **self._source)
            creation["Tagging"] = urlencode({tag["Key"]: tag["Value"] for tag in told["TagSet"]}, quote_via=quote)
        if not creation.get("Tagging"):
            creation.pop("Tagging", None)
        if (algorithm := self._algorithm()) is not None:
            creation["ChecksumAlgorithm"] = algorithm
            if self._is_of_the_whole(algorithm):
                creation["ChecksumType"] = "FULL_OBJECT"
        return creation

    def _algorithm(self) -> str | None:
        """The copy's checksum algorithm: what was asked for, or the source's."""
        asked: str | None = self._copy.get("ChecksumAlgorithm")
        names = (name for name in self._head if name.startswith("Checksum") and name != "ChecksumType")
        return asked or next((name.removeprefix("Checksum") for name in names), None)

    def _is_of_the_whole(self, algorithm: str) -> bool:
        return algorithm in _WHOLE and self._head.get("ChecksumType") != "COMPOSITE"

    async def _clear_leftover(self, notes: Notes) -> None:
        """Abort the upload that a worker of this job had begun for this row, and was killed before it could end it.

        Of other uploads to the key, S3 tells no more than who began them: another program may be at work on them.
        """
        note = await notes.read_note(self._row)
        if upload := note.get("UploadId"):
            await self._abort(upload)

    async def _copy_parts(self, upload: str, ranges: list[str]) -> list[dict[str, Any]]:
        """Copy all parts, some at once; return them as CompleteMultipartUpload takes them."""
        parts: list[dict[str, Any]] = [{}] * len(ranges)
        waiting = iter(enumerate(ranges, start=1))

        async def copy_some() -> None:
            for number, bytes_ in waiting:
                parts[number - 1] = await self._copy_part(upload, number, bytes_)

        workers = [asyncio.create_task(copy_some()) for _ in range(min(_SIDE_BY_SIDE, len(ranges)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return parts

    async def _copy_part(self, upload: str, number: int, bytes_: str) -> dict[str, Any]:
        try:
            copied = await self._call(
                "UploadPartCopy",
                **self._target,
                UploadId=upload,
                PartNumber=number,
                CopySource=self._copy["CopySource"],
                CopySourceIfMatch=self._head["ETag"],
                CopySourceRange=bytes_,
            )
        except S3Error as error:
            if error.code != "PreconditionFailed":
                raise
            raise ObjectFailed(error.code, "the source changed while it was copied; there is no copy", 412) from None
        result = copied["CopyPartResult"]
        checksums = {name: value for name, value in result.items() if name.startswith("Checksum")}
        return {"PartNumber": number, "ETag": result["ETag"], **checksums}

    async def _complete(self, upload: str, parts: list[dict[str, Any]]) -> None:
        try:
            await self._call(
                "CompleteMultipartUpload",
                **self._target,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                MpuObjectSize=self._head["ContentLength"],
                **self._expected(),
                **{name: self._copy[name] for name in ("IfNoneMatch",) if name in self._copy},
            )
        except S3Error as error:
            # An answer that was lost, and the upload is gone because it is complete.
            if error.code != "NoSuchUpload" or not await self._has_arrived(parts):
                raise

    def _expected(self) -> dict[str, Any]:
        """The checksum that S3 must find for the whole: the source's, where it is one of the whole."""
        algorithm = self._algorithm()
        name = f"Checksum{algorithm}"
        if algorithm is None or name not in self._head or not self._is_of_the_whole(algorithm):
            return {}
        return {name: self._head[name], "ChecksumType": "FULL_OBJECT"}

    async def _has_arrived(self, parts: list[dict[str, Any]]) -> bool:
        etags = [part["ETag"].strip('"') for part in parts]
        if not all(map(_MD5.fullmatch, etags)):
            return False
        digest = hashlib.md5(b"".join(map(bytes.fromhex, etags)), usedforsecurity=False).hexdigest()
        expected = f'"{digest}-{len(parts)}"'
        try:
            there = await self._call("HeadObject", **self._target)
        except S3Error:
            return False
        return bool(there["ETag"] == expected and there["ContentLength"] == self._head["ContentLength"])

    async def _abort(self, upload: str) -> None:
        try:
            await self._call("AbortMultipartUpload", **self._target, UploadId=upload)
        except S3Error as error:
            if error.code != "NoSuchUpload":
                log.warning("Parts of an upload stay in %s: %s", printable(self._target["Bucket"]), error)

    async def _abort_in_a_hurry(self, upload: str) -> None:
        try:
            await asyncio.wait_for(self._abort(upload), _HURRY)
        except asyncio.TimeoutError:
            log.warning("There was no time to abort an upload to %s", printable(self._target["Key"]))


def _ranges(size: int, part: int) -> Iterator[str]:
    for start in range(0, size, part):
        yield f"bytes={start}-{min(start + part, size) - 1}"
