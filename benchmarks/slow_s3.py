"""A canned S3 with two properties that nginx lacks: it answers after so long, and throttles as S3 does.

As a program: ``python -m benchmarks.slow_s3 PORT LATENCY RATE`` (seconds, requests a second; 0 for none). Every
request takes a token of a bucket that fills at that rate, or is answered 503 SlowDown; the tokens of a tenth of
a second may be saved up. ``GET /-/rate=N`` changes the rate, ``GET /-/latency=N`` the latency; each, and ``GET /-/``,
tells as JSON what has been answered to whom (by access key).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.later import Later
from benchmarks.machine import SERVER_CORE, on_core
from benchmarks.nginx import free_port

__all__ = ["Answered", "SlowS3", "slow_s3"]

_BURST = 0.1
_TICK = 0.001
"""Seconds, to which latencies are rounded."""
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-amz-request-id: 0123456789ABCDEF\r\n\r\n"
_REFUSED = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_SLOW_DOWN = b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n%b" % (len(_REFUSED), _REFUSED)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_WHO = re.compile(rb"Credential=([^/]+)/")


class Answered(NamedTuple):
    """What one client got so far."""

    ok: int
    refused: int


class SlowS3(NamedTuple):
    """A running server."""

    url: str

    def set_rate(self, rate: float) -> None:
        """Take so many requests a second from now on."""
        urllib.request.urlopen(f"{self.url}/-/rate={rate}").read()

    def set_latency(self, latency: float) -> None:
        """Answer after so many seconds from now on."""
        urllib.request.urlopen(f"{self.url}/-/latency={latency}").read()

    def answered(self) -> dict[str, Answered]:
        """What was answered so far, by access key."""
        told: dict[str, list[int]] = json.loads(urllib.request.urlopen(f"{self.url}/-/").read())
        return {who: Answered(*counts) for who, counts in told.items()}


@contextlib.contextmanager
def slow_s3(*, latency: float = 0.0, rate: float = 0.0) -> Iterator[SlowS3]:
    """Run the server, on a free port of 127.0.0.1 and the server's core, while the `with` block runs."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.slow_s3", str(port), str(latency), str(rate)]
    server = subprocess.Popen(on_core(SERVER_CORE, command), stdout=subprocess.PIPE)
    try:
        if server.stdout is None or server.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the slow S3 server didn't start (exit code {server.poll()})")
        yield SlowS3(f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.communicate()


class _Bucket:
    """Tokens, who got them, and how long an answer takes."""

    def __init__(self, latency: float, rate: float) -> None:
        self.latency = latency
        self.rate = rate
        self.ok: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._tokens = 0.0
        self._filled = time.monotonic()

    def answer(self, who: str) -> bytes:
        if self.rate:
            now = time.monotonic()
            self._tokens = min(self.rate * _BURST, self._tokens + (now - self._filled) * self.rate)
            self._filled = now
            if self._tokens < 1:
                self.refused[who] += 1
                return _SLOW_DOWN
            self._tokens -= 1
        self.ok[who] += 1
        return _OK

    def told(self) -> bytes:
        told = {who: [self.ok[who], self.refused[who]] for who in self.ok | self.refused}
        body = json.dumps(told).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class _Connection(asyncio.Protocol):
    def __init__(self, bucket: _Bucket, later: Later) -> None:
        self._bucket = bucket
        self._later = later
        self._read = b""
        self._who = ""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._read, 0, end)
        if len(self._read) < end + 4 + (int(length[1]) if length else 0):
            return
        request, self._read = self._read, b""  # nobody sends a second one before the answer
        if request.startswith(b"GET /-/"):
            self._control(request.split(b" ", 2)[1].decode())
            return
        if not self._who:  # the same for all of a connection
            found = _WHO.search(request)
            self._who = found[1].decode() if found else "?"
        self._later.write(self._transport, self._bucket.answer(self._who), self._bucket.latency)

    def _control(self, path: str) -> None:
        name, _, value = path.removeprefix("/-/").partition("=")
        if name == "rate":
            self._bucket.rate = float(value)
        if name == "latency":
            self._bucket.latency = float(value)
        self._transport.write(self._bucket.told())


def main() -> None:
    """Serve until terminated."""
    import uvloop

    port, latency, rate = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    loop = uvloop.new_event_loop()
    bucket, later = _Bucket(latency, rate), Later(loop, _TICK)
    loop.run_until_complete(loop.create_server(lambda: _Connection(bucket, later), "127.0.0.1", port, backlog=8192))
    print("ready", flush=True)
    loop.run_forever()


if __name__ == "__main__":
    main()
