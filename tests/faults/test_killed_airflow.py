"""Jobs on a real Airflow whose processes are killed again and again, against an S3 that remembers all it served."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.faults import audit
from tests.faults.assassin import Assassin
from tests.faults.jobs import CHECKPOINT_ROWS, IN_FLIGHT, KILLED, PATIENCE, Job

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from tests.faults.campaign import Campaign
    from tests.faults.recording_s3 import Record

pytestmark = pytest.mark.faults

ROWS = 160_000
LIVES = (8.0, 28.0)
"""Seconds from kill to kill where one task runs; of several, each lives so long."""


class Massacre:
    """Kills in a random order, and one job after the other for as long as they last."""

    def __init__(self, airflow: Airflow, record: Record, chance: random.Random) -> None:
        self._airflow = airflow
        self._record = record
        self._chance = chance
        self._assassin = Assassin(airflow, chance)
        self.kills: Counter[str] = Counter()
        self.jobs: list[Job] = []
        self.evidence: list[audit.Evidence] = []
        """Of the jobs, taken when each had ended."""

    def carry_out(self, kills: int) -> None:
        """Kill so many processes, and let the last job come to its end."""
        others = {"worker": kills // 8, "scheduler": max(2, kills // 16), "everything": 1, "database": 1}
        plan = [kind for kind, times in others.items() for _ in range(times)]
        plan += ["task"] * (kills - len(plan))
        self._chance.shuffle(plan)
        for kind in plan:
            self._kill(kind)
        self.jobs[-1].wait()
        self.evidence.append(self.jobs[-1].evidence())

    def _kill(self, kind: str) -> None:
        """Kill what is asked for as soon as there is one, while a job runs."""
        give_up = time.monotonic() + PATIENCE
        while not self._killed(kind):
            assert time.monotonic() < give_up, f"no {kind} to kill"
        self.kills[kind] += 1

    def _killed(self, kind: str) -> bool:
        self._see_to_a_job()
        tasks = self._airflow.wait("a task to run", self._assassin.tasks, PATIENCE)
        time.sleep(self._chance.uniform(*LIVES) / len(tasks))
        if kind == "task":
            return self._assassin.kill_task()
        if kind == "worker":
            return self._assassin.kill_worker()
        if kind == "scheduler":
            self._assassin.kill_scheduler()
            return True
        self._assassin.kill_everything()
        if kind == "database":
            self._airflow.lose_database()
        self._airflow.start()
        if kind == "database":
            self._airflow.unpause(KILLED)
            self.jobs[-1].trigger()
        return True

    def _see_to_a_job(self) -> None:
        if self.jobs:
            state = self.jobs[-1].state()
            assert state != "failed"
            if state != "success":
                return
            self.evidence.append(self.jobs[-1].evidence())
        self.jobs.append(Job(self._airflow, self._record, f"lake-{len(self.jobs) + 1}", ROWS))


def test_job_killed_at_any_moment_ends_with_one_row_an_object_and_repeats_no_more_than_promised(
    airflow: Airflow, record: Record, campaign: Campaign
) -> None:
    massacre = Massacre(airflow, record, random.Random(campaign.seed))

    massacre.carry_out(campaign.airflow_kills)

    bound = CHECKPOINT_ROWS + IN_FLIGHT
    campaign.tell("a real Airflow", kills=massacre.kills, evidence=massacre.evidence, bound=bound)
    assert [found for evidence in massacre.evidence for found in audit.findings(evidence)] == []
    assert max(attempt.lost for evidence in massacre.evidence for attempt in evidence.attempts()) <= bound
    assert massacre.kills.total() == campaign.airflow_kills
    assert campaign.results[-1].died_at_work >= campaign.airflow_kills / 5
