"""What the engine's tests share: the loops it runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from airflow_s3batch.core import engine

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine to its end: on the engine's own loop, and on the one of systems without uvloop."""
    return engine.run if request.param == "uvloop" else asyncio.run
