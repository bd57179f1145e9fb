"""Airflow's signals against a run."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_s3batch.stoppable import StoppableRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Timeout(BaseException):
    """As Airflow's AirflowTaskTimeout is."""


@contextmanager
def on_signal(number: signal.Signals, do: Callable[[], None]) -> Iterator[None]:
    """Send this process a signal soon, and handle it as given."""
    before = signal.signal(number, lambda *_: do())
    timer = threading.Timer(0.2, os.kill, (os.getpid(), number))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        signal.signal(number, before)


def test_result_and_error_come_through() -> None:
    async def answer(_: asyncio.Event) -> int:
        return 42

    async def fail(_: asyncio.Event) -> None:
        raise LookupError("lost")

    assert StoppableRun(answer).result() == 42
    with pytest.raises(LookupError, match="lost"):
        StoppableRun(fail).result()


def test_kill_signal_lets_the_run_save_what_it_has() -> None:
    saved = []

    async def work(stop: asyncio.Event) -> str:
        await stop.wait()
        saved.append("checkpoint")
        return "stopped"

    run = StoppableRun(work)
    with on_signal(signal.SIGTERM, run.stop):
        assert run.result() == "stopped"
    assert saved == ["checkpoint"]


def test_run_that_was_stopped_before_it_began_stops_at_once() -> None:
    async def work(stop: asyncio.Event) -> bool:
        return stop.is_set()

    run = StoppableRun(work)
    run.stop()

    assert run.result()


def test_stop_after_the_end_does_nothing() -> None:
    async def work(_: asyncio.Event) -> None:
        """End at once."""

    run = StoppableRun(work)
    run.result()
    run.stop()


def test_timeout_is_raised_after_the_run_has_saved_what_it_has() -> None:
    saved = []

    async def busy(stop: asyncio.Event) -> None:
        while not stop.is_set():  # noqa: ASYNC110 - busy is what it is
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        saved.append("checkpoint")

    def time_out() -> None:
        raise Timeout

    with on_signal(signal.SIGALRM, time_out), pytest.raises(Timeout):
        StoppableRun(busy).result()
    assert saved == ["checkpoint"]


def test_run_that_does_not_end_in_time_is_left_behind() -> None:
    release = threading.Event()

    async def deaf(_: asyncio.Event) -> None:
        await asyncio.to_thread(release.wait)

    def time_out() -> None:
        raise Timeout

    began = time.monotonic()
    with on_signal(signal.SIGALRM, time_out), pytest.raises(Timeout):
        StoppableRun(deaf, grace=0.2).result()
    assert time.monotonic() - began < 5
    release.set()


def test_context_of_the_caller_is_the_runs() -> None:
    import contextvars

    task: contextvars.ContextVar[Any] = contextvars.ContextVar("task")
    task.set("mine")

    async def look(_: asyncio.Event) -> Any:
        return task.get()

    assert StoppableRun(look).result() == "mine"
