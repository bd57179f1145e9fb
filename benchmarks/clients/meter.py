"""What every measured program shares: settings in, CPU time and memory out. Only the standard library."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["Meter", "settings"]

_KIB_A_MB = 1024


def settings() -> dict[str, Any]:
    """The settings this program was started with."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    return told


class Meter:
    """Measures from when it is built: after the imports, before the client is."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def lap(self) -> tuple[float, float]:
        """Seconds of CPU and of time until now; begins to measure anew."""
        cpu, wall = time.process_time(), time.perf_counter()
        passed = cpu - self._cpu, wall - self._wall
        self._cpu, self._wall = cpu, wall
        return passed

    def report(self, objects: int, *, took: tuple[float, float] | None = None, **more: Any) -> None:
        """Print what was measured.

        Args:
            objects: how many were done.
            took: CPU and time, if it isn't what has passed since the last lap.
            more: what else this program has to tell.
        """
        cpu, wall = took or self.lap()
        print(json.dumps({"objects": objects, "cpu": cpu, "wall": wall, "rss_mb": _peak_mb(), **more}), flush=True)


def _peak_mb() -> float:
    # Not ru_maxrss: that of a new process begins with the peak of the process that started it.
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / _KIB_A_MB
