"""`Sample`: one measured run of one program; and how to get it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import CLIENT_CORE, on_core
from benchmarks.tools import ROOT

__all__ = ["Case", "Finished", "Sample", "Spread", "finish", "interleaved", "run_client"]

_KIB_A_MB = 1024
_LOOK = 0.02
"""Seconds between two looks at a child's memory."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one run took."""

    suite: str
    name: str
    setting: str
    objects: int
    cpu: float
    """Seconds of the client's process and its children, user and system."""
    wall: float
    rss_mb: float
    """At its peak."""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def cpu_us(self) -> float:
        """CPU an object, in microseconds."""
        return self.cpu / self.objects * 1e6

    @property
    def rate(self) -> float:
        """Objects a second."""
        return self.objects / self.wall


class Case(NamedTuple):
    """Something to measure, in every round."""

    suite: str
    name: str
    setting: str
    run: Callable[[], dict[str, Any]]
    """Returns objects, cpu, wall and rss_mb, and whatever else there is to tell."""

    def measure(self) -> Sample:
        """Run it once."""
        told = self.run()
        known = {name: told.pop(name) for name in ("objects", "cpu", "wall", "rss_mb")}
        return Sample(suite=self.suite, name=self.name, setting=self.setting, **known, more=told)


class Spread(NamedTuple):
    """How a number varied from round to round."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of these."""
        ordered = sorted(values)
        return cls(ordered[0], statistics.median(ordered), ordered[-1])


class Finished(NamedTuple):
    """A program that has ended well."""

    output: str
    cpu: float
    wall: float
    rss_mb: float


def interleaved(cases: Sequence[Case], rounds: int) -> Iterator[Sample]:
    """Measure every case once a round, so that a slow minute of the machine hits all of them."""
    for _ in range(rounds):
        for case in cases:
            yield case.measure()


def run_client(
    name: str, settings: dict[str, Any], *, python: str = sys.executable, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run a program of `clients/` on the client's core; return what it reports."""
    command = [python, "-m", f"benchmarks.clients.{name}", json.dumps(settings)]
    told: dict[str, Any] = json.loads(finish(command, environment=environment).output.strip().splitlines()[-1])
    return told


def finish(command: list[str], *, environment: dict[str, str] | None = None) -> Finished:
    """Run a program on the client's core to its end.

    Raises:
        RuntimeError: it failed; holds the end of what it printed.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed:
        child = subprocess.Popen(
            on_core(CLIENT_CORE, command),
            cwd=ROOT,
            env={**_neutral(), **(environment or {})},
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
        peak, ended = 0.0, 0
        while not ended:
            peak = max(peak, _peak_mb(child.pid))
            time.sleep(_LOOK)
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        output = printed.read()
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {child.returncode}:\n{output[-3000:]}")
    return Finished(output, usage.ru_utime + usage.ru_stime, wall, peak)


def _neutral() -> dict[str, str]:
    """The environment without what would send an AWS client elsewhere, or as someone else."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _peak_mb(pid: int) -> float:
    try:
        with Path(f"/proc/{pid}/status").open() as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0) / _KIB_A_MB
    except OSError:  # it has just ended
        return 0.0
