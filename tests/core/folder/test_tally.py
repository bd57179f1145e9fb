from __future__ import annotations

from airflow_s3batch.core.folder.tally import OTHER, Failure, Tally
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.scripted import fails


def failed(row: int, code: str) -> Outcome:
    return fails(Entry(row, "data", f"key-{row}", None, f"key-{row}"), code, "why")


def test_tallies_add_up() -> None:
    one = Tally.of(5, [failed(1, "A"), failed(2, "B")])
    other = Tally.of(1, [failed(3, "B")])
    both = one + other
    assert (both.succeeded, both.failed, both.codes) == (6, 3, {"B": 2, "A": 1})
    assert both.examples == (*one.examples, *other.examples)


def test_codes_beyond_fifty_are_counted_as_other_and_none_is_lost() -> None:
    one = Tally.of(0, [failed(row, f"Code{row % 80}") for row in range(800)])
    both = one + Tally.of(0, [failed(row, f"Else{row % 80}") for row in range(800)])
    for tally in (one, both):
        assert len(tally.codes) == 51
        assert list(tally.codes)[-1] == OTHER
        assert sum(tally.codes.values()) == tally.failed


def test_examples_are_of_as_many_codes_as_possible() -> None:
    tally = Tally.of(0, [*(failed(row, "Common") for row in range(1000)), failed(1000, "Rare")])
    assert [example.code for example in tally.examples] == ["Common", "Rare", "Common", "Common", "Common"]
    assert tally.examples[1] == Failure("s3://data/key-1000", "Rare", "why")


def test_what_servers_and_manifests_say_is_made_safe_to_print() -> None:
    entry = Entry(1, "data", "a\nb\x1b[2J", "v1", "a%0Ab")
    tally = Tally.of(0, [Outcome(entry, succeeded=False, http_status=400, code="Co\x00de" * 30, message="line\nbreak")])
    (example,) = tally.examples
    assert example.uri == r"s3://data/a\nb\x1b[2J?versionId=v1"
    assert example.message == r"line\nbreak"
    assert len(example.code) == 64
    assert list(tally.codes) == [example.code]
