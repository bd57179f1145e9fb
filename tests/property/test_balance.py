"""Partitions are balanced: the largest holds at most a fifth more than the mean, whatever the manifest is made of."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_s3batch.core.manifest import CsvManifest, InventoryManifest, Manifest
from airflow_s3batch.core.partition import MAX_PARTITIONS, Marks, split
from airflow_s3batch.testing import MemoryS3
from tests.core.manifest.inventories import MANIFEST, WRITERS, Row, put_inventory

COLUMNS = ("bucket", "key")
SIZES = st.lists(st.sampled_from([1, 2, 7, 40, 300, 2_000]), min_size=1, max_size=8)


def balance(sizes: list[int]) -> float:
    return max(sizes) / (sum(sizes) / len(sizes))


def begins(row: int, first: int, step: int) -> range:
    return range(row + first, 2**62, step)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 70_000), st.integers(20, 500), st.integers(10, 200_000), st.integers(1, MAX_PARTITIONS))
@example(1_150, 1_000, 4_300, MAX_PARTITIONS)  # CSV: blocks of 64 KiB
@example(8_192, 300, 9_000, MAX_PARTITIONS)  # … of the shortest rows there are
@example(65_536, 160, 100_000, MAX_PARTITIONS)  # Parquet
def test_partitions_are_balanced_however_long_the_stretches_of_a_manifest(
    rows_a_stretch: int, stretches: int, per_partition: int, most: int
) -> None:
    marks = Marks()
    for number in range(stretches):
        row = 1 + number * rows_a_stretch
        marks.add(row, rows_a_stretch, row, partial(begins, row))
    rows = stretches * rows_a_stretch
    sizes = [partition.rows for partition in split(marks.ended(rows + 1, rows + 1), per_partition, most)]

    if rows >= 10 * len(sizes):  # of fewer rows each, one more or less is much
        assert balance(sizes) <= 1.2
    assert len(sizes) == min(most, -(-rows // per_partition))


def table(rows: int, begin: int) -> list[Row]:
    return [{"bucket": "src", "key": f"data/{'x' * (row % 50)}/{row}"} for row in range(begin, begin + rows)]


async def sizes_of(manifest: Manifest, s3: MemoryS3, per_partition: int) -> list[int]:
    survey = await (await manifest.pin(s3)).survey(s3)
    return [partition.rows for partition in split(survey.marks, per_partition, MAX_PARTITIONS)]


@pytest.mark.parametrize("file_format", list(WRITERS))
@settings(max_examples=15, deadline=None)
@given(sizes=SIZES, partitions=st.integers(1, 40))
@example(sizes=[2_000, 1, 1, 1, 1, 1, 1, 1], partitions=8)
@example(sizes=[1] * 7 + [2_000], partitions=5)
def test_files_of_an_inventory_may_be_as_uneven_as_they_like(
    file_format: str, sizes: list[int], partitions: int
) -> None:
    s3, rows = MemoryS3("lake"), sum(sizes)
    put_inventory(s3, file_format, [table(size, sum(sizes[:at])) for at, size in enumerate(sizes)], COLUMNS)

    found = asyncio.run(sizes_of(InventoryManifest(MANIFEST), s3, -(-rows // partitions)))

    assert sum(found) == rows
    assert max(found) - min(found) <= 1


@settings(max_examples=10, deadline=None)
@given(st.integers(20_000, 90_000), st.integers(2, MAX_PARTITIONS), st.sampled_from(["k", "folder/" * 30]))
def test_a_csv_file_is_cut_evenly_at_any_size(rows: int, partitions: int, folder: str) -> None:
    s3 = MemoryS3("lake")
    s3.put("lake", "m.csv", "".join(f"lake,{folder}{row}\n" for row in range(rows)))

    found = asyncio.run(sizes_of(CsvManifest("s3://lake/m.csv"), s3, -(-rows // partitions)))

    assert sum(found) == rows
    assert balance(found) <= 1.2
