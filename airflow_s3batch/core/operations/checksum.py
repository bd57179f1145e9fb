"""ComputeObjectChecksum: read every object and report its checksum."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import islice
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, S3Error
from airflow_s3batch.core.operations.base import StepsOperation, with_version
from airflow_s3batch.core.operations.digests import ALGORITHMS, new_digest
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Text, known_arguments, one_of

__all__ = ["ComputeObjectChecksum"]

_PIECE = 2 * 2**20
"""Bytes read at once …"""
_AHEAD = 3
"""… and how many such pieces of an object are under way while one is hashed: 8 MiB an object, 256 MiB in all."""
_WORTH_A_THREAD = 64 * 2**10
"""Bytes from which on hashing is left to a thread: the way there costs some 50 µs."""
_TOTAL = re.compile(r"bytes [0-9]+-[0-9]+/([0-9]+)")
_IN_PARTS = re.compile(r'"?[0-9a-f]+-([0-9]+)"?')


class ComputeObjectChecksum(StepsOperation):
    """Read every object on the worker and report its checksum: ``ComputeObjectChecksum("SHA256")``.

    The row's message is AWS's JSON: checksum_base64, etag, checksumAlgorithm, checksumType, checksum_hex.

    Args:
        algorithm: ``CRC32``, ``CRC32C``, ``CRC64NVME``, ``MD5``, ``SHA1``, ``SHA256``, ``SHA512``, ``XXHASH64``,
            ``XXHASH3`` or ``XXHASH128``. CRC32C, CRC64NVME and the XXHASHes need the extra ``[checksums]``.
        type: ``FULL_OBJECT``, over the object's bytes; or ``COMPOSITE``, over the checksums of the parts that it was
            uploaded in (of one, if it wasn't in parts), as S3 itself has it for multipart uploads. CRC64NVME is
            always over the full object.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-compute-checksums.html
    """

    aws_name: ClassVar[str] = "S3ComputeObjectChecksum"
    most_at_once: ClassVar[int] = 32

    algorithm: Annotated[Text, one_of(*ALGORITHMS)] = "SHA256"
    type: Annotated[Text, one_of("FULL_OBJECT", "COMPOSITE")] = "FULL_OBJECT"

    def __init__(self, algorithm: str = "SHA256", *, type: str = "FULL_OBJECT") -> None:  # noqa: A002 - AWS's word
        super().__init__(algorithm=algorithm, type=type)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.algorithm, self.type) == ("CRC64NVME", "COMPOSITE"):
            raise InvalidInput("CRC64NVME is only computed over the full object; leave type out")
        return self

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:
        """One GetObject a piece of 2 MiB; for COMPOSITE also a HeadObject a part."""
        about = with_version({"Bucket": bucket, "Key": key}, version)
        asked = [("GetObject", {**about, "Range": f"bytes=0-{_PIECE - 1}"})]
        return asked if self.type == "FULL_OBJECT" else [("HeadObject", {**about, "PartNumber": 1}), *asked]

    async def look(self, bucket: str, s3: S3Calls) -> None:  # noqa: ARG002 - every bucket will do
        """See that the algorithm is installed here."""
        new_digest(self.algorithm)

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Read it, pinned to one ETag, and return AWS's JSON."""
        reading = _Reading(with_version({"Bucket": entry.bucket, "Key": entry.key}, entry.version), s3)
        whole = await reading.begin()
        if self.type == "FULL_OBJECT":
            digest = await self._digest(whole, reading)
            return self._message(digest, "", reading.etag)
        parts = await reading.parts(whole)
        of_parts = new_digest(self.algorithm)
        for part in parts:
            of_parts.update(await self._digest(part, reading))
        return self._message(of_parts.digest(), f"-{len(parts)}", reading.etag)

    async def _digest(self, part: _Part, reading: _Reading) -> bytes:
        digest = new_digest(self.algorithm)
        async with aclosing(reading.pieces(part)) as pieces:
            async for piece in pieces:
                if len(piece) < _WORTH_A_THREAD:
                    digest.update(piece)
                else:
                    await asyncio.to_thread(digest.update, piece)
        return digest.digest()

    def _message(self, digest: bytes, parts: str, etag: str) -> str:
        told = {
            "checksum_base64": base64.b64encode(digest).decode() + parts,
            "etag": etag.strip('"'),
            "checksumAlgorithm": self.algorithm,
            "checksumType": self.type,
            "checksum_hex": digest.hex().upper(),
        }
        # As it stands in AWS's reports, whose writer escapes the equals sign.
        return json.dumps(told, separators=(",", ":")).replace("=", "\\u003d")

    def arguments(self) -> dict[str, Any]:
        """AWS's S3ComputeObjectChecksumOperation."""
        return {"ChecksumAlgorithm": self.algorithm, "ChecksumType": self.type}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's S3ComputeObjectChecksumOperation."""
        known_arguments(cls.__name__, arguments, {"ChecksumAlgorithm", "ChecksumType"})
        return cls(arguments.get("ChecksumAlgorithm", "SHA256"), type=arguments.get("ChecksumType", "FULL_OBJECT"))


class _Part(NamedTuple):
    """A range of an object: `start` to `end`, without the latter; `head` is what has been read of it already."""

    start: int
    end: int
    head: bytes = b""


class _Reading:
    """One object, read in pieces; all of them of the ETag that the first answer had."""

    def __init__(self, about: dict[str, Any], s3: S3Calls) -> None:
        self._about = about
        self._s3 = s3
        self._pinned: dict[str, str] = {}

    @property
    def etag(self) -> str:
        """The ETag, once reading has begun."""
        return self._pinned["IfMatch"]

    async def begin(self) -> _Part:
        """The whole object, its first piece read: one call for most objects of a lake."""
        try:
            answer = await self._get(0, _PIECE)
        except S3Error as error:
            if error.code != "InvalidRange":
                raise
            return await self._empty(error)
        self._pinned["IfMatch"] = answer["ETag"]
        total = _TOTAL.fullmatch(answer.get("ContentRange", ""))
        return _Part(0, int(total[1]) if total else len(answer["Body"]), answer["Body"])

    async def parts(self, whole: _Part) -> list[_Part]:
        """The parts that it was uploaded in."""
        uploaded_in = _IN_PARTS.fullmatch(self.etag)
        if uploaded_in is None:
            return [whole]
        parts: list[_Part] = []
        start = 0
        while start < whole.end:
            head = await self._s3.call("HeadObject", **self._about, **self._pinned, PartNumber=len(parts) + 1)
            end = start + head["ContentLength"]
            parts.append(_Part(start, end, whole.head[start:end]))
            start = end
        if len(parts) != int(uploaded_in[1]):
            raise ObjectFailed("UnknownParts", f"ETag {self.etag} tells of other parts than the {len(parts)} found")
        return parts

    async def pieces(self, part: _Part) -> AsyncGenerator[bytes, None]:
        """Its bytes, in order; some are fetched ahead."""
        if part.head:
            yield part.head
        starts = iter(range(part.start + len(part.head), part.end, _PIECE))
        ahead: deque[asyncio.Task[bytes]] = deque()
        try:
            while True:
                for start in islice(starts, _AHEAD - len(ahead)):
                    ahead.append(asyncio.create_task(self._piece(start, min(start + _PIECE, part.end))))
                if not ahead:
                    return
                yield await ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _piece(self, start: int, end: int) -> bytes:
        body: bytes = (await self._get(start, end))["Body"]
        if len(body) != end - start:
            raise ObjectFailed("IncompleteBody", f"{len(body)} bytes came for bytes {start} to {end - 1}")
        return body

    async def _get(self, start: int, end: int) -> dict[str, Any]:
        return await self._s3.call("GetObject", **self._about, **self._pinned, Range=f"bytes={start}-{end - 1}")

    async def _empty(self, error: S3Error) -> _Part:
        """An object without a byte has no range to ask for."""
        head = await self._s3.call("HeadObject", **self._about)
        if head["ContentLength"]:
            raise error
        self._pinned["IfMatch"] = head["ETag"]
        return _Part(0, 0)
