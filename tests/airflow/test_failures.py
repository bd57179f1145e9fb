"""What a person finds in the log of a task that has failed: one line, and no retry where that is of no use."""

from __future__ import annotations

import logging
import traceback

import pytest

from airflow_s3batch.core.errors import (
    InvalidInput,
    JobCancelled,
    JobConflict,
    JobFailed,
    JobOver,
    ManifestChanged,
    ManifestError,
    ManifestInvalid,
    NoSuchJob,
    PartitionRuns,
    PartitionsMissing,
    S3BatchError,
    Stopped,
    Unreachable,
)
from airflow_s3batch.failures import AirflowFailException, PlainFailures

USELESS = [
    InvalidInput("rows_per_partition=0: at least 1"),
    JobCancelled("1", "by Ada"),
    JobFailed("1", [("FailureThresholdExceeded", "600 of 1,000 objects have failed")]),
    ManifestChanged("s3://lake/m.csv", "the manifest was changed", code="ManifestChanged"),
    ManifestInvalid("s3://lake/m.csv", "a blank line; remove it", row=1),
    NoSuchJob("job nobodys can't be run: there is none in s3://lake/reports"),
    JobOver("job 1 is Complete, and doesn't run again by its id"),
]
WORTH_IT = [
    ManifestError("s3://lake/m.csv", "the manifest doesn't exist", code="NoSuchKey"),
    Unreachable("GetObject", "s3://lake/m.csv", status=0, code="ConnectionRefused", message="refused"),
    JobConflict("another run of it is alive"),
    PartitionRuns("1", {3: "rows 301 to 400"}),
    PartitionsMissing("1", {3: "rows 301 to 400"}, 4),
    Stopped("stopped after 3 of 4 rows"),
]


def fail_deep_down(error: Exception) -> None:
    """Raise it as it comes out of the core: from another error, some calls further down."""
    raise error from OSError("somewhere in asyncio")


@pytest.mark.parametrize("error", USELESS, ids=lambda error: type(error).__name__)
def test_what_no_retry_mends_fails_at_once_with_the_message(error: S3BatchError) -> None:
    with pytest.raises(AirflowFailException) as failed, PlainFailures():
        fail_deep_down(error)

    told = str(failed.value)
    if isinstance(error, JobCancelled):
        assert told.startswith(f"{error}; to have it go on after all, clear the task that prepared it")
    else:
        assert told == str(error)


@pytest.mark.parametrize("error", WORTH_IT, ids=lambda error: type(error).__name__)
def test_what_may_pass_is_left_to_airflows_retries(error: S3BatchError) -> None:
    with pytest.raises(type(error)) as failed, PlainFailures():
        fail_deep_down(error)

    assert failed.value is error


@pytest.mark.parametrize("error", [*USELESS, *WORTH_IT], ids=lambda error: type(error).__name__)
def test_log_shows_neither_the_causes_nor_the_way_through_the_core(error: S3BatchError) -> None:
    with pytest.raises((S3BatchError, AirflowFailException)) as failed, PlainFailures():
        fail_deep_down(error)

    shown = "".join(traceback.format_exception(failed.value))
    assert str(error) in shown
    assert "OSError" not in shown
    assert "in fail_deep_down" not in shown


def test_whole_story_is_there_at_level_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "airflow_s3batch")

    with pytest.raises(JobConflict), PlainFailures():
        fail_deep_down(JobConflict("changed by others"))

    assert "somewhere in asyncio" in caplog.text


@pytest.mark.parametrize("error", [KeyError("a bug"), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
def test_what_nobody_raised_on_purpose_is_shown_in_full(error: BaseException) -> None:
    with pytest.raises(type(error)) as failed, PlainFailures():
        raise error

    assert failed.value is error
