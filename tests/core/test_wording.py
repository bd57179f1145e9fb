"""What a person reads: spans of time, counts, and lists that may be long."""

import pytest

from airflow_s3batch.core.wording import counted, duration, first_of


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.0 s"), (3.27, "3.3 s"), (59.4, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (97_500, "27 h 5 min")],
)
def test_seconds_are_told_as_a_person_says_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(("number", "told"), [(0, "0 objects"), (1, "1 object"), (3_000, "3,000 objects")])
def test_one_thing_is_told_in_the_singular(number: int, told: str) -> None:
    assert counted(number, "object") == told


@pytest.mark.parametrize(
    ("texts", "told"), [([], ""), (["a", "b"], "a, b"), (["a", "b", "c"], "a, b, …"), (["a\n"], "a\\n")]
)
def test_a_long_list_is_cut_and_safe_to_print(texts: list[str], told: str) -> None:
    assert first_of(texts, 2) == told
