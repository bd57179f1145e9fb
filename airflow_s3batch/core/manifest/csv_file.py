"""`CsvFile`: a CSV file of a manifest's rows, plain or gzip. An offset in it is the byte of its (unpacked) text."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import accumulate, compress
from typing import TYPE_CHECKING

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import ManifestInvalid
from airflow_s3batch.core.manifest.arrow import arrow
from airflow_s3batch.core.manifest.blocks import BLOCK, gunzipped, whole_rows
from airflow_s3batch.core.manifest.checksum import verified
from airflow_s3batch.core.manifest.csv_rows import Checked, CsvRows
from airflow_s3batch.core.manifest.data_file import DataFile, Stretch
from airflow_s3batch.core.manifest.findings import Findings
from airflow_s3batch.core.manifest.layout import CsvLayout
from airflow_s3batch.core.manifest.object import PIECE, ManifestObject
from airflow_s3batch.core.rows import Entry

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CsvFile"]

log = logging.getLogger(__name__)

_BATCH = 1024 * 1024
"""Bytes of rows that make a batch of columns."""
_RUN_PIECE = 256 * 1024
"""Bytes that a GET of a partition's run asks for: some thousand rows, for a worker that holds no more than it needs."""


class CsvFile(DataFile):
    """A CSV file, pinned.

    Args:
        found: the file.
        layout: its columns, and which rows are kept.
        md5: what its bytes have to add up to, as hexadecimal text; None to take them as they are.
    """

    def __init__(self, found: ManifestObject, layout: CsvLayout, *, md5: str | None = None) -> None:
        self._found = found
        self._layout = layout
        self._md5 = md5

    @property
    def _uri(self) -> str:
        return self._found.location.uri

    async def check(self, s3: S3Calls, findings: Findings) -> AsyncGenerator[Stretch, None]:
        """See `DataFile.check`."""
        reader, row = CsvRows(self._uri, self._layout, findings), 1
        async with aclosing(self._blocks(s3, 0, None, BLOCK, checksum=True)) as blocks:
            async for begin, block in blocks:
                checked = reader.check(block, row)
                row += checked.lines
                yield Stretch(checked.rows, begin, begin + len(block), _begins(block, begin, checked))

    async def names(self, s3: S3Calls) -> Sequence[str]:  # noqa: ARG002 - the layout knows them
        """See `DataFile.names`."""
        return [field for field in self._layout.fields if field != "Ignore"]

    async def entries(self, s3: S3Calls, start: int, end: int | None, row: int) -> AsyncGenerator[list[Entry], None]:
        """See `DataFile.entries`."""
        reader = CsvRows(self._uri, self._layout)
        async with aclosing(self._blocks(s3, start, end, BLOCK, piece_bytes=_RUN_PIECE)) as blocks:
            async for _, block in blocks:
                entries = reader.entries(block, row)
                row += len(entries)
                yield entries

    async def batches(self, s3: S3Calls) -> AsyncGenerator[pa.RecordBatch, None]:
        """See `DataFile.batches`."""
        arrow("pyarrow.csv")
        from airflow_s3batch.core.manifest.csv_columns import CsvColumns

        findings = Findings()
        reader = CsvColumns(self._uri, self._layout, findings)
        async with aclosing(self._blocks(s3, 0, None, _BATCH, checksum=True)) as blocks:
            async for _, block in blocks:
                yield reader.batch(block)
        # What is made of the rows is surveyed later, and no longer tells how their keys were spelled.
        for warning in () if self._layout.inventory else findings.warnings:
            log.warning("%s", warning)

    async def header(self, s3: S3Calls) -> bytes:
        """The first row, as it stands."""
        found = await self._found.looked_at(s3)
        async with aclosing(whole_rows(self._uri, self._text(found, s3, 0, None))) as blocks:
            async for block in blocks:
                return block.partition(b"\n")[0]
        raise ManifestInvalid(self._uri, "the manifest is empty: it lists no object")

    async def _blocks(
        self,
        s3: S3Calls,
        start: int,
        end: int | None,
        size: int,
        *,
        checksum: bool = False,
        piece_bytes: int = PIECE,
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        """The text from start to end in blocks of whole rows, each with its offset; without the header."""
        found = self._found if self._found.gzipped else await self._found.looked_at(s3)
        at = start
        text_pieces = self._text(found, s3, start, end, checksum=checksum, piece_bytes=piece_bytes)
        async with aclosing(whole_rows(self._uri, text_pieces, size)) as blocks:
            async for block in blocks:
                text = block
                if self._layout.header and at == 0:
                    at, text = _without_first(block)
                if text:
                    yield at, text
                at += len(text)

    def _text(
        self,
        found: ManifestObject,
        s3: S3Calls,
        start: int,
        end: int | None,
        *,
        checksum: bool = False,
        piece_bytes: int = PIECE,
    ) -> AsyncGenerator[bytes, None]:
        stop = found.size if found.gzipped or end is None else end
        # Of a gzip file all that comes before has to be read as well.
        size = PIECE if found.gzipped else piece_bytes
        pieces = found.ranges(s3, 0 if found.gzipped else start, stop, piece_bytes=size)
        if checksum and self._md5 is not None:
            pieces = verified(self._uri, pieces, self._md5)
        return gunzipped(self._uri, pieces, start, end) if found.gzipped else pieces


def _without_first(block: bytes) -> tuple[int, bytes]:
    """Where the second row begins, and the block from there on."""
    cut = block.find(b"\n") + 1 or len(block)
    return cut, block[cut:]


def _begins(block: bytes, begin: int, checked: Checked) -> Callable[[int, int], Sequence[int]]:
    """What gives the offsets of rows that are kept."""

    def begins(first: int, step: int) -> Sequence[int]:
        # The lengths are without the newlines: one a row.
        offsets = list(accumulate(map(len, block.split(b"\n")), initial=begin))
        lines = range(checked.lines) if checked.kept is None else list(compress(range(checked.lines), checked.kept))
        return [offsets[line] + line for line in lines[first::step]]

    return begins
