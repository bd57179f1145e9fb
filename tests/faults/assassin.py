"""`Assassin`: ends a real Airflow's processes by SIGKILL, and starts again what an operator's supervisor would."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import random

    from demo.airflow import Airflow

__all__ = ["Assassin"]

_TASK = re.compile(r"airflow worker -- [0-9a-f-]{36}")
"""What Airflow 3.1 to 3.3 call a process once a task runs in it."""
_CANDIDATES = 3
"""The oldest of so many is killed: the first seconds of a process are all start-up and waiting."""


class Assassin:
    """Kills what it is told to, a random one of those that there are, older ones rather than young ones.

    Args:
        airflow: whose processes.
        chance: chooses.
    """

    def __init__(self, airflow: Airflow, chance: random.Random) -> None:
        self._airflow = airflow
        self._chance = chance

    def tasks(self) -> list[psutil.Process]:
        """The processes in which a task runs."""
        return [process for process in self._airflow.processes.members() if _TASK.fullmatch(_title(process))]

    def kill_task(self) -> bool:
        """Kill the process in which a task runs, as the kernel does when memory is out; False if there is none."""
        return self._kill_one(self.tasks())

    def kill_worker(self) -> bool:
        """Kill a process of the executor that has a task. The task's own process lives on, and nobody hears of it.

        Not one that waits for work, which holds the lock of the LocalExecutor's queue, nor one whose task hasn't begun,
        which the LocalExecutor would leave queued: both would have to wait for another scheduler.
        """
        return self._kill_one(self._workers())

    def terminate_workers(self) -> int:
        """Tell all processes of the executor that have a task to end, by SIGTERM; how many there are."""
        workers = self._workers()
        for worker in workers:
            worker.terminate()
        return len(workers)

    def kill_scheduler(self) -> None:
        """Kill the scheduler; its executor and the tasks live on. Start another."""
        self._airflow.processes.kill("scheduler")
        self._airflow.start("scheduler")

    def kill_everything(self) -> int:
        """Kill all of Airflow at once; how many processes that were."""
        processes = len(self._airflow.processes.members())
        self._airflow.processes.kill_all()
        return processes

    def _workers(self) -> list[psutil.Process]:
        """The executor's processes that have a task."""
        members = {process.pid: process for process in self._airflow.processes.members()}
        parents = (members.get(_parent(task)) for task in self.tasks())
        return [worker for worker in parents if worker is not None]

    def _kill_one(self, found: list[psutil.Process]) -> bool:
        if not found:
            return False
        some = self._chance.sample(found, min(_CANDIDATES, len(found)))
        try:
            min(some, key=psutil.Process.create_time).kill()
        except psutil.NoSuchProcess:
            return False
        return True


def _parent(process: psutil.Process) -> int:
    """The pid of the process that started it, 1 if that has ended."""
    try:
        return int(process.ppid())
    except psutil.Error:
        return 1


def _title(process: psutil.Process) -> str:
    """What the process calls itself, empty if it has ended."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""
