"""`DataFile`: one of the files that hold a manifest's rows; and a survey of, and a way through, several of them.

A position in a manifest of several files names the file and a place inside it: ``number * FILE + offset``. In a
manifest of one CSV file it is so the byte.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import ManifestInvalid, printable
from airflow_s3batch.core.manifest.base import Survey
from airflow_s3batch.core.manifest.findings import BUCKETS_MOST, Findings
from airflow_s3batch.core.manifest.naming import columns_at
from airflow_s3batch.core.partition import Marks, Partition
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.wording import first_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FILE", "DataFile", "Stretch", "batches_of", "columns_of", "entries_of", "files_of", "survey_of"]

T = TypeVar("T")

FILE = 1 << 48
"""How far apart the positions of two files are."""
_AHEAD = 4
"""Files that are checked at once, by one processor: one works while the others wait for S3."""
_STRETCHES = 8
"""Stretches of a file that may wait to be taken."""
_SHOWN = 20


class Stretch(NamedTuple):
    """Some rows of a file that follow each other, checked."""

    rows: int
    """How many are kept."""
    begin: int
    """Where the stretch begins in the file: a place that `DataFile.entries` can begin at."""
    end: int
    """Where it ends."""
    begins: Callable[[int, int], Sequence[int]]
    """Gives where kept rows begin: the `first` and every `step`-th after it (see `Marks.add`)."""


class DataFile(ABC):
    """A file of rows, pinned. Offsets are in the file's own unit."""

    @abstractmethod
    def check(self, s3: S3Calls, findings: Findings) -> AsyncGenerator[Stretch, None]:
        """Check every row; rows that are left out of the manifest are checked as well, and not counted.

        Raises:
            ManifestError: a row is wrong (names the file and the row in it), or the file is.
            ManifestChanged: it is no longer the pinned file.
        """

    @abstractmethod
    async def names(self, s3: S3Calls) -> Sequence[str]:
        """The names of the columns.

        Raises:
            ManifestError, ManifestChanged: as for `check`.
        """

    @abstractmethod
    def entries(self, s3: S3Calls, start: int, end: int | None, row: int) -> AsyncGenerator[list[Entry], None]:
        """The entries from offset `start` to `end` (None for the file's), numbered from `row` on.

        Raises:
            ManifestError, ManifestChanged: as for `check`.
        """

    @abstractmethod
    def batches(self, s3: S3Calls) -> AsyncGenerator[pa.RecordBatch, None]:
        """The rows that are kept, with all columns; see `Manifest.batches`."""


async def survey_of(uri: str, files: Sequence[DataFile], s3: S3Calls) -> Survey:
    """Read all the files of a manifest once; see `Manifest.survey`."""
    findings, marks = Findings(), Marks()
    row, position = 1, 0
    async with aclosing(_checked(files, s3, findings)) as stretches:
        async for base, stretch in stretches:
            marks.add(row, stretch.rows, base + stretch.begin, _based(base, stretch))
            row += stretch.rows
            position = base + stretch.end
    if row == 1:
        raise ManifestInvalid(uri, " ".join(("the manifest lists no object", *findings.warnings)))
    if (mixed := findings.mixed_versions) is not None:
        with_versions, without = map(printable, mixed)
        wrong = f"rows of {with_versions} have version IDs, and rows of {without} have none"
        raise ManifestInvalid(uri, f"{wrong}; give all files a column of them, or make two jobs")
    if len(findings.buckets) > BUCKETS_MOST:
        wrong = f"it names more than {BUCKETS_MOST:,} buckets, and each is looked at before the job; divide it"
        raise ManifestInvalid(uri, wrong)
    return Survey(row - 1, marks.ended(row, position), findings.buckets, findings.warnings)


async def _checked(
    files: Sequence[DataFile], s3: S3Calls, findings: Findings
) -> AsyncGenerator[tuple[int, Stretch], None]:
    """The stretches of all files in order, each with its file's position; the next files are under way already."""
    waiting = enumerate(files)
    ahead: deque[tuple[int, _Check]] = deque()
    try:
        while True:
            ahead += [(number, _Check(file, s3)) for number, file in islice(waiting, _AHEAD - len(ahead))]
            if not ahead:
                return
            number, check = ahead[0]
            while (stretch := await check.following()) is not None:
                yield number * FILE, stretch
            findings.add(check.findings)
            ahead.popleft()
    finally:
        for _, check in ahead:
            await check.stop()


class _Check:
    """A file that is being checked, some stretches ahead of who takes them: small files cost a round trip each."""

    def __init__(self, file: DataFile, s3: S3Calls) -> None:
        self.findings = Findings()
        self._stretches: asyncio.Queue[Stretch | Exception | None] = asyncio.Queue(_STRETCHES)
        self._task = asyncio.create_task(self._check(file, s3))

    async def _check(self, file: DataFile, s3: S3Calls) -> None:
        try:
            async with aclosing(file.check(s3, self.findings)) as stretches:
                async for stretch in stretches:
                    await self._stretches.put(stretch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where the stretch is waited for
            await self._stretches.put(error)
        else:
            await self._stretches.put(None)

    async def following(self) -> Stretch | None:
        """The next stretch, None at the end.

        Raises:
            ManifestError, ManifestChanged: as `DataFile.check`, in its turn.
        """
        stretch = await self._stretches.get()
        if isinstance(stretch, Exception):
            raise stretch
        return stretch

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def columns_of(uri: str, files: Sequence[DataFile], s3: S3Calls, wanted: Sequence[str]) -> tuple[str, ...]:
    """Which of these columns there are; see `Manifest.find_columns`."""
    names = await files[0].names(s3)
    found = columns_at(uri, names, wanted)
    if not found:
        there = first_of(names, _SHOWN)
        wrong = f"its columns are {there}; there is none of {first_of(wanted, _SHOWN)}"
        way_out = "take a manifest with such a column: an inventory, or a table or CSV file whose header names it"
        raise ManifestInvalid(uri, f"{wrong}; {way_out}")
    return tuple(found)


def files_of(files: Sequence[T], partition: Partition) -> Sequence[T]:
    """Those of a manifest's files that hold rows of the partition."""
    (first, _), (last, end) = divmod(partition.start, FILE), divmod(partition.end, FILE)
    return files[first : last + (end > 0)]


async def entries_of(files: Sequence[DataFile], s3: S3Calls, partition: Partition) -> AsyncGenerator[list[Entry], None]:
    """A partition's entries; see `Manifest.read`."""
    row = partition.first_row
    (first, start), (last, end) = divmod(partition.start, FILE), divmod(partition.end, FILE)
    for number, file in enumerate(files_of(files, partition), first):
        begin = start if number == first else 0
        async with aclosing(file.entries(s3, begin, end if number == last else None, row)) as entries:
            async for some in entries:
                row += len(some)
                yield some


async def batches_of(files: Sequence[DataFile], s3: S3Calls) -> AsyncGenerator[pa.RecordBatch, None]:
    """All rows with all their columns; see `Manifest.batches`."""
    for file in files:
        async with aclosing(file.batches(s3)) as batches:
            async for batch in batches:
                yield batch


def _based(base: int, stretch: Stretch) -> Callable[[int, int], Sequence[int]]:
    return lambda first, step: [base + begin for begin in stretch.begins(first, step)]
