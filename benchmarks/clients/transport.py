"""The engine's transport alone: one fixed request, sent over and over through `HttpTransport`."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

from airflow_s3batch.core.engine.compiled import Origin
from airflow_s3batch.core.engine.conversation import Answer, Conversation
from airflow_s3batch.core.engine.transport import HttpTransport
from benchmarks.clients.meter import Meter, settings


def _talk(wire: bytes, count: int) -> Conversation[Answer]:
    for _ in range(count - 1):
        yield wire
    return (yield wire)


async def _send(told: dict[str, Any]) -> None:
    transport = HttpTransport(verify=told["certificate"] or True)
    origin = Origin(bool(told["certificate"]), told["host"], told["port"])
    wire, lanes = told["wire"].encode("latin-1"), told["in_flight"]
    talks = (_talk(wire, told["objects"] // lanes) for _ in range(lanes))
    await asyncio.gather(*(transport.converse(origin, talk) for talk in talks))
    await transport.aclose()


def main() -> None:
    """Send them all."""
    told = settings()
    loop = uvloop.new_event_loop() if told["loop"] == "uvloop" else asyncio.new_event_loop()
    meter = Meter()
    loop.run_until_complete(_send(told))
    meter.report(told["objects"] // told["in_flight"] * told["in_flight"])


if __name__ == "__main__":
    main()
