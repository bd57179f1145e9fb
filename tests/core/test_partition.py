"""Partitions cover a manifest once, and are about equal."""

from __future__ import annotations

from functools import partial

import pytest

from airflow_s3batch.core.partition import Mark, Marks, Partition, split


def marks(rows: int, *, length: int = 10, step: int = 1) -> list[Mark]:
    return [Mark(row + 1, row * length) for row in range(0, rows, step)] + [Mark(rows + 1, rows * length)]


@pytest.mark.parametrize(
    ("rows", "per_partition", "most", "sizes"),
    [
        (1, 500, 256, [1]),
        (10, 10, 256, [10]),
        (11, 10, 256, [5, 6]),
        (10, 3, 256, [2, 3, 2, 3]),
        (10, 1, 256, [1] * 10),
        (10, 1, 4, [2, 3, 2, 3]),
        (3, 1, 1, [3]),
    ],
)
def test_partitions_are_as_few_as_hold_so_many_rows(rows: int, per_partition: int, most: int, sizes: list[int]) -> None:
    assert [partition.rows for partition in split(marks(rows), per_partition, most)] == sizes


def test_partitions_say_where_they_begin_and_end() -> None:
    assert split(marks(5), 3, 256) == (Partition(0, 1, 2, 0, 20), Partition(1, 3, 3, 20, 50))


def test_no_rows_make_no_partition() -> None:
    assert split([Mark(1, 0)], 10, 256) == ()
    assert split([Mark(1, 0), Mark(1, 0)], 10, 256) == ()


def test_where_marks_are_too_far_apart_there_are_fewer_partitions_and_no_empty_one() -> None:
    partitions = split(marks(100, step=60), 10, 256)

    assert [partition.rows for partition in partitions] == [60, 40]


def test_a_small_manifest_can_be_cut_at_every_row() -> None:
    collected = Marks()
    collected.add(1, 2, 0, lambda *_: [0, 4])
    collected.add(3, 1, 9, lambda *_: [9])

    assert collected.ended(4, 12) == [Mark(1, 0), Mark(2, 4), Mark(3, 9), Mark(4, 12)]


def test_a_huge_manifest_is_marked_where_stretches_begin() -> None:
    asked: list[int] = []

    def begins(row: int, first: int, step: int) -> list[int]:
        asked.append(row)
        return [at * 7 for at in range(row, row + 10)][first::step]

    collected = Marks(most=10)
    for first in range(0, 10_000, 10):
        collected.add(1 + first, 10, first * 7, partial(begins, first))
    found = collected.ended(10_001, 70_000)

    assert 5 <= len(found) <= 11
    assert all(mark.offset == (mark.row - 1) * 7 for mark in found)
    assert all(partition.rows <= 4_000 for partition in split(found, 3_000, 4))
    assert max(asked) < 1_000


def test_a_large_manifest_keeps_few_marks_and_they_are_at_rows() -> None:
    def begins(row: int, first: int, step: int) -> range:
        return range(row * 7, (row + 100) * 7, 7)[first::step]

    collected = Marks(most=1000)
    for first in range(0, 20_000, 100):
        collected.add(1 + first, 100, first * 7, partial(begins, first))
    found = collected.ended(20_001, 140_000)

    assert 500 <= len(found) <= 1001
    assert all(mark.offset == (mark.row - 1) * 7 for mark in found)
    assert found == sorted(set(found))
