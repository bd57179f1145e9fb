"""What a person can do to a job that ran on a real Airflow: clear its tasks, and change its manifest under it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.faults import audit
from tests.faults.jobs import CLEARED, PATIENCE, WATCHED, Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.airflow import Airflow
    from tests.faults.recording_s3 import Record

pytestmark = pytest.mark.faults

ROWS, PARTITION = 30_000, 15_000
NOTICED_WITHIN = 10.0
"""Seconds: the runs look at the manifest once a second, and obey each other every three."""
STILL = 3.0
"""Seconds without an object after which a job has stopped."""


def clear_report(job: Job) -> None:
    job.clear("tag.report")


def clear_one(job: Job) -> None:
    job.clear("tag.run", 0)


def clear_one_and_downstream(job: Job) -> None:
    job.clear("tag.run", 0, downstream=True)


CLEARINGS = (clear_report, clear_one, clear_one_and_downstream)


class Cleared:
    """A job before and after something of it was cleared."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.before = job.evidence()

    def wait(self) -> None:
        self.job.wait()
        self.after = self.job.evidence()

    @property
    def again(self) -> list[int]:
        """The rows that were done after it had ended."""
        return sorted(row for row in self.after.tagged[len(self.before.tagged) :] if row)

    def report(self, when: audit.Evidence) -> bytes:
        """The last manifest.json of then."""
        return [put.body for put in when.puts if put.key == f"{when.folder}manifest.json"][-1]


@pytest.fixture(scope="module")
def cleared(airflow: Airflow, record: Record) -> dict[Callable[[Job], None], Cleared]:
    """A job for each way of clearing, all at once to save time."""
    jobs = {
        clear: Job(airflow, record, f"lake-{clear.__name__.replace('_', '-')}", ROWS, dag=CLEARED)
        for clear in CLEARINGS
    }
    for job in jobs.values():
        job.wait()
    found: dict[Callable[[Job], None], Cleared] = {clear: Cleared(job) for clear, job in jobs.items()}
    for clear, one in found.items():
        clear(one.job)
    for one in found.values():
        one.wait()
    return found


def test_report_run_again_alone_is_the_same_to_the_byte(cleared: dict[Callable[[Job], None], Cleared]) -> None:
    one = cleared[clear_report]

    assert one.report(one.after) == one.report(one.before)
    assert one.again == []
    assert audit.findings(one.after) == []


@pytest.mark.parametrize("clear", [clear_one, clear_one_and_downstream])
def test_cleared_partition_does_its_failures_once_more_and_nothing_else(
    cleared: dict[Callable[[Job], None], Cleared], clear: Callable[[Job], None]
) -> None:
    one = cleared[clear]

    assert one.again == [row for row in range(1, PARTITION + 1) if one.job.lake.is_missing(row)]
    assert audit.findings(one.after) == []


def seconds_until_still(record: Record) -> float:
    """Wait until nothing is done any more; return how long from now something was."""
    began = last = time.monotonic()
    count = record.count()
    while time.monotonic() < last + STILL:
        time.sleep(0.1)
        if (now := record.count()) != count:
            count, last = now, time.monotonic()
    return last - began


def test_manifest_changed_under_a_running_job_fails_it_within_seconds(airflow: Airflow, record: Record) -> None:
    job = Job(airflow, record, "lake-changed", 160_000, dag=WATCHED)
    airflow.wait("the first objects", lambda: any(record.tagged("lake-changed")), PATIENCE)

    record.put("jobs", "lake-changed.csv", job.lake.manifest() + b"lake-changed,one-more-1\n")
    noticed_within, noticed = seconds_until_still(record), record.count()
    job.wait("failed")

    assert noticed_within < NOTICED_WITHIN
    assert len([row for row in record.tagged("lake-changed") if row]) < job.lake.rows
    assert record.count() == noticed
