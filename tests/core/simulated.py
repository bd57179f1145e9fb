"""Simulated time: an event loop whose clock jumps to the next thing that is due. Hours take milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import datetime, timezone
from typing import Any, TypeVar

__all__ = ["NOON", "in_simulated_time", "now"]

T = TypeVar("T")

NOON = 1_795_521_600.0
"""When simulated time begins: Unix seconds."""


class _Selector(selectors.SelectSelector):
    """Where others wait for the timeout, it moves the clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None:
            self.time += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: _Selector) -> None:
        self._simulated = clock
        super().__init__(clock)

    def time(self) -> float:
        return self._simulated.time

    def run_in_executor(  # type: ignore[override] # their arguments are typed one by one
        self,
        executor: Executor | None,  # noqa: ARG002
        func: Callable[..., T],
        *args: Any,
    ) -> asyncio.Future[T]:
        """Do at once what would go to a thread, which no clock of this loop waits for."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            future.set_exception(error)
        return future


def in_simulated_time(main: Coroutine[Any, Any, T]) -> T:
    """Run it to its end and return its result. Sockets are not waited for: there are to be none."""
    loop = _Loop(_Selector())
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def now() -> datetime:
    """The time: simulated inside `in_simulated_time`, else the clock's."""
    with contextlib.suppress(RuntimeError):  # no loop runs
        loop = asyncio.get_running_loop()
        if isinstance(loop, _Loop):
            return datetime.fromtimestamp(NOON + loop.time(), timezone.utc)
    return datetime.now(timezone.utc)
