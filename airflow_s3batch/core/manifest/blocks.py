"""A CSV file's bytes in blocks of whole rows, plain or out of gzip."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from airflow_s3batch.core.errors import ManifestInvalid

__all__ = ["BLOCK", "gunzipped", "whole_rows"]

BLOCK = 64 * 1024
"""Bytes of whole rows that are worked on at once: about a thousand rows, which stay in the processor's cache."""
_ROW_MOST = 1024 * 1024
"""Bytes of a row; a longer one is no manifest's."""
_PIECE = 1024 * 1024
"""Bytes that come out of gzip at once, whatever the compression."""
_GZIP = 16 + zlib.MAX_WBITS


async def whole_rows(uri: str, pieces: AsyncGenerator[bytes, None], block: int = BLOCK) -> AsyncGenerator[bytes, None]:
    """The same bytes in blocks of whole rows, of about so many bytes; the last row may lack its newline.

    Raises:
        ManifestError: a row has no end.
    """
    rest = b""
    async with aclosing(pieces):
        async for piece in pieces:
            data, at = rest + piece, 0
            while len(data) - at > block:
                cut = data.rfind(b"\n", at, at + block) + 1 or data.find(b"\n", at + block) + 1
                if not cut:
                    break
                yield data[at:cut]
                at = cut
            cut = max(at, data.rfind(b"\n") + 1)
            if cut > at:
                yield data[at:cut]
            rest = data[cut:]
            if len(rest) > _ROW_MOST:
                raise ManifestInvalid(uri, f"a row of over {_ROW_MOST} bytes; is this a CSV file?")
    if rest:
        yield rest


async def gunzipped(
    uri: str, pieces: AsyncGenerator[bytes, None], start: int = 0, end: int | None = None
) -> AsyncGenerator[bytes, None]:
    """What a gzip file holds from byte `start` to byte `end` of its content, in pieces of at most a MiB.

    There is no way into the middle of a gzip stream, so what lies before `start` is unpacked and dropped: some
    seconds a gigabyte, where a partition's requests take minutes. It happens in a thread, which zlib lets run freely.

    Raises:
        ManifestError: it is no gzip file, damaged, or ends too early.
    """
    at = 0
    async with aclosing(_unpacked(uri, pieces)) as contents:
        async for content in contents:
            first, at = at, at + len(content)
            if at > start:
                yield content[max(0, start - first) : None if end is None else end - first]
            if end is not None and at >= end:
                return


async def _unpacked(uri: str, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    member: zlib._Decompress | None = None
    async with aclosing(pieces):
        async for piece in pieces:
            rest = piece
            while rest:
                if member is None:
                    rest = rest.lstrip(b"\0")  # padding between members
                    if not rest:
                        break
                    member = zlib.decompressobj(_GZIP)
                try:
                    content = await asyncio.to_thread(member.decompress, rest, _PIECE)
                except zlib.error as error:
                    raise ManifestInvalid(uri, f"the file is no gzip file, or is damaged ({error})") from None
                if content:
                    yield content
                rest = member.unused_data if member.eof else member.unconsumed_tail
                if member.eof:
                    member = None
    if member is not None:
        raise ManifestInvalid(uri, "the file is cut off: its gzip stream has no end")
