from __future__ import annotations

import json

import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.folder.summary import JobSummary, Summary
from airflow_s3batch.core.folder.tally import Failure, Tally
from airflow_s3batch.core.job import JobStatus
from airflow_s3batch.core.running.progress import Meter

TALLY = Tally(
    succeeded=1_234_561,
    failed=6,
    codes={"NoSuchKey": 4, "AccessDenied": 2},
    examples=(Failure("s3://data/key", "NoSuchKey", "The specified key does not exist."),),
)


def test_a_partitions_summary_survives_json() -> None:
    summary = Summary(partition=3, attempt=2, rows=1_234_567, skipped=7, elapsed_seconds=1.5, tally=TALLY)
    assert Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


@pytest.mark.parametrize(
    ("tally", "skipped", "told"),
    [
        (Tally(succeeded=1_000), 0, "1,000 succeeded, 0 failed, in 4.0 s, 250 objects/s"),
        (Tally(succeeded=1_000), 600, "1,000 succeeded, 600 of them before, 0 failed, in 4.0 s, 100 objects/s"),
        (Tally(succeeded=1_000), 1_000, "1,000 succeeded, 1,000 of them before, 0 failed, in 4.0 s"),
        (
            Tally(succeeded=996, failed=4, codes={"A": 1, "B": 1, "C": 1, "D": 1}),
            0,
            "996 succeeded, 4 failed (A 1, B 1, C 1, …), in 4.0 s, 250 objects/s",
        ),
    ],
)
def test_a_partitions_summary_is_a_line_in_the_log(tally: Tally, skipped: int, told: str) -> None:
    summary = Summary(partition=0, attempt=1, rows=1_000, skipped=skipped, elapsed_seconds=4.0, tally=tally)
    assert str(summary) == told


@pytest.mark.parametrize("told", [{}, {"partition": 1}])
def test_what_is_no_summary_is_refused(told: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="not a partition's summary"):
        Summary.from_json(told)


def test_the_table_is_one_a_person_can_read() -> None:
    summary = JobSummary(
        job_id="0b55d0a2",
        status=JobStatus.COMPLETE,
        operation="S3PutObjectTagging",
        total=1_234_567,
        tally=TALLY,
        elapsed_seconds=83.2,
        report_uri="s3://lake/reports/job-0b55d0a2/manifest.json",
    )
    assert summary.table().splitlines()[1:-1] == [
        "job             0b55d0a2  Complete",
        "operation       S3PutObjectTagging",
        "objects         1,234,567",
        "succeeded       1,234,561  99.99 %",
        "failed                  6  0.01 %",
        "  NoSuchKey             4",
        "  AccessDenied          2",
        "time            1 min 23 s, 14,839 objects/s",
        "report          s3://lake/reports/job-0b55d0a2/manifest.json",
        "failed, for example",
        "  s3://data/key  NoSuchKey: The specified key does not exist.",
    ]


def test_a_table_says_all_only_of_all_and_nothing_of_none() -> None:
    tally = Tally(succeeded=2)
    summary = JobSummary(
        job_id="1",
        status=JobStatus.COMPLETE,
        operation="S3PutObjectAcl",
        total=2,
        tally=tally,
        elapsed_seconds=0.0,
        report_uri="s3://lake/manifest.json",
    )
    lines = summary.table().splitlines()
    assert lines[4:7] == ["succeeded  2  100 %", "failed     0", "time       0.0 s, 0 objects/s"]
    assert lines[-1] == lines[0]


def test_progress_tells_the_rate_of_the_last_half_minute_and_the_time_left() -> None:
    meter = Meter(total=10_000, skipped=1_000, now=0.0)
    for second in range(1, 101):
        progress = meter.add(10 if second <= 60 else 100, 1, float(second))
    assert progress.done == 1_000 + 600 + 4_000
    assert progress.failed == 100
    assert progress.rate == pytest.approx(100.0)
    assert progress.seconds_left == pytest.approx(44.0)
    assert str(progress) == "5,600 of 10,000 objects (56 %), 100 failed, 100 objects/s, 44 s left"


def test_progress_knows_no_rate_before_time_has_passed() -> None:
    progress = Meter(total=10, skipped=0, now=5.0).add(5, 0, 5.0)
    assert (progress.rate, progress.seconds_left) == (0.0, None)
