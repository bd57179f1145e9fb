"""Suite *listing*: a bucket listed by `ListObjects`, and by boto3's paginator, on a server that answers after 30 ms."""

from __future__ import annotations

from typing import Any

from benchmarks.listed_s3 import LAYOUTS, listed_s3
from benchmarks.sample import Case, run_client

__all__ = ["KEYS", "cases"]

KEYS = 200_000
LATENCY = 0.03
"""Seconds."""


def cases() -> list[Case]:
    """All of the suite."""
    return [_case(client, layout) for layout in LAYOUTS for client in ("list_objects", "paginator")]


def _case(client: str, layout: str) -> Case:
    def run() -> dict[str, Any]:
        with listed_s3(layout, KEYS, latency=LATENCY) as url:
            return run_client(client, {"url": url, "objects": KEYS})

    name = {"list_objects": "ListObjects", "paginator": "boto3 paginator"}[client]
    return Case("listing", name, f"{layout}, 30 ms", run)
