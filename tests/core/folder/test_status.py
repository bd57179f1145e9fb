from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from airflow_s3batch.core.errors import InvalidInput, JobConflict, ManifestError, ReportError, S3Error
from airflow_s3batch.core.folder.status import FailureReason, JobState
from airflow_s3batch.core.job import JobStatus

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def state(status: str) -> JobState:
    return JobState(job_id="1-2", status=JobStatus(status), created="2026-11-24T11:00:00.000Z")


@pytest.mark.parametrize(
    "way",
    [
        "New Preparing Ready Active Completing Complete",
        "New Preparing Suspended Ready Active Pausing Paused Active Completing Complete",
        "Ready Active Cancelling Cancelled",
        "Active Failing Failed",
        "Suspended Cancelled",
        "Preparing Failed Preparing Ready",
        "Complete Active Completing Complete",
        "Completing Active",
    ],
)
def test_a_job_goes_the_ways_of_aws_and_is_opened_again_by_running_it(way: str) -> None:
    first, *others = way.split()
    moved = state(first)
    for status in others:
        moved = moved.moved(JobStatus(status), at=NOON)
        assert moved.status.value == status
        assert (moved.ended is not None) == moved.status.ended


@pytest.mark.parametrize("status", [JobStatus.ACTIVE, JobStatus.PREPARING, JobStatus.SUSPENDED])
def test_a_job_that_is_opened_again_has_no_report_until_it_is_written_anew(status: JobStatus) -> None:
    complete = state("Completing").moved(JobStatus.COMPLETE, at=NOON).reported("s3://lake/manifest.json")

    assert "ReportUri" not in complete.moved(status, at=NOON).to_aws()


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("New", "Ready"),
        ("Ready", "Complete"),
        ("Suspended", "Active"),
        ("Complete", "Failed"),
        ("Active", "Preparing"),
        ("Failed", "Complete"),
    ],
)
def test_another_way_is_a_conflict_that_names_both(here: str, there: str) -> None:
    with pytest.raises(JobConflict, match=f"job 1-2 is {here} and can't become {there}; from {here} it can become "):
        state(here).moved(JobStatus(there), at=NOON)


def test_a_state_is_told_in_the_words_of_describe_job_and_read_back() -> None:
    failed = state("Active").moved(JobStatus.FAILED, at=NOON, failures=[FailureReason("Code", "why")])
    failed = failed.counted(total=10, succeeded=7, failed=2, active_seconds=3.4).reported("s3://lake/manifest.json")
    told = json.loads(json.dumps(failed.to_aws()))
    assert told == {
        "JobId": "1-2",
        "Status": "Failed",
        "StatusUpdateReason": "",
        "FailureReasons": [{"FailureCode": "Code", "FailureReason": "why"}],
        "ProgressSummary": {
            "TotalNumberOfTasks": 10,
            "NumberOfTasksSucceeded": 7,
            "NumberOfTasksFailed": 2,
            "Timers": {"ElapsedTimeInActiveSeconds": 3},
        },
        "CreationTime": "2026-11-24T11:00:00.000Z",
        "TerminationDate": "2026-11-24T12:00:00.000Z",
        "ReportUri": "s3://lake/manifest.json",
    }
    assert JobState.from_aws(told) == failed


@pytest.mark.parametrize("told", [{}, {"JobId": "1"}, {**state("New").to_aws(), "Status": "Lost"}])
def test_what_is_no_state_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="not a job's status"):
        JobState.from_aws(told)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ManifestError("s3://m", "bad", row=2, code="InvalidManifestContent"), "InvalidManifestContent"),
        (S3Error("GetObject", "s3://b/k", status=403, code="AccessDenied", message="no"), "AccessDenied"),
        (ReportError("x" * 999), "ReportError"),
        (S3Error("GetObject", "s3://b/k", status=403, code="C" * 99, message="no"), "C" * 63 + "…"),
    ],
)
def test_a_failure_reason_has_the_codes_of_aws_and_fits_its_lengths(error: Exception, code: str) -> None:
    reason = FailureReason.of(error)
    assert reason.code == code
    assert len(reason.code) <= 64
    assert len(reason.reason) <= 256
