"""`each`: the same asked for many things, some at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

__all__ = ["each"]

T = TypeVar("T")
A = TypeVar("A")

_AT_ONCE = 32
"""Calls at once where many small objects are read."""


async def each(do: Callable[[A], Awaitable[T]], arguments: Iterable[A], *, at_once: int = _AT_ONCE) -> list[T]:
    """The results for all arguments, in their order. What one of them raises is raised, once the others have ended."""
    free = asyncio.Semaphore(at_once)

    async def one(argument: A) -> T:
        async with free:
            return await do(argument)

    tasks = [asyncio.create_task(one(argument)) for argument in arguments]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
