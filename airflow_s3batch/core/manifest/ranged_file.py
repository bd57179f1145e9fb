"""`RangedFile`: an object in S3 as a file that a worker thread reads anywhere, while the loop does the requests."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from concurrent.futures import CancelledError, Future

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import S3BatchError
from airflow_s3batch.core.manifest.object import ManifestObject

__all__ = ["RangedFile"]

_BLOCK = 1024 * 1024
_BLOCKS_MOST = 8
"""Blocks that are kept: a file's columns lie apart, and are read a little each in turn."""


class RangedFile(io.RawIOBase):
    """Read from one thread at a time, never the loop's.

    Args:
        found: the object, with its size.
        s3: where it is.
        loop: the loop that `s3` belongs to.
    """

    def __init__(self, found: ManifestObject, s3: S3Calls, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._found = found
        self._s3 = s3
        self._loop = loop
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._pending: Future[bytes] | None = None
        self._given_up = False
        self.failure: S3BatchError | None = None
        """Why the last read failed; what reads the file may have told it in other words."""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Let the next read begin elsewhere."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._found.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Read so many bytes, fewer at the end.

        Raises:
            S3BatchError: they can't be read.
            OSError: reading was given up.
        """
        end = self._found.size if size < 0 else min(self._found.size, self._at + size)
        data = self._get(self._at, end) if end > self._at else b""
        self._at += len(data)
        return data

    def give_up(self) -> None:
        """Let the read that is under way, and each after it, fail at once. Called by the loop's thread."""
        self._given_up = True
        if self._pending is not None:
            self._pending.cancel()

    def _get(self, first: int, end: int) -> bytes:
        if end - first >= _BLOCK:
            return self._fetch(first, end)
        parts = []
        for number in range(first // _BLOCK, (end - 1) // _BLOCK + 1):
            begin = number * _BLOCK
            parts.append(self._block(number)[max(0, first - begin) : end - begin])
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            block = self._fetch(number * _BLOCK, min((number + 1) * _BLOCK, self._found.size))
        self._blocks[number] = block
        if len(self._blocks) > _BLOCKS_MOST:
            self._blocks.popitem(last=False)
        return block

    def _fetch(self, first: int, end: int) -> bytes:
        async def collected() -> bytes:
            return b"".join([piece async for piece in self._found.ranges(self._s3, first, end)])

        if self._given_up:
            raise OSError("reading was given up")
        self._pending = asyncio.run_coroutine_threadsafe(collected(), self._loop)
        if self._given_up:  # meanwhile
            self._pending.cancel()
        try:
            return self._pending.result()
        except S3BatchError as error:
            self.failure = error
            raise
        except CancelledError:
            raise OSError("reading was given up") from None
