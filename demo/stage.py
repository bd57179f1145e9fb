"""The stage of a demo: an embedded S3 with a lake in it, and an Airflow that has a connection to it."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from demo.airflow import Airflow
from demo.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from demo.lake import Lake

__all__ = ["Stage", "connection", "stage"]


class Stage(NamedTuple):
    """What runs."""

    s3_url: str
    airflow: Airflow


def connection(url: str) -> dict[str, Any]:
    """An Airflow connection to an S3 server, as JSON."""
    return {
        "conn_type": "aws",
        "login": "demo-access",
        "password": "demo-secret",
        "extra": {
            "endpoint_url": url,
            "region_name": "us-east-1",
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }


@contextmanager
def stage(
    home: Path,
    *,
    lake: Lake,
    dags: Path,
    latency: float = 0.0,
    settings: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Stage]:
    """Run both for the ``with`` block.

    Args:
        home: an empty folder.
        lake: what the S3 server holds.
        dags: the folder of DAG files.
        latency: seconds that each of the server's answers takes longer than it must.
        settings: more of Airflow's configuration, as environment variables.
        tell: told what has been reached.
    """
    with Processes(home / "logs" / "components") as processes:
        command = [sys.executable, "-m", "demo.s3", "--objects", str(lake.size), "--latency", str(latency)]
        processes.start("s3", command, os.environ)
        url = processes.first_line("s3", seconds=60)
        tell(f"an S3 server with {lake.size:,} objects: {url}")
        with Airflow(home, dags=dags, connections={"aws_default": connection(url)}, settings=settings) as airflow:
            tell(f"Airflow, with its scheduler and all: {airflow.url}")
            yield Stage(url, airflow)
