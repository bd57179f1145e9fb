"""`ColumnarFile`: a Parquet or ORC file of a manifest's rows.

It is cut into row groups or stripes, which are read one after the other, in a thread, and never held as a whole
where the format allows: Parquet's columns are streams. An offset is ``unit * UNIT + row``, the row counted within
the row group or stripe, so that a partition can begin inside one: it is then decoded from its start, some milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from itertools import compress
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar
from weakref import WeakKeyDictionary

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import ManifestInvalid, S3BatchError, printable
from airflow_s3batch.core.manifest.arrow import arrow
from airflow_s3batch.core.manifest.checksum import verified
from airflow_s3batch.core.manifest.data_file import DataFile, Stretch
from airflow_s3batch.core.manifest.findings import Findings
from airflow_s3batch.core.manifest.layout import ColumnarLayout
from airflow_s3batch.core.manifest.object import ManifestObject
from airflow_s3batch.core.manifest.ranged_file import RangedFile
from airflow_s3batch.core.rows import Entry

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_s3batch.core.manifest.columnar_rows import ColumnarRows

__all__ = ["UNIT", "ColumnarFile"]

T = TypeVar("T")

UNIT = 1 << 28
"""How far apart the offsets of two row groups or stripes are: more than the rows of one."""
_ROWS = 16 * 1024
"""Rows that are decoded at once: a few MB, as a rule."""
_ENTRIES = 4096
"""Entries that are made at once, while the loop waits: some 3 ms."""
_STREAM = 64 * 1024
"""Bytes of a column that are read at once: out of a block, which is there."""

_decoders: WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor] = WeakKeyDictionary()


def _decoder() -> ThreadPoolExecutor:
    """The thread that decodes Parquet for the running loop.

    One for all files: the allocator of pyarrow keeps for each thread what it once needed, up to 30 MB. No file waits
    for another one's requests, because those are done before it is a file's turn (see `RangedFile.ready`).
    """
    loop = asyncio.get_running_loop()
    if loop not in _decoders:
        _decoders[loop] = ThreadPoolExecutor(1, "parquet")
    return _decoders[loop]


class ColumnarFile(DataFile):
    """A Parquet or ORC file, pinned.

    Args:
        found: the file.
        layout: its columns, and which rows are kept.
        file_format: ``Parquet`` or ``ORC``.
        md5: what its bytes have to add up to, as hexadecimal text; None to take them as they are.
    """

    def __init__(
        self,
        found: ManifestObject,
        layout: ColumnarLayout,
        file_format: Literal["Parquet", "ORC"],
        *,
        md5: str | None = None,
    ) -> None:
        self._found = found
        self._layout = layout
        self._format = file_format
        self._md5 = md5

    async def check(self, s3: S3Calls, findings: Findings) -> AsyncGenerator[Stretch, None]:
        """See `DataFile.check`."""
        await self._check_md5(s3)
        source = await self._source(s3)
        async with aclosing(self._stepped(source, self._checked(source, findings))) as stretches:
            async for stretch in stretches:
                yield stretch

    async def names(self, s3: S3Calls) -> Sequence[str]:
        """See `DataFile.names`."""
        source = await self._source(s3)
        opening = asyncio.ensure_future(asyncio.to_thread(self._schema_names, source))
        try:
            return await asyncio.shield(opening)
        finally:
            source.give_up()
            with contextlib.suppress(S3BatchError):
                await opening

    async def entries(self, s3: S3Calls, start: int, end: int | None, row: int) -> AsyncGenerator[list[Entry], None]:
        """See `DataFile.entries`."""
        async with aclosing(self._batches(s3, start, end)) as batches:
            async for _, batch, rows in batches:
                for at in range(0, len(batch), _ENTRIES):
                    entries = rows.entries(batch.slice(at, _ENTRIES), row)
                    row += len(entries)
                    yield entries

    async def batches(self, s3: S3Calls) -> AsyncGenerator[pa.RecordBatch, None]:
        """See `DataFile.batches`."""
        await self._check_md5(s3)
        row = 1
        async with aclosing(self._batches(s3, 0, None, every_column=True)) as batches:
            async for _, batch, rows in batches:
                yield rows.columns(batch, row)
                row += len(batch)

    async def _check_md5(self, s3: S3Calls) -> None:
        """See that the file's bytes are the listed ones.

        A file whose ETag is its MD5 isn't read for it: S3 computed that from the bytes it took.
        """
        if self._md5 is not None and self._found.etag != self._md5:
            pieces = self._found.ranges(s3, 0, (await self._found.looked_at(s3)).size)
            async with aclosing(verified(self._found.location.uri, pieces, self._md5)) as read:
                async for _ in read:
                    pass

    async def _batches(
        self, s3: S3Calls, start: int, end: int | None, *, every_column: bool = False
    ) -> AsyncGenerator[tuple[int, pa.RecordBatch, ColumnarRows], None]:
        """The rows from start to end, each batch with its offset and its reader."""
        source = await self._source(s3)

        def wanted(rows: ColumnarRows) -> Sequence[str] | None:
            return None if every_column else rows.names

        async with aclosing(self._stepped(source, self._decoded(source, start, end, wanted))) as batches:
            async for batch in batches:
                yield batch

    async def _stepped(self, source: RangedFile, steps: Generator[T | None, None, None]) -> AsyncGenerator[T, None]:
        """What steps that read the file come to, but None: each is made in a thread, one ahead."""
        decoder = _decoder() if self._format == "Parquet" else None

        async def step() -> T | _Ended | None:
            await source.ready()
            context = contextvars.copy_context()  # as asyncio.to_thread does, for requests that begin in the thread
            return await asyncio.get_running_loop().run_in_executor(decoder, context.run, _following, steps)

        ahead = asyncio.create_task(step())
        try:
            while not isinstance(made := await asyncio.shield(ahead), _Ended):
                ahead = asyncio.create_task(step())
                if made is not None:
                    yield made
        finally:
            source.give_up()
            with contextlib.suppress(S3BatchError):
                await ahead
            steps.close()

    def _checked(self, source: RangedFile, findings: Findings) -> Generator[Stretch | None, None, None]:
        """Decode the file and check its rows, in a worker thread: the rows are gone when the next ones come."""
        row = 1
        for step in self._decoded(source, 0, None, lambda rows: rows.checked):
            if step is None:
                yield None
                continue
            begin, batch, rows = step
            kept, count = rows.check(batch, row, findings), len(batch)
            row += count
            del step, batch
            yield Stretch(count if kept is None else kept.true_count, begin, begin + count, _begins(begin, count, kept))

    def _decoded(
        self,
        source: RangedFile,
        start: int,
        end: int | None,
        wanted: Callable[[ColumnarRows], Sequence[str] | None],
    ) -> Generator[tuple[int, pa.RecordBatch, ColumnarRows] | None, None, None]:
        """Decode the file, in a worker thread: None once it is open, then the rows.

        `wanted` tells of which columns, None for all.
        """
        arrow("pyarrow.compute")
        from airflow_s3batch.core.manifest.columnar_rows import ColumnarRows

        uri = self._found.location.uri
        with self._as_manifest_errors(source):
            units = self._units(source)
            rows = ColumnarRows(uri, self._layout, units.schema)
            names = wanted(rows)
            numbers = range(units.count)[start // UNIT : None if end is None else end // UNIT + 1]
            source.expect(units.places(numbers, names))
            yield None
            for unit in numbers:
                row = 0
                for batch in units.batches(unit, names):
                    begin = unit * UNIT + row
                    row += len(batch)
                    if row > UNIT:
                        raise ManifestInvalid(
                            uri, f"a row group of over {UNIT:,} rows; write the file with smaller ones"
                        )
                    if end is not None and begin >= end:
                        return
                    first = max(0, start - begin)
                    part = batch.slice(first, None if end is None else max(0, end - begin - first))
                    if len(part):
                        yield begin + first, part, rows

    async def _source(self, s3: S3Calls) -> RangedFile:
        found = self._found if self._found.size else await self._found.looked_at(s3)
        return RangedFile(found, s3, asyncio.get_running_loop())

    def _units(self, source: RangedFile) -> _Units:
        return _RowGroups(source) if self._format == "Parquet" else _Stripes(source)

    def _schema_names(self, source: RangedFile) -> list[str]:
        """The columns' names, in a worker thread."""
        with self._as_manifest_errors(source):
            names: list[str] = self._units(source).schema.names
            return names

    @contextlib.contextmanager
    def _as_manifest_errors(self, source: RangedFile) -> Generator[None, None, None]:
        """What goes wrong while the file is read, in this package's words."""
        try:
            yield
        except S3BatchError:
            raise
        except (OSError, arrow("pyarrow").ArrowException) as error:
            if source.failure is not None:
                raise source.failure from None
            wrong = f"the file can't be read as {self._format}: {printable(error)}"
            raise ManifestInvalid(self._found.location.uri, wrong) from None


