from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.folder.overrides import Overrides
from airflow_s3batch.core.limits import FailureThreshold, Limits

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("threshold", "ran", "failed", "passed"),
    [
        (FailureThreshold(), 999, 999, False),
        (FailureThreshold(), 1_000, 500, False),
        (FailureThreshold(), 1_000, 501, True),
        (FailureThreshold(percent=0, minimum=1), 1, 0, False),
        (FailureThreshold(percent=0, minimum=1), 10, 1, True),
        (FailureThreshold(percent=0.1), 1_000, 1, False),
        (FailureThreshold(percent=0.1), 1_000, 2, True),
    ],
)
def test_threshold_is_passed_by_more_than_its_percent_of_at_least_its_minimum(
    threshold: FailureThreshold, ran: int, failed: int, passed: bool
) -> None:
    assert threshold.is_passed(ran, failed) == passed


def test_threshold_is_read_back() -> None:
    for threshold in (FailureThreshold(), FailureThreshold(percent=2.5, minimum=10)):
        assert FailureThreshold.from_aws(json.loads(json.dumps(threshold.to_aws()))) == threshold
    assert FailureThreshold.from_aws(None) is None


@pytest.mark.parametrize("wrong", [{"percent": 100}, {"percent": -1}, {"minimum": 0}, {"percents": 5}])
def test_threshold_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="FailureThreshold"):
        FailureThreshold(**wrong)


def test_overrides_count_instead_of_what_the_job_was_given() -> None:
    overrides = Overrides().with_limits({"in_flight": 7}, at=NOON).with_limits({"requests_per_second": None}, at=NOON)
    assert overrides.on(Limits(retries=3, requests_per_second=9)) == Limits(retries=3, in_flight=7)
    assert Overrides.from_json(json.loads(json.dumps(overrides.to_json()))) == overrides


@pytest.mark.parametrize("told", [{}, {"Limits": {"in_flight": 0}, "Priority": None, "Changed": None}, {"Limits": 1}])
def test_what_are_no_overrides_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="not a job's overrides"):
        Overrides.from_json(told)


def test_infinite_rate_is_none_which_json_can_say() -> None:
    limits = Limits(requests_per_second=float("inf"))

    assert limits.requests_per_second is None
    json.loads(json.dumps(limits.to_aws(), allow_nan=False))


@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout"])
def test_time_to_wait_is_finite(name: str) -> None:
    given: dict[str, Any] = {name: float("inf")}

    with pytest.raises(InvalidInput, match=name):
        Limits(**given)
