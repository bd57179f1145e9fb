"""`ManifestWriter`: writes down, in the layout of S3 Inventory, the objects that a manifest's question found.

::

    <place>/data/<md5>.csv.gz            rows, 20,000 a file
    <place>/<md5>/manifest.json          lists the files, with their MD5s
    <place>/<md5>/manifest.checksum      the MD5 of manifest.json

Everything is named by its content: two prepares at once can't mix their files, and what one leaves behind that died is
no other's.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import ManifestError, ManifestInvalid, S3Error, printable
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.wording import counted

if TYPE_CHECKING:
    from airflow_s3batch.core.manifest.inventory import InventoryManifest

__all__ = ["ManifestWriter", "encoded", "moment"]

log = logging.getLogger(__name__)

_FILE_ROWS = 20_000
"""Rows of a file: what a partition can be cut to without reading the rest of a large one first."""
_UPLOADS = 4
"""Files that are compressed or on their way at once."""
_LEVEL = 1
"""Of gzip: a third of the time of the usual one, for a fifth more bytes."""


class _Spellings(dict[int, str]):
    """How each character is written, learnt when it occurs."""

    def __missing__(self, character: int) -> str:
        self[character] = spelled = quote(chr(character), safe="/")
        return spelled


_SPELLED = _Spellings({ord("\n"): "\n"})


def encoded(keys: Sequence[str]) -> list[str]:
    """The keys percent-encoded as a manifest spells them: ``%20`` and ``%2B``, which all decoders read alike."""
    # Character by character in C for all keys at once: a fifth of what quote() takes key by key.
    together = "\n".join(keys).translate(_SPELLED).split("\n")
    return together if len(together) == len(keys) else [quote(key, safe="/") for key in keys]


def moment(when: datetime) -> str:
    """A time as inventories write it: ``2026-11-24T12:00:00.000Z``."""
    if when.tzinfo is not timezone.utc:
        when = when.astimezone(timezone.utc)
    return f"{when.isoformat(timespec='milliseconds')[:-6]}Z"


class ManifestWriter:
    """Writes rows as an inventory; a context manager, whose files nobody refers to until `finish`.

    Args:
        s3: S3.
        place: the folder, with a slash at its end.
        fields: the columns, in inventory's words (``Bucket``, ``Key``, ``Size``).
        now: the time that the manifest is of.
        asked: what was asked, for errors and the log: the bucket's or the report's URI.
        final: whether asking again finds the same.
        of: what the rows are chosen from, in the singular ("failed object").
        put: more of PutObject's parameters (encryption).
    """

    def __init__(
        self,
        s3: S3Calls,
        place: S3Location,
        fields: Sequence[str],
        now: datetime,
        *,
        asked: str,
        final: bool = True,
        of: str = "object",
        put: Mapping[str, str] | None = None,
    ) -> None:
        self._s3 = s3
        self._place = place
        self._fields = fields
        self._now = now
        self._asked = asked
        self._none = ManifestInvalid if final else ManifestError
        self._of = of
        self._put_more = put or {}
        self._rows: list[Sequence[str]] = []
        self._uploads: list[asyncio.Task[dict[str, Any]]] = []
        self._buckets: dict[str, None] = {}
        self.rows = 0
        """Rows added so far."""
        self.seen = 0
        """How many were looked at so far, wanted or not, for errors and the log: counted by whoever chooses."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for upload in self._uploads:
            upload.cancel()
        await asyncio.gather(*self._uploads, return_exceptions=True)

    async def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Add rows: a text for every field, the key `encoded`.

        Raises:
            ManifestError: they can't be written.
        """
        before = len(self._rows)
        self._rows.extend(rows)
        self.rows += len(self._rows) - before
        while len(self._rows) >= _FILE_ROWS:
            await self._begin(self._rows[:_FILE_ROWS])
            del self._rows[:_FILE_ROWS]

    async def finish(self) -> InventoryManifest:
        """The manifest of all rows, pinned.

        Raises:
            ManifestError: there are none, or they can't be written.
            ManifestInvalid: there are none, and that is final.
        """
        if self._rows:
            await self._begin(self._rows)
            self._rows = []
        if not self.rows:
            found = f"none of {counted(self.seen, self._of)} is wanted" if self.seen else f"there are no {self._of}s"
            raise self._none(self._asked, f"{found}; a job needs at least one")
        if self.seen:
            log.info("%s: %s of %s wanted", printable(self._asked), f"{self.rows:,}", counted(self.seen, self._of))
        files = await asyncio.gather(*self._uploads)
        document = {
            "sourceBucket": ",".join(self._buckets),
            "destinationBucket": S3Location(self._place.bucket, "").arn,
            "version": "2016-11-30",
            "creationTimestamp": str(int(self._now.timestamp() * 1000)),
            "fileFormat": "CSV",
            "fileSchema": ", ".join(self._fields),
            "files": files,
        }
        body = json.dumps(document, indent=1).encode()
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        await self._put(f"{md5}/manifest.json", body)
        await self._put(f"{md5}/manifest.checksum", md5.encode())
        # It brings the readers of all formats, which no DAG file that writes down a question needs.
        from airflow_s3batch.core.manifest.inventory import InventoryManifest

        uri = f"{self._place.uri}{md5}/manifest.json"
        return await InventoryManifest(uri, include_delete_markers=True).pin(self._s3)

    async def _begin(self, rows: Sequence[Sequence[str]]) -> None:
        """Begin to write a file; wait while enough are on their way."""
        at = self._fields.index("Bucket")
        self._buckets |= dict.fromkeys(row[at] for row in rows)
        going = [upload for upload in self._uploads if not upload.done()]
        if len(going) >= _UPLOADS:
            await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
        for upload in self._uploads:
            if upload.done():
                upload.result()  # what failed ends the writing now
        self._uploads.append(asyncio.create_task(self._write(rows)))

    async def _write(self, rows: Sequence[Sequence[str]]) -> dict[str, Any]:
        body = await asyncio.to_thread(_compressed, rows)
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        name = f"data/{md5}.csv.gz"
        await self._put(name, body)
        return {"key": f"{self._place.key}{name}", "size": len(body), "MD5checksum": md5}

    async def _put(self, name: str, body: bytes) -> None:
        try:
            await self._s3.call(
                "PutObject", **self._place.in_bucket, Key=self._place.key + name, Body=body, **self._put_more
            )
        except S3Error as error:
            wrong = f"the list of what was found can't be written ({error})"
            raise ManifestError(f"{self._place.uri}{name}", wrong, code=error.code) from error


def _compressed(rows: Sequence[Sequence[str]]) -> bytes:
    text = "\n".join(['"' + '","'.join(row) + '"' for row in rows]) + "\n"
    if text.count('"') != 2 * sum(map(len, rows)):
        text = "\n".join(['"' + '","'.join(cell.replace('"', '""') for cell in row) + '"' for row in rows]) + "\n"
    return gzip.compress(text.encode(), _LEVEL, mtime=0)