class _Ended:
    """Said when there is no further step: StopIteration can't be, by what runs in a thread."""


def _following(steps: Iterator[T | None]) -> T | _Ended | None:
    return next(steps, _Ended())


class _Units(Protocol):
    """A file, as the parts it is written in."""

    schema: pa.Schema
    count: int

    def batches(self, unit: int, names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """The rows of one of them, all columns or these."""
        ...

    def places(self, units: range, names: Sequence[str] | None) -> Sequence[Sequence[tuple[int, int]]]:
        """Where the bytes of these units are, column by column, if each is read from its beginning to its end."""
        ...


class _RowGroups:
    """A Parquet file."""

    def __init__(self, source: RangedFile) -> None:
        # Not pre-buffered: that fetches row groups as a whole.
        self._file = arrow("pyarrow.parquet").ParquetFile(source, buffer_size=_STREAM, pre_buffer=False)
        self.schema = self._file.schema_arrow
        self.count = self._file.metadata.num_row_groups

    def batches(self, unit: int, names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        yield from self._file.iter_batches(_ROWS, row_groups=[unit], columns=names, use_threads=False)

    def places(self, units: range, names: Sequence[str] | None) -> list[list[tuple[int, int]]]:
        found: dict[str, list[tuple[int, int]]] = {}
        for unit in units:
            group = self._file.metadata.row_group(unit)
            for number in range(group.num_columns):
                column = group.column(number)
                if names is None or column.path_in_schema in names:
                    pages = [column.data_page_offset, column.dictionary_page_offset]
                    first = min(offset for offset in pages if offset is not None)
                    found.setdefault(column.path_in_schema, []).append((first, first + column.total_compressed_size))
        return list(found.values())


class _Stripes:
    """An ORC file."""

    def __init__(self, source: RangedFile) -> None:
        self._file = arrow("pyarrow.orc").ORCFile(source)
        self.schema = self._file.schema
        self.count = self._file.nstripes

    def batches(self, unit: int, names: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        stripe = self._file.read_stripe(unit, columns=names)
        for at in range(0, len(stripe), _ROWS):
            yield stripe.slice(at, _ROWS)

    def places(self, units: range, names: Sequence[str] | None) -> list[list[tuple[int, int]]]:  # noqa: ARG002 - as it is promised
        return []


def _begins(begin: int, rows: int, kept: pa.BooleanArray | None) -> Callable[[int, int], Sequence[int]]:
    """What gives the offsets of rows that are kept."""

    def begins(first: int, step: int) -> Sequence[int]:
        every = range(begin, begin + rows)
        return every[first::step] if kept is None else list(compress(every, kept.to_pylist()))[first::step]

    return begins
