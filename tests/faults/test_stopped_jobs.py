"""Tasks of a real Airflow that are told to stop: by their ``execution_timeout``, and by a shutdown."""

from __future__ import annotations

import random
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.faults import audit
from tests.faults.assassin import Assassin
from tests.faults.jobs import CLEARED, PATIENCE, TIMED, Job

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from tests.faults.recording_s3 import Record

pytestmark = pytest.mark.faults

ROWS, PARTITIONS = 30_000, 2
LATENCY = 0.06
"""Seconds an answer takes. So a partition does 1,000 objects a second, and all of them take longer than twice the time
that a task of `TIMED` has."""
BEGUN = 3_000
"""Objects that are done before anything is stopped."""
SHUTDOWN = 60.0
"""Seconds for Airflow to end; its tasks have ended long before."""
PASSES_ON = version("apache-airflow") >= "3.3"
"""Whether a worker passes SIGTERM on to its task; up to 3.1 it dies, and the task goes on."""


def stopped(evidence: audit.Evidence) -> list[audit.Attempt]:
    """The attempts that had done objects and came to a stop before their end."""
    return [attempt for attempt in evidence.attempts() if attempt.served and not attempt.finished]


def begun(airflow: Airflow, record: Record, name: str) -> Job:
    """A job that is at work in all its partitions."""
    record.set_latency(LATENCY)
    job = Job(airflow, record, name, ROWS, dag=CLEARED)
    airflow.wait("objects to be done", lambda: sum(map(bool, record.tagged(name))) > BEGUN, PATIENCE)
    return job


def check_that_nothing_is_repeated(evidence: audit.Evidence) -> None:
    assert audit.findings(evidence) == []
    assert [attempt.lost for attempt in stopped(evidence)] == [0] * len(stopped(evidence))
    assert evidence.repeats == 0


def test_task_out_of_time_has_saved_every_outcome_and_its_retry_goes_on_there(airflow: Airflow, record: Record) -> None:
    record.set_latency(LATENCY)
    job = Job(airflow, record, "lake-timed", ROWS, dag=TIMED)

    job.wait()

    evidence = job.evidence()
    assert len(stopped(evidence)) >= 2
    check_that_nothing_is_repeated(evidence)
    assert "Process timed out" in "\n".join(job.log("tag.run", map_index=0))


def test_task_that_is_shut_down_with_the_scheduler_has_saved_every_outcome(airflow: Airflow, record: Record) -> None:
    job = begun(airflow, record, "lake-shut-down")
    folder, of_airflow = job.folder(), Assassin(airflow, random.Random(0))

    airflow.processes.stop("scheduler", SHUTDOWN, lambda: not of_airflow.tasks())

    assert of_airflow.tasks() == []
    evidence = audit.Evidence.take(record, job.lake, "jobs", folder)
    assert [attempt.lost for attempt in stopped(evidence)] == [0] * PARTITIONS
    airflow.start("scheduler")
    job.wait()
    check_that_nothing_is_repeated(job.evidence())


@pytest.mark.skipif(not PASSES_ON, reason="this Airflow's workers don't pass SIGTERM on to their tasks")
def test_task_whose_worker_is_told_to_end_has_saved_every_outcome(airflow: Airflow, record: Record) -> None:
    job = begun(airflow, record, "lake-evicted")

    assert Assassin(airflow, random.Random(0)).terminate_workers() == PARTITIONS

    job.wait()
    evidence = job.evidence()
    assert len(stopped(evidence)) == PARTITIONS
    check_that_nothing_is_repeated(evidence)
