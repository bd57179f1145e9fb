"""Waiting with a limit of time. Up to Python 3.11, `asyncio.wait_for` may swallow a cancellation; these don't."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["happens", "in_time"]


async def happens(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, so many seconds at most; return whether it is."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=seconds)
    finally:
        waiting.cancel()
    return event.is_set()


async def in_time(work: Coroutine[Any, Any, None], seconds: float) -> None:
    """Do some work in so many seconds.

    Raises:
        asyncio.TimeoutError: it takes longer, and was cancelled.
    """
    working = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({working}, timeout=seconds)
    finally:
        working.cancel()
    if not done:
        await asyncio.gather(working, return_exceptions=True)
        raise asyncio.TimeoutError
    await working
