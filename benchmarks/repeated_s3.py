"""An S3 in memory with files that are larger than memory: some rows over and over, cut out of a text when asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from airflow_s3batch.testing import MemoryS3

__all__ = ["INVENTORY", "RepeatedS3"]

INVENTORY = "inventory/2026-11-24T01-00Z"
"""The folder of the inventory."""
_PIECE = 4 * 1024 * 1024
"""Bytes that may be asked for at once."""


class _Repeated(NamedTuple):
    text: bytes
    """More than once, so that every piece can be cut out of it."""
    period: int
    size: int


class RepeatedS3(MemoryS3):
    """A `MemoryS3` that also has large files, and doesn't remember the calls about them."""

    def __init__(self, *buckets: str) -> None:
        super().__init__(*buckets)
        self._repeated: dict[tuple[str, str], _Repeated] = {}

    def repeat(self, bucket: str, key: str, text: bytes, times: int) -> None:
        """Store a file that consists of `text` so many times."""
        held = text * (1 + -(-_PIECE // len(text)))
        self._repeated[bucket, key] = _Repeated(held, len(text), len(text) * times)

    def listed(self, bucket: str, key: str) -> dict[str, Any]:
        """The large file as the manifest.json of an inventory lists it."""
        file, md5 = self._repeated[bucket, key], hashlib.md5()
        for piece in _pieces(file):
            md5.update(piece)
        return {"key": key, "size": file.size, "MD5checksum": md5.hexdigest()}

    def put_inventory(self, bucket: str, files: Sequence[dict[str, Any]], file_format: str, schema: str) -> str:
        """Store the manifest.json of an inventory of these files, and its checksum; return its URI."""
        told = {
            "sourceBucket": "lake-bucket",
            "destinationBucket": f"arn:aws:s3:::{bucket}",
            "version": "2016-11-30",
            "creationTimestamp": "1795482000000",
            "fileFormat": file_format,
            "fileSchema": schema,
            "files": files,
        }
        etag = self.put(bucket, f"{INVENTORY}/manifest.json", json.dumps(told))
        self.put(bucket, f"{INVENTORY}/manifest.checksum", etag.strip('"'))
        return f"s3://{bucket}/{INVENTORY}/manifest.json"

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """See `MemoryS3.call`; of large files it knows GetObject with a range."""
        file = self._repeated.get((parameters.get("Bucket", ""), parameters.get("Key", "")))
        if file is None or action != "GetObject":
            return await super().call(action, **parameters)
        first, last = map(int, parameters["Range"].removeprefix("bytes=").split("-"))
        body = _cut(file, first, min(last + 1, file.size))
        told = f"bytes {first}-{first + len(body) - 1}/{file.size}"
        return {"ETag": f'"{"0" * 32}"', "Body": body, "ContentLength": len(body), "ContentRange": told}


def _cut(file: _Repeated, first: int, end: int) -> bytes:
    at = first % file.period
    return file.text[at : at + end - first]


def _pieces(file: _Repeated) -> Iterator[bytes]:
    for first in range(0, file.size, _PIECE):
        yield _cut(file, first, min(first + _PIECE, file.size))
