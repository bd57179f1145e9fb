"""The machine: its cores, who runs on which, and how it is described."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

__all__ = ["CLIENT_CORE", "SERVER_CORE", "described", "on_core", "versions"]

_CORES = sorted(os.sched_getaffinity(0))
_PACKAGES = ("boto3", "uvloop", "httptools", "apache-airflow", "apache-airflow-providers-amazon")
CLIENT_CORE = _CORES[0]
SERVER_CORE = _CORES[-1]
"""The same as the client's where there is only one."""


def on_core(core: int, command: list[str]) -> list[str]:
    """The command, bound to a core where ``taskset`` is there to do it."""
    return ["taskset", "-c", str(core), *command] if shutil.which("taskset") else command


def described() -> str:
    """One line about processor, cores, memory, kernel and Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {len(_CORES)} core{'s' if len(_CORES) > 1 else ''}, {memory:.0f} GB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """What the measured packages of this Python and the programs at hand call their versions."""
    found = {name: version(name) for name in _PACKAGES}
    for program, option in (("nginx", "-v"), ("wrk", "-v"), ("rclone", "version")):
        if shutil.which(program):
            told = subprocess.run([program, option], capture_output=True, text=True, check=False)
            found[program] = next(iter(re.findall(r"\d+\.[\d.]+", told.stdout + told.stderr)), "")
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
