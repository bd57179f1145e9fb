"""`Later`: the latency of the servers here and of the fault suite's, cheap however many answers wait for theirs."""

from __future__ import annotations

import asyncio

__all__ = ["Later"]


class Later:
    """Writes answers after a time.

    Args:
        loop: the server's.
        tick: seconds; answers due in the same tick are sent together, since a timer each would cost more than the rest.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tick: float) -> None:
        self._loop = loop
        self._tick = tick
        self._due: dict[int, list[tuple[asyncio.Transport, bytes]]] = {}

    def write(self, transport: asyncio.Transport, answer: bytes, seconds: float) -> None:
        """Write the answer in so many seconds, at once if that is none; not if the connection is closed by then."""
        if not seconds:
            transport.write(answer)
            return
        tick = round((self._loop.time() + seconds) / self._tick)
        waiting = self._due.get(tick)
        if waiting is None:
            self._due[tick] = waiting = []
            self._loop.call_at(tick * self._tick, self._send, tick)
        waiting.append((transport, answer))

    def _send(self, tick: int) -> None:
        for transport, answer in self._due.pop(tick):
            if not transport.is_closing():
                transport.write(answer)
