"""The checksums that S3 knows, over bytes that come in pieces: `new_digest`."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from airflow_s3batch.core.errors import InvalidInput

__all__ = ["ALGORITHMS", "Digest", "new_digest"]

_HASHES = {"MD5": "md5", "SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}
_XXHASHES = {"XXHASH64": "new_xxhash64", "XXHASH3": "new_xxhash3_64", "XXHASH128": "new_xxhash3_128"}
_CRT_CRCS = {"CRC32C": ("crc32c", 4), "CRC64NVME": ("crc64nvme", 8)}

ALGORITHMS = ("CRC32", *_CRT_CRCS, *_HASHES, *_XXHASHES)
"""AWS's ComputeObjectChecksumAlgorithm."""


class Digest(Protocol):
    """A checksum on its way."""

    def update(self, piece: bytes, /) -> object:
        """Take the next piece."""
        ...

    def digest(self) -> bytes:
        """The checksum of all pieces, big-endian, as S3 encodes it in base64. Ask once, after the last piece."""
        ...


def new_digest(algorithm: str) -> Digest:
    """A checksum of nothing yet, by S3's name of its algorithm.

    Raises:
        InvalidInput: there is no such algorithm, or it needs awscrt, which isn't installed.
    """
    if algorithm == "CRC32":
        return _Crc(zlib.crc32, 4)
    if algorithm in _HASHES:
        return hashlib.new(_HASHES[algorithm], usedforsecurity=False)
    if algorithm not in ALGORITHMS:
        raise InvalidInput(f"{algorithm} is none of {', '.join(ALGORITHMS)}")
    try:
        from awscrt import checksums
    except ImportError:
        raise InvalidInput(
            f"{algorithm} needs awscrt; install it on the workers: pip install 'airflow-provider-s3batch[checksums]'"
        ) from None
    if algorithm in _CRT_CRCS:
        function, size = _CRT_CRCS[algorithm]
        return _Crc(getattr(checksums, function), size)
    return _XxHash(getattr(checksums.XXHash, _XXHASHES[algorithm])())


class _Crc:
    def __init__(self, function: Callable[[bytes, int], int], size: int) -> None:
        self._function = function
        self._size = size
        self._value = 0

    def update(self, piece: bytes, /) -> None:
        self._value = self._function(piece, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


class _XxHash:
    def __init__(self, state: Any) -> None:
        self._state = state

    def update(self, piece: bytes, /) -> None:
        self._state.update(piece)

    def digest(self) -> bytes:
        digest: bytes = self._state.finalize()
        return digest
