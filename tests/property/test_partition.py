"""Laws of partitions."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.partition import Mark, Marks, split

ROWS = st.lists(st.binary(max_size=20).map(lambda row: row.replace(b"\n", b"_")), max_size=300)


@st.composite
def any_marks(draw: st.DrawFn) -> list[Mark]:
    """Marks at some of a manifest's rows, the first and the end among them."""
    steps = draw(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 5000)), max_size=60))
    marks = [Mark(1, 0)]
    for rows, length in steps:
        marks.append(Mark(marks[-1].row + rows, marks[-1].offset + length))
    return marks


@given(any_marks(), st.integers(1, 100), st.integers(1, 30))
def test_partitions_cover_every_row_and_byte_once_in_order(marks: list[Mark], per_partition: int, most: int) -> None:
    partitions = split(marks, per_partition, most)

    assert [partition.number for partition in partitions] == list(range(len(partitions)))
    assert all(partition.rows > 0 for partition in partitions)
    assert len(partitions) <= most
    ends = [(partition.first_row + partition.rows, partition.end) for partition in partitions]
    assert [(1, 0), *ends][: len(ends)] == [(partition.first_row, partition.start) for partition in partitions]
    assert [(1, 0), *ends][-1] == marks[-1]


@given(st.integers(1, 5000), st.integers(1, 500), st.integers(1, 64))
def test_partitions_are_balanced_where_every_row_is_marked(rows: int, per_partition: int, most: int) -> None:
    marks = [Mark(row, row) for row in range(1, rows + 2)]
    sizes = [partition.rows for partition in split(marks, per_partition, most)]

    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= per_partition or len(sizes) == most


@given(any_marks(), st.integers(1, 100), st.integers(1, 30))
def test_a_partition_is_no_further_off_than_the_marks_are_apart(
    marks: list[Mark], per_partition: int, most: int
) -> None:
    partitions = split(marks, per_partition, most)
    widest = max((after.row - before.row for before, after in pairwise(marks)), default=0)
    wanted = min(most, -(-(marks[-1].row - 1) // per_partition)) or 1

    assert all(partition.rows <= (marks[-1].row - 1) / wanted + 1 + widest for partition in partitions)


@given(ROWS, st.integers(2, 40), st.integers(1, 50))
def test_collected_marks_are_where_rows_begin(rows: list[bytes], most: int, rows_a_block: int) -> None:
    begins = {1: 0}
    for number, row in enumerate(rows, 1):
        begins[number + 1] = begins[number] + len(row) + 1
    collected = Marks(most)
    for at in range(0, len(rows), rows_a_block):
        some = [begins[row] for row in range(at + 1, min(at + rows_a_block, len(rows)) + 1)]
        collected.add(at + 1, len(some), some[0], lambda first, step, some=some: some[first::step])  # type: ignore[misc]
    marks = collected.ended(len(rows) + 1, begins[len(rows) + 1])

    assert all(begins[mark.row] == mark.offset for mark in marks)
    assert [mark.row for mark in marks] == sorted({mark.row for mark in marks})
    assert marks[0] == (1, 0)
    assert len(marks) <= most + 1
