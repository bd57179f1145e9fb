"""The tests' own S3: an HTTP server that records every request and answers as a script says, faults included.

Raw asyncio streams in a thread of their own, so that what goes over the wire is what the script says byte for byte, and
blocking clients (boto3) can talk to it as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from typing_extensions import Self

__all__ = ["Move", "Request", "Script", "ScriptedServer", "Step", "answer", "closed_port", "error", "error_body"]


class Request(NamedTuple):
    """What a client sent, as it stood on the wire."""

    method: str
    target: str
    """Path and query, undecoded."""
    headers: tuple[tuple[str, str], ...]
    """In order, names in lower case."""
    body: bytes
    connection: int
    """The number of the connection it came over, from 1."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def header(self, name: str) -> str:
        return dict(self.headers).get(name, "")


class Move(enum.Enum):
    """What a server can do besides sending."""

    CLOSE = enum.auto()
    """End the connection politely (FIN)."""
    RESET = enum.auto()
    """End it with a RST."""
    STALL = enum.auto()
    """Say nothing more until the client gives up."""


Step = bytes | float | Move
"""Bytes are sent, a number of seconds is waited for, a move is done."""
Script = Callable[[Request], Sequence[Step]]


def answer(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A well-formed answer, with the body's length unless `headers` says how it is framed."""
    told = dict(headers or {})
    if status >= 200 and status != 204 and not {"content-length", "transfer-encoding"} & set(told):
        told["content-length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + body


def error_body(code: str, message: str = "As the script says.", more: str = "") -> bytes:
    """S3's error document."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{more}<RequestId>4442587FB7D0A2F9</RequestId></Error>"
    ).encode()


def error(
    status: int, code: str, message: str = "As the script says.", headers: Mapping[str, str] | None = None
) -> bytes:
    """An answer with S3's error document."""
    return answer(status, error_body(code, message), {"content-type": "application/xml", **(headers or {})})


def closed_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ScriptedServer:
    """Listens on a free port of 127.0.0.1 while its `with` block runs.

    Args:
        script: what to do about each request. Called in the server's thread, in the order of arrival.
        greeting: what to do with each new connection (by its number, from 1) before a request is read.
        tls: serve HTTPS with it.
    """

    def __init__(
        self,
        script: Script,
        *,
        greeting: Callable[[int], Sequence[Step]] = lambda _: (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.greeted = 0
        """Connections accepted so far."""
        self._script = script
        self._greeting = greeting
        self._tls = tls
        self._open: set[asyncio.StreamWriter] = set()
        self._numbers = itertools.count(1)
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), name="scripted server")

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    def go_away(self) -> None:
        """Stop listening and reset every connection. For scripts: must be called in the server's thread."""
        self._server.close()
        for writer in self._open:
            _reset(writer)

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        # A client that goes away in the middle of a TLS handshake is no news here.
        self._loop.set_exception_handler(lambda *_: None)
        self._ended = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, limit=2**20, backlog=1024)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._ended.wait()
        self.go_away()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._numbers)
        self.greeted += 1
        self._open.add(writer)
        try:
            going = await self._do(self._greeting(number), reader, writer)
            while going:
                request = await _read(reader, writer, number)
                self.requests.append(request)
                going = await self._do(self._script(request), reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client has gone
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _do(self, steps: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Do the steps; False once the connection is over."""
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step is Move.STALL:
                await reader.read()
                return False
            else:
                if step is Move.RESET:
                    _reset(writer)
                return False
        return True


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    headers = tuple((name.lower(), value.strip()) for name, _, value in pairs)
    if "expect" in dict(headers):  # boto3 waits a second for it, and then for an answer that may be lost
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await reader.readexactly(int(dict(headers).get("content-length", "0")))
    return Request(method, target, headers, body, connection)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
