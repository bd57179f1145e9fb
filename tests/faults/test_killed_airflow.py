"""Jobs on a real Airflow whose processes are killed again and again, against an S3 that remembers all it served."""

from __future__ import annotations

import random
import time
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.faults import audit
from tests.faults.assassin import Assassin
from tests.faults.jobs import CHECKPOINT_ROWS, DAGS, IN_FLIGHT, PATIENCE, Job

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from tests.faults.campaign import Campaign
    from tests.faults.recording_s3 import Record

pytestmark = pytest.mark.faults

ROWS, AT_ONCE = 160_000, 2
"""A job's, in four partitions; and jobs that run at once: while one begins or ends, the other is there to be killed."""
LATENCY = 0.06
"""Seconds an answer takes. So a partition does about 1,000 objects a second, however fast the machine is."""
WORK = 12_000
"""Objects that are done from one kill to the next, at most: some of the killed have written checkpoints, others not."""
SOON = 6.0
"""Seconds within which the other kills follow, at whatever the tasks are: their starts, their waiting for a lease."""
AT_WORK = 0.7
"""The share of the kills that wait for work."""
IDLE = 60.0
"""Seconds without that much work, after which the kill comes anyway."""
RETRIES_KILLED = version("apache-airflow") >= "3.3"
"""Whether a task whose process was killed is retried. Airflow 3.1 has it fail, and a person has to clear it."""
SECONDS_A_KILL, SECONDS_AT_LEAST = 12.0, 300.0
"""What the kills may take, and what there is on top. Two quiet cores need a third of it."""


class Massacre:
    """Kills in a random order, while jobs run, one after the other, for as long as the kills last."""

    def __init__(self, airflow: Airflow, record: Record, chance: random.Random) -> None:
        self._airflow = airflow
        self._record = record
        self._chance = chance
        self._assassin = Assassin(airflow, chance)
        self._began = time.monotonic()
        self._running: list[Job] = []
        self._jobs = 0
        self.kills: Counter[str] = Counter()
        self.evidence: list[audit.Evidence] = []
        """Of the jobs, taken when each had ended."""

    def carry_out(self, kills: int) -> None:
        """Kill so many processes, and let the last jobs come to their ends."""
        give_up = self._began + SECONDS_AT_LEAST + kills * SECONDS_A_KILL
        for kind in self._plan(kills):
            while not self._killed(kind):
                assert time.monotonic() < give_up, f"no {kind} to kill: {self._state()}"
            self.kills[kind] += 1
            self._tell(f"killed: {kind}")
            assert time.monotonic() < give_up, f"the kills take too long: {self._state()}"
        for job in self._running:
            while job.ended() == "failed":
                self._go_on(job)
            self.evidence.append(job.evidence())
        self._tell("all jobs have ended")

    def _plan(self, kills: int) -> list[str]:
        others = {"worker": kills // 8, "scheduler": max(2, kills // 16), "everything": 1, "database": 1}
        plan = [kind for kind, times in others.items() for _ in range(times)]
        plan += ["task"] * (kills - len(plan))
        self._chance.shuffle(plan)
        return plan

    def _killed(self, kind: str) -> bool:
        """Kill what is asked for while a task runs; False if there was none."""
        self._see_to_jobs()
        self._airflow.wait("a task to run", self._assassin.tasks, PATIENCE)
        self._let_work()
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
            for dag in DAGS:
                self._airflow.unpause(dag)
            for job in self._running:
                job.trigger()
        return True

    def _let_work(self) -> None:
        """Wait for a random moment: by the objects that are done until then, or by the clock."""
        if self._chance.random() >= AT_WORK:
            time.sleep(self._chance.uniform(0.0, SOON))
            return
        enough = self._record.count() + self._chance.randrange(WORK)
        until = time.monotonic() + IDLE
        while self._record.count() < enough and time.monotonic() < until:
            time.sleep(0.05)

    def _see_to_jobs(self) -> None:
        """Take the evidence of jobs that have ended, and begin others instead."""
        states = [(job, job.state()) for job in self._running]
        for job, state in states:
            if state == "failed":
                self._go_on(job)
        self.evidence += [job.evidence() for job, state in states if state == "success"]
        self._running = [job for job, state in states if state != "success"]
        while len(self._running) < AT_ONCE:
            self._jobs += 1
            self._running.append(Job(self._airflow, self._record, f"lake-{self._jobs}", ROWS))

    def _go_on(self, job: Job) -> None:
        assert not RETRIES_KILLED, f"the run on {job.lake.bucket} has failed, in spite of its retries"
        job.clear_failed()

    def _tell(self, what: str) -> None:
        since, done = time.monotonic() - self._began, self._record.count()
        print(f"{since:6.1f} s, {done:9,} objects: {what}")  # noqa: T201 - shown if it fails

    def _state(self) -> str:
        """What there is: processes, tasks by their state, and objects done."""
        told = [f"{len(self._assassin.tasks())} tasks alive"]
        for job in self._running:
            states = Counter(f"{task['task_id']} {task['state']}" for task in job.tasks())
            told.append(f"{job.lake.bucket}: {sum(map(bool, self._record.tagged(job.lake.bucket))):,}, {dict(states)}")
        return "; ".join(told)


def test_job_killed_at_any_moment_ends_with_one_row_an_object_and_repeats_no_more_than_promised(
    airflow: Airflow, record: Record, campaign: Campaign
) -> None:
    record.set_latency(LATENCY)
    campaign.begin()
    massacre = Massacre(airflow, record, random.Random(campaign.seed))

    massacre.carry_out(campaign.airflow_kills)

    bound = CHECKPOINT_ROWS + IN_FLIGHT
    campaign.tell("a real Airflow", kills=massacre.kills, evidence=massacre.evidence, bound=bound)
    assert [found for evidence in massacre.evidence for found in audit.findings(evidence)] == []
    assert campaign.results[-1].most_lost <= bound
    assert massacre.kills.total() == campaign.airflow_kills
    assert campaign.results[-1].died_at_work >= campaign.airflow_kills * 0.4
