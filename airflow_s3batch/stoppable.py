"""`StoppableRun`: a coroutine that runs beside the thread that waits for it, and can be told to come to an end.

Airflow reaches a running task by signals, on its main thread: SIGTERM calls ``on_kill`` inside the handler, and an
``execution_timeout`` raises AirflowTaskTimeout out of whatever that thread is at. Inside an event loop's callback the
exception would be lost (asyncio logs what a callback raises, and goes on) or end some request instead. So the main
thread only waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["StoppableRun"]

T = TypeVar("T")

_GRACE = 60.0
"""Seconds for what is in flight to end and be saved, once the waiting thread has been interrupted."""


class StoppableRun(Generic[T]):
    """A coroutine function that is given an event: once it is set, it should save what it has and return or raise.

    Args:
        main: the coroutine function.
        grace: seconds it has for that, when the waiting thread has been interrupted by an exception.
    """

    def __init__(self, main: Callable[[asyncio.Event], Coroutine[Any, Any, T]], *, grace: float = _GRACE) -> None:
        self._main = main
        self._grace = grace
        self._stopped = False
        self._set: Callable[[], None] = _nothing

    def stop(self) -> None:
        """Ask it to stop, from any thread or signal handler, before or while it runs; returns at once."""
        self._stopped = True
        self._set()

    def result(self) -> T:
        """Run it in a thread of its own and return or raise what it does.

        An exception that interrupts the waiting (a timeout's, Ctrl-C) stops the run, and is raised once that has ended.
        """
        future: Future[T] = Future()
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work, future), name="s3batch", daemon=True).start()
        try:
            wait([future])
        except BaseException:
            self.stop()
            wait([future], self._grace)
            raise
        return future.result()

    def _work(self, future: Future[T]) -> None:
        from airflow_s3batch.core.engine import run

        try:
            future.set_result(run(self._run()))
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            future.set_exception(error)

    async def _run(self) -> T:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def set_from_anywhere() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(stop.set)

        self._set = set_from_anywhere
        if self._stopped:
            stop.set()
        return await self._main(stop)


def _nothing() -> None:
    """Before the loop runs there is nothing to wake."""
