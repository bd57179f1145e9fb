"""A real Airflow with everything that an example DAG needs, once for all tests that a process runs here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.audit import client
from demo.lake import Lake
from demo.stage import Stage, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "dags"

LATENCY = 0.02
"""Seconds an answer takes; a partition of the slow job, over 600 objects one after the other, so takes over 12."""

_SETTINGS = {
    # No file changes: parsed once, they take nothing from what runs.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    # Whom nobody answers, learns of it at once; by default within 15 s.
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
}


@pytest.fixture(scope="session")
def lake() -> Lake:
    return Lake(2_500)


@pytest.fixture(scope="session")
def running(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    shutil.copytree(EXAMPLES, dags)
    shutil.copytree(HERE / "dags", dags, dirs_exist_ok=True)
    with stage(home, lake=lake, dags=dags, latency=LATENCY, settings=_SETTINGS) as both:
        yield both


@pytest.fixture(scope="session")
def s3(running: Stage) -> Any:
    return client(running.s3_url)
