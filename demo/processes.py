"""`Processes`: the programs that a demo runs, each with its log file, none of which outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from typing_extensions import Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["DemoFailed", "Processes"]

_PATIENCE = 10.0
"""Seconds for processes to end by themselves."""


class DemoFailed(Exception):
    """Something the demo can't go on without; the message is for the person at the terminal."""


class Processes:
    """Programs started together and ended together, as a context manager.

    Args:
        logs: the folder for their output, ``<name>.log`` each.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._sessions: set[int] = set()

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a program, out of reach of the terminal's Ctrl-C: that is the demo's, which then ends all of them."""
        with self._log(name).open("a") as log:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._running[name] = process
        self._sessions.add(process.pid)

    def kill(self, name: str) -> None:
        """End a program, and nothing that it started, by SIGKILL; from now on it isn't missed."""
        process = self._running.pop(name)
        process.kill()
        process.communicate()

    def stop(self, name: str, seconds: float, enough: Callable[[], bool]) -> None:
        """End a program and all that it started by SIGTERM, as a service manager does; from now on it isn't missed.

        What is left after so many seconds is killed if `enough` has ended: Airflow's LocalExecutor waits for ever for
        the lock of its queue, if an idle worker has taken that with it.

        Raises:
            DemoFailed: not enough has ended.
        """
        process = self._running.pop(name)
        for member in self._of(process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.terminate()
        give_up = time.monotonic() + seconds
        while (left := self._of(process.pid)) and time.monotonic() < give_up:
            time.sleep(0.1)
        if left and not enough():
            raise DemoFailed(f"{name} hasn't ended {seconds:.0f} s after SIGTERM; see {self._log(name)}")
        for member in left:
            _kill(member)
        process.communicate()

    def _of(self, session: int) -> list[psutil.Process]:
        return [member for member in self.members() if _session(member.pid) == session]

    def kill_all(self) -> None:
        """End all programs and everything they started by SIGKILL, as a loss of power would."""
        for member in self.members():
            _kill(member)
        for name in list(self._running):
            self.kill(name)

    def members(self) -> list[psutil.Process]:
        """The programs and all that they started and that hasn't left their sessions, orphans included."""
        return [process for process in psutil.process_iter(["status"]) if self._has(process)]

    def _has(self, process: psutil.Process) -> bool:
        return _session(process.pid) in self._sessions and process.info["status"] != psutil.STATUS_ZOMBIE

    def first_line(self, name: str, seconds: float) -> str:
        """The first line that a program wrote, once it has.

        Raises:
            DemoFailed: it ended, or took longer than that.
        """
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            line, newline, _ = self._log(name).read_text().partition("\n")
            if newline:
                return line
            self.check()
            time.sleep(0.05)
        raise DemoFailed(f"{name} said nothing for {seconds:.0f} s; see {self._log(name)}")

    def check(self) -> None:
        """Whether all are running.

        Raises:
            DemoFailed: one has ended; with the end of its log.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                last = "\n".join(self._log(name).read_text(errors="replace").splitlines()[-15:])
                raise DemoFailed(
                    f"{name} ended with exit code {process.returncode}; {self._log(name)} ends with\n{last}"
                )

    def end(self) -> None:
        """End all, and what they started: politely, and those that don't listen by force."""
        for process in self._running.values():
            if process.stdin:
                process.stdin.close()
            _signal(process, signal.SIGTERM)
        give_up = time.monotonic() + _PATIENCE
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, give_up - time.monotonic()))
        self.kill_all()

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send the signal to the process and to everything in its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _session(pid: int) -> int:
    """The session of a process, 0 if it has ended."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0
