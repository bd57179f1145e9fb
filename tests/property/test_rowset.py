"""The laws of RowSet: it is a set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.folder.rowset import RowSet
from airflow_s3batch.core.rows import Entry

rows = st.lists(st.integers(1, 60))


def entries(numbers: list[int]) -> list[Entry]:
    return [Entry(row, "bucket", "key", None, "key") for row in numbers]


@given(rows)
def test_it_holds_exactly_its_rows(numbers: list[int]) -> None:
    made = RowSet(numbers)
    assert list(made) == sorted(set(numbers))
    assert len(made) == len(set(numbers))
    assert [row for row in range(62) if row in made] == sorted(set(numbers))


@given(rows)
def test_its_intervals_are_disjoint_apart_and_in_order(numbers: list[int]) -> None:
    edges = [edge for interval in RowSet(numbers).intervals() for edge in interval]
    assert edges == sorted(edges)
    assert all(after - end > 1 for end, after in zip(edges[1::2], edges[2::2], strict=False))


@given(rows)
def test_its_text_parses_to_itself(numbers: list[int]) -> None:
    made = RowSet(numbers)
    assert RowSet.parse(str(made)) == made
    assert hash(RowSet.parse(str(made))) == hash(made)


@given(rows, rows)
def test_union_is_that_of_sets(one: list[int], other: list[int]) -> None:
    assert RowSet(one) | RowSet(other) == RowSet([*one, *other])


@given(
    rows,
    st.one_of(
        st.lists(st.integers(1, 60), unique=True),
        st.builds(lambda at, n: list(range(at, at + n)), st.integers(1, 60), st.integers(0, 30)),
    ),
)
def test_pending_are_the_entries_that_it_does_not_hold(numbers: list[int], given_rows: list[int]) -> None:
    some = entries(sorted(given_rows))
    assert RowSet(numbers).pending(some) == [entry for entry in some if entry.row not in set(numbers)]


@given(st.text("0123456789-, +_", max_size=8))
def test_text_is_read_only_as_it_is_written(text: str) -> None:
    try:
        read = RowSet.parse(text)
    except InvalidInput:
        return
    assert RowSet.parse(str(read)) == read
    assert text == "" or sum(1 for _ in read.intervals()) == len(text.split(","))


@pytest.mark.parametrize("text", ["1,", ",1", "3-1", "1,2", "5,3", "1-4,4", "-1", "1--2", "a", "1 ", "\u0661", "1-2-3"])
def test_text_that_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a set of rows"):
        RowSet.parse(text)


def test_a_million_rows_in_order_are_one_interval() -> None:
    assert str(RowSet(range(1, 1_000_001))) == "1-1000000"


def test_its_repr_is_short_whatever_it_holds() -> None:
    assert repr(RowSet([1, 2, 3, 9])) == "RowSet(1-3,9)"
    assert len(repr(RowSet(range(0, 10_000, 2)))) < 220


@given(rows, rows)
def test_difference_is_that_of_sets(some: list[int], others: list[int]) -> None:
    left = RowSet(some) - RowSet(others)
    assert left == RowSet(set(some) - set(others))
    assert len(left) == len(set(some) - set(others))
