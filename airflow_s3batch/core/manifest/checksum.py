"""The MD5 that S3 Inventory lists beside every file it writes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from airflow_s3batch.core.errors import ManifestInvalid, printable

__all__ = ["check_md5", "verified"]


async def verified(uri: str, pieces: AsyncGenerator[bytes, None], md5: str) -> AsyncGenerator[bytes, None]:
    """The same pieces of a file.

    Raises:
        ManifestError: (at the end) they don't add up to this MD5.
    """
    told = hashlib.md5(usedforsecurity=False)
    async with aclosing(pieces):
        async for piece in pieces:
            told.update(piece)
            yield piece
    check_md5(uri, told.hexdigest(), md5)


def check_md5(uri: str, found: str, listed: str) -> None:
    """See that a file's MD5 (hexadecimal) is the listed one.

    Raises:
        ManifestError: it isn't.
    """
    if found != listed.lower():
        wrong = f"its MD5 is {found}, not {printable(listed)} as is listed: it is damaged, or was changed since"
        raise ManifestInvalid(uri, f"{wrong}. Take a newer inventory, or say verify_checksums=False")
