"""The event loop the engine runs on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["run"]

T = TypeVar("T")

_COLLECT_AFTER = 20_000
"""Objects made and not yet gone that set off a collection of the young ones; Python's own is 700."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a new event loop and return its result.

    The loop is uvloop's where it is installed (not on Windows): TLS costs 40 % less CPU a request there
    (``benchmarks/transport.py``).
    """
    # Millions of small tuples set off many garbage collections. What is there already (all of Airflow) is left out of
    # them, and they come less often: together a tenth of what an object costs.
    often = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *often[1:])
    try:
        return _run(main)
    finally:
        gc.set_threshold(*often)
        gc.unfreeze()


def _run(main: Coroutine[Any, Any, T]) -> T:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            _cancel_all(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
