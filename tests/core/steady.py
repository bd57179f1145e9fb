"""`SteadyEngine`: does so many objects a second, in simulated time, and tells when it did which."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.operations import Operation
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.scripted import ScriptedEngine

__all__ = ["SteadyEngine", "seconds"]


def seconds() -> float:
    """Simulated seconds since the test began."""
    return asyncio.get_running_loop().time()


class SteadyEngine(ScriptedEngine):
    """Does `rate` objects a second in every run, or as many as the run's allowance says."""

    def __init__(self, *args: Any, rate: int = 100, **options: Any) -> None:
        super().__init__(*args, **options)
        self.rate = rate
        self.done_at: list[float] = []
        """When each request was made."""

    async def run(
        self,
        entries: AsyncIterator[list[Entry]],
        operation: Operation,
        *,
        stop: asyncio.Event | None = None,
        allowance: Allowance | None = None,
    ) -> AsyncGenerator[list[Outcome], None]:
        assert stop is not None
        self.operations.append(operation)
        self.allowances.append(allowance)
        async for some in entries:
            waiting = some
            while waiting:
                most = self.rate if allowance is None else int(min(self.rate, allowance.requests_per_second or 1e9))
                now, waiting = waiting[:most], waiting[most:]
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), len(now) / most)
                if stop.is_set():
                    return
                self.done_at += [seconds()] * len(now)
                yield [self._do(entry) for entry in now]
