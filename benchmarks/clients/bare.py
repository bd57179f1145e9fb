"""The least that asyncio can do: one fixed request, sent over and over, each answer parsed and thrown away.

The yardstick for the transport, and the evidence for its loop and its kind of protocol.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httptools
import uvloop

from benchmarks.clients.meter import Meter, settings

_BUFFER = bytearray(64 * 1024)


class _Sender:
    """Sends the request again at every answer, until all have been sent."""

    left: int
    open: int
    request: bytes
    over: asyncio.Future[None]

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)
        transport.write(self.request)

    def on_message_complete(self) -> None:
        sender = _Sender
        sender.left -= 1
        if sender.left >= sender.open:  # so many are in flight already
            self.transport.write(self.request)
        elif sender.left == 0:
            sender.over.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Needed by asyncio."""


class _Plain(_Sender, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)


class _Buffered(_Sender, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.parser.feed_data(memoryview(_BUFFER)[:nbytes])


async def _send(told: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    tls = ssl.create_default_context(cafile=told["certificate"]) if told["certificate"] else None
    _Sender.left, _Sender.open, _Sender.request = told["objects"], told["in_flight"], told["wire"].encode("latin-1")
    _Sender.over = loop.create_future()
    kind = _Buffered if told["protocol"] == "BufferedProtocol" else _Plain
    for _ in range(told["in_flight"]):
        await loop.create_connection(kind, told["host"], told["port"], ssl=tls)
    await _Sender.over


def main() -> None:
    """Send them all."""
    told = settings()
    loop = uvloop.new_event_loop() if told["loop"] == "uvloop" else asyncio.new_event_loop()
    meter = Meter()
    loop.run_until_complete(_send(told))
    meter.report(told["objects"])


if __name__ == "__main__":
    main()
