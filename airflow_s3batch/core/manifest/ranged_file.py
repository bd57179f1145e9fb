"""`RangedFile`: an object in S3 as a file that a worker thread reads anywhere, while the loop does the requests."""

from __future__ import annotations

import asyncio
import io
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import S3BatchError
from airflow_s3batch.core.manifest.object import ManifestObject

__all__ = ["RangedFile"]

_BLOCK = 1024 * 1024
_BLOCKS_MOST = 8
"""Blocks that are kept: a file's columns lie apart, and are read a little each in turn."""
_DIRECT = _BLOCKS_MOST * _BLOCK
"""Bytes from which on a read isn't put together of blocks."""


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
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pending: Future[bytes] | None = None
        self._given_up = False
        # Until more is known: both formats are read from their end first.
        self._columns: list[list[int]] = [[(found.size - 1) // _BLOCK]]
        self._reached = [-1]
        self._places: list[tuple[int, int]] = []
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

    def expect(self, columns: Sequence[Sequence[tuple[int, int]]]) -> None:
        """Take note of what will be read: of each column the places, from and to, in the order of the file.

        The columns are read beside each other, each from its beginning to its end.
        """
        self._places = sorted((first, number) for number, places in enumerate(columns) for first, _ in places)
        self._columns = [sorted({block for place in places for block in self._blocks_of(*place)}) for places in columns]
        self._reached = [-1] * len(columns)

    async def ready(self) -> None:
        """Wait until each column's next block is there, so that the thread needn't; the one after it is under way.

        Called by the loop's thread, while none reads. What won't be read any more is let go. That a block can't be had
        is told to who reads it.
        """
        if self._given_up or not self._columns:
            return
        following: list[list[int]] = []
        for blocks, reached in zip(self._columns, self._reached, strict=True):
            at = bisect_right(blocks, reached)
            following.append(blocks[at : at + 2])
        here = {block for block in self._reached if block in self._blocks}
        first = dict.fromkeys(block for some in following for block in some[:1])
        later = dict.fromkeys(block for some in following for block in some[1:])
        ahead = list(first | later)[: max(1, _BLOCKS_MOST - len(here - first.keys()))]
        self._blocks = OrderedDict((block, self._block(block)) for block in (*here, *ahead))
        await asyncio.gather(
            *(asyncio.wrap_future(self._blocks[block]) for block in ahead if block in first), return_exceptions=True
        )

    def give_up(self) -> None:
        """Let the reads that are under way, and each after them, fail at once. Called by the loop's thread."""
        self._given_up = True
        for pending in tuple(self._blocks.values()):
            pending.cancel()
        if self._pending is not None:
            self._pending.cancel()

    def _get(self, first: int, end: int) -> bytes:
        if self._places:
            _, number = self._places[max(0, bisect_right(self._places, (first, len(self._columns))) - 1)]
            self._reached[number] = max(self._reached[number], (end - 1) // _BLOCK)
        if end - first >= (_DIRECT if self._places else _BLOCK):
            self._pending = self._fetch(first, end)
            return self._fetched(self._pending)
        parts = []
        numbers = self._blocks_of(first, end)
        blocks = [self._block(number) for number in numbers]
        for number, block in zip(numbers, blocks, strict=True):
            begin = number * _BLOCK
            parts.append(self._fetched(block)[max(0, first - begin) : end - begin])
        while len(self._blocks) > _BLOCKS_MOST + len(self._columns):
            self._blocks.popitem(last=False)
        return b"".join(parts)

    def _blocks_of(self, first: int, end: int) -> range:
        """Those that the bytes from first to end lie in, as far as there are such."""
        return range(max(0, first) // _BLOCK, -(-min(end, self._found.size) // _BLOCK))

    def _block(self, number: int) -> Future[bytes]:
        block = self._blocks.pop(number, None)
        if block is None:
            block = self._fetch(number * _BLOCK, min((number + 1) * _BLOCK, self._found.size))
        self._blocks[number] = block
        return block

    def _fetch(self, first: int, end: int) -> Future[bytes]:
        async def collected() -> bytes:
            return b"".join([piece async for piece in self._found.ranges(self._s3, first, end)])

        pending = asyncio.run_coroutine_threadsafe(collected(), self._loop)
        if self._given_up:  # meanwhile
            pending.cancel()
        return pending

    def _fetched(self, pending: Future[bytes]) -> bytes:
        if self._given_up:
            pending.cancel()
            raise OSError("reading was given up")
        try:
            return pending.result()
        except S3BatchError as error:
            self.failure = error
            raise
        except CancelledError:
            raise OSError("reading was given up") from None
