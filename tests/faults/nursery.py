"""Processes that run a partition and may be killed: forked from one that has all imports behind it, to be cheap.

``python -m tests.faults.nursery URL`` reads lines of JSON (`Run`), forks a process for each, and prints
``<pid> started`` and, once it has ended, ``<pid> <exit code>``, negative if a signal ended it. In between the process
prints ``<pid> working`` whenever outcomes have come.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from airflow_s3batch.core.engine import S3, Credentials, S3Access, run
from airflow_s3batch.core.errors import JobConflict
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.run import run_partition

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["Nursery", "Run", "access", "nursery"]

log = logging.getLogger(__name__)


class Run(NamedTuple):
    """One run of a partition."""

    report: str
    """Where the job's folder is."""
    job_id: str
    partition: int
    checkpoint_rows: int
    checkpoint_seconds: float
    beat: float


def access(url: str) -> S3Access:
    """The recording server, as S3."""
    return S3Access(credentials=lambda: Credentials("AKIDEXAMPLE", "secret"), endpoint_url=url, addressing_style="path")


class Child:
    """A run's process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Its exit code."""
        self.working = asyncio.Event()
        """Set once it has done objects."""

    async def killed_after(self, seconds: float, *, at_work: bool) -> bool:
        """Give it so long from now, or from when it has done objects; False if it ended before that."""
        if at_work:
            working = asyncio.ensure_future(self.working.wait())
            either: set[asyncio.Future[Any]] = {working, self.ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.ended), seconds)
        if self.ended.done():
            return False
        os.kill(self._pid, signal.SIGKILL)
        return await self.ended == -signal.SIGKILL

    def freeze(self) -> None:
        """Let it stand still, as a virtual machine does that is moved."""
        os.kill(self._pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on where it stood."""
        os.kill(self._pid, signal.SIGCONT)


class Nursery:
    """The process that forks."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked: list[asyncio.Future[Child]] = []
        self._children: dict[int, Child] = {}

    async def start(self, run: Run) -> Child:
        """Start a run."""
        if self._process.stdin is None:
            raise RuntimeError("the nursery has no standard input")
        started: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._asked.append(started)
        self._process.stdin.write(json.dumps(run).encode() + b"\n")
        return await started

    async def listen(self) -> None:
        """Take in what the process prints."""
        while self._process.stdout and (line := await self._process.stdout.readline()):
            pid, what = line.decode().split()
            if what == "started":
                child = self._children[int(pid)] = Child(int(pid))
                self._asked.pop(0).set_result(child)
            elif what == "working":
                self._children[int(pid)].working.set()
            else:
                self._children[int(pid)].ended.set_result(int(what))


@asynccontextmanager
async def nursery(url: str, log: IO[str]) -> AsyncGenerator[Nursery, None]:
    """A nursery for runs against the server at `url`, whose logs go to `log`."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.nursery", url), stdin=pipe, stdout=pipe, stderr=log
    )
    found = Nursery(process)
    listening = asyncio.create_task(found.listen())
    try:
        yield found
    finally:
        if process.stdin:
            process.stdin.close()
        await listening
        await process.wait()


async def _work(url: str, asked: Run) -> None:
    async with S3(access(url)) as s3:
        job = await JobFolder(s3, S3Location.parse(asked.report), asked.job_id).read_job()
    if job is None:
        raise JobConflict(f"{asked.job_id} isn't there")
    async with S3(access(url), job.spec.limits) as s3:
        await run_partition(
            job,
            asked.partition,
            s3,
            checkpoint_rows=asked.checkpoint_rows,
            checkpoint_seconds=asked.checkpoint_seconds,
            beat=asked.beat,
            on_progress=lambda _: _say(f"{os.getpid()} working"),
        )


def _say(line: str) -> None:
    """Print a line at once: nothing that buffers may be used by several processes, or in a signal handler."""
    os.write(1, f"{line}\n".encode())


def _fork(url: str, asked: Run) -> int:
    """The pid of a new process that runs a partition."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        run(_work(url, asked))
        code = 0
    except BaseException:
        log.exception("%s", asked)
    finally:
        os._exit(code)


def _reap(*_: object) -> None:
    """Say which children have ended."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            _say(f"{ended[0]} {os.waitstatus_to_exitcode(ended[1])}")


def main() -> None:
    """Fork until standard input ends."""
    logging.basicConfig(level=logging.INFO, format="%(process)d %(relativeCreated)d %(message)s")
    signal.signal(signal.SIGCHLD, _reap)
    for line in sys.stdin:
        # A child that ends at once must not be told of before it is.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = _fork(sys.argv[1], Run(*json.loads(line)))
        _say(f"{pid} started")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


if __name__ == "__main__":
    main()
