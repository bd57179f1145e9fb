"""HTTP/1.1 over keep-alive connections: bytes out, an `Answer` in. Knows nothing of S3.

`asyncio.BufferedProtocol` with httptools' parser: asyncio's own loop allocates a 256 KiB buffer a read for a plain
Protocol, which costs it three times the CPU (``benchmarks/transport.py``). All connections of a loop read into one
buffer, since what was read is parsed before the next read.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import ssl
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import httptools

from airflow_s3batch.core.engine.compiled import Origin
from airflow_s3batch.core.engine.proxy import ProxyRefused, open_tunnel
from airflow_s3batch.core.engine.tls import tls_context

__all__ = [
    "Answer",
    "ConnectFault",
    "Conversation",
    "Fault",
    "HttpTransport",
    "InvalidAnswer",
    "Park",
    "Reset",
    "TimedOut",
    "Transport",
]

T = TypeVar("T")

_READ_BUFFER = 64 * 1024
_PROGRESS = 16 * 1024
"""A read of at least so many bytes restarts the read timeout: large bodies may take long, a trickle may not."""
_HEAD_MOST = 256 * 1024
"""Bytes of an answer's headers; S3's are some hundred."""
_ADDRESSES_LAST = 30.0
"""Seconds for which resolved addresses are used again. S3 hands out new ones every few seconds to spread its load."""
_IDLE_MOST = 15.0
"""Seconds after which an idle connection isn't used again: S3 closes them after about 20."""
_FRAMED = re.compile(rb"\r\n(?:content-length|transfer-encoding):", re.IGNORECASE)


class Answer:
    """An HTTP response. Its headers are only read when somebody asks: hardly any of millions is looked at."""

    __slots__ = ("_headers", "body", "head", "status")

    def __init__(self, status: int, head: bytes = b"", body: bytes = b"") -> None:
        self.status = status
        self.head = head
        """The bytes before the body: status line and headers (more may follow)."""
        self.body = body
        self._headers: list[tuple[str, str]] | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """In order, names in lower case."""
        if self._headers is None:
            lines = self.head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
            pairs = (line.partition(":") for line in lines)
            self._headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
        return self._headers

    def header(self, name: str) -> str:
        """The header's value, or an empty text."""
        return next((value for found, value in self.headers if found == name), "")


class _End(NamedTuple):
    """What a conversation returned."""

    value: Any


class Fault(Exception):
    """No usable answer came; whether the server acted on the request is unknown. `code` goes into the report."""

    code = "ConnectionError"


class ConnectFault(Fault):
    """The connection couldn't be opened: the request was never sent."""

    code = "ConnectError"

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent
        """Trying again can't help: the certificate isn't trusted, or a proxy refuses."""


class Reset(Fault):
    """The connection ended before the whole answer had come."""

    code = "ConnectionReset"

    def __init__(self, message: str, *, stale: bool = False) -> None:
        super().__init__(message)
        self.stale = stale
        """The server closed a kept-alive connection just as it was used again, as servers may."""


class TimedOut(Fault):
    """No whole answer came in time."""

    code = "RequestTimeout"


class InvalidAnswer(Fault):
    """What came is not HTTP, or no answer to what was asked."""

    code = "InvalidResponse"


Park = Callable[[Callable[[], object]], object]
"""Takes what has to be called for a conversation to go on."""

Conversation = Generator[bytes | Park, Answer, T]
"""Yields requests one after the other, is sent the answer of each, and may return something at its end.

Where it has nothing to ask now it yields a `Park`, and goes on when that calls back.

A generator and not a coroutine awaiting each answer: it is resumed right where the answer was parsed, without a future
and a trip through the event loop an object, which saves a sixth of what an object costs (``benchmarks/transport.py``).
"""


class Transport(Protocol):
    """Holds conversations over HTTP: the seam where a test's fake replaces the network."""

    async def converse(self, origin: Origin, conversation: Conversation[T], *, bodyless: bool = False) -> T:
        """Send what the conversation yields to the origin, one request at a time; return what it returns.

        `bodyless` says that answers have no body whatever their headers claim (HEAD).

        Raises:
            Fault: a request got no usable answer; the conversation is over.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class _Connection(asyncio.BufferedProtocol):
    """One connection, one conversation at a time."""

    def __init__(self, pool: HttpTransport) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._conversation: Conversation[Any] | None = None
        self._over: asyncio.Future[bytes | _End] = pool.loop.create_future()
        self._head = b""
        self._in_head = True
        self._body: list[bytes] = []
        self._answer: Answer | None = None
        self._bodyless = False
        self._surplus = False
        """Bytes came that belong to no request."""
        self._used = False
        self.closed = False
        self.deadline = math.inf

    # What the pool calls.

    def converse(
        self, conversation: Conversation[Any], request: bytes, *, bodyless: bool
    ) -> asyncio.Future[bytes | _End]:
        """Send the request and go on with the conversation.

        The future holds the conversation's end, or the next request if the server ended the connection before it was
        sent.
        """
        if self.closed:  # by the server, before it was ever used: connection_lost has been, and won't come again
            raise Reset("the connection was closed as soon as it was opened")
        self._conversation = conversation
        self._over = self._pool.loop.create_future()
        self._bodyless = bodyless
        self.deadline = self._pool.due
        self._transport.write(request)  # type: ignore[union-attr]
        return self._over

    def _go_on(self, conversation: Conversation[Any]) -> None:
        """Resume a conversation that had nothing to ask for a while."""
        if not self._over.done():  # it may have been cancelled meanwhile
            self._conversation = conversation
            self._proceed(None)

    def expire(self) -> None:
        """What the deadline means: the request in flight has timed out, or the connection has idled for too long."""
        self._fail(TimedOut(f"no complete answer within {self._pool.read_timeout:g} s"))

    def close(self) -> None:
        """Drop the connection at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._pool.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._conversation is None:
            self.close()  # bytes that nobody asked for: what comes next on this connection can't be trusted
            return
        read = self._pool.buffer[:nbytes]
        if self._in_head:
            self._head += read
            if len(self._head) > _HEAD_MOST:
                self._fail(InvalidAnswer(f"headers of over {_HEAD_MOST} bytes"))
                return
        elif nbytes >= _PROGRESS:
            self.deadline = self._pool.due
        try:
            self._parser.feed_data(read)
        except httptools.HttpParserError as error:
            if self._answer is None:
                self._fail(InvalidAnswer(f"not a valid HTTP answer: {error}"))
                return
            self._surplus = True
        # Not before the whole read is parsed: bytes behind the answer would be taken for the next request's.
        if self._answer is not None:
            self._proceed(self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._conversation is None:
            return
        if not self._in_head and exc is None and not _FRAMED.search(self._head):
            self._finish(self._parser)  # an old server's answer without a length: it ends with the connection
            if self._answer is not None:
                self._proceed(self._answer)
            return
        stale = self._used and not self._head
        self._fail(Reset(str(exc) if exc else "the connection was closed before the answer was complete", stale=stale))

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._answer is not None:
            self._surplus = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._bodyless and self._parser.get_status_code() >= 200 and self._answer is None:  # noqa: PLR2004
            # The parser would wait for the body that the headers announce and HEAD never brings.
            parser, self._parser = self._parser, httptools.HttpResponseParser(self)
            self._surplus = not self._head.endswith(b"\r\n\r\n")
            self._finish(parser)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:  # noqa: PLR2004
            if self._answer is None:
                self._finish(self._parser)
        else:  # 100 Continue and its like: the real answer follows
            self._head = self._head.partition(b"\r\n\r\n")[2]
            self._in_head = True

    def _finish(self, parser: httptools.HttpResponseParser) -> None:
        """The answer is complete."""
        self._answer = answer = Answer(parser.get_status_code(), self._head)
        if self._body:
            answer.body = b"".join(self._body)
            self._body = []
        if not parser.should_keep_alive():
            self.close()

    def _proceed(self, answer: Answer | None) -> None:
        """Give the conversation its answer (None where it has waited), and send what it says next."""
        self._answer = None
        self._head = b""
        self._in_head = self._used = True
        if self._surplus:
            self.close()  # what comes next on this connection can't be trusted
        conversation: Conversation[Any] = self._conversation  # type: ignore[assignment]
        try:
            said = conversation.send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            self._end(_End(end.value))
        except BaseException as error:  # noqa: BLE001 - the conversation's own error belongs to who holds it
            self._conversation = None
            if not self._over.done():
                self._over.set_exception(error)
        else:
            if not isinstance(said, bytes):
                # Nobody's until it goes on: an idle connection, which may be closed like any other.
                self._conversation = None
                self.deadline = self._pool.idle_until
                said(partial(self._go_on, conversation))
            elif self.closed:
                self._end(said)
            else:
                self.deadline = self._pool.due
                self._transport.write(said)  # type: ignore[union-attr]

    def _end(self, result: bytes | _End) -> None:
        self._conversation = None
        if not self._over.done():
            self._over.set_result(result)

    def _fail(self, fault: Fault) -> None:
        conversation, self._conversation = self._conversation, None
        self.close()
        if conversation is not None and not self._over.done():
            self._over.set_exception(fault)


class HttpTransport:
    """Keep-alive connections to any number of origins, for one event loop."""

    def __init__(
        self,
        *,
        verify: bool | str = True,
        client_cert: str | tuple[str, str] | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 60.0,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.buffer = memoryview(bytearray(_READ_BUFFER))
        self.read_timeout = read_timeout
        self.due = 0.0
        """When a request sent now has to be answered."""
        self.idle_until = 0.0
        """Until when a connection may be used again that falls idle now."""
        self._verify = verify
        self._client_cert = client_cert
        self._connect_timeout = connect_timeout
        self._idle: dict[Origin, list[_Connection]] = {}
        self._open_now: set[_Connection] = set()
        self._addresses: dict[Origin, tuple[float, itertools.cycle[str], int]] = {}
        self._resolving: dict[Origin, asyncio.Lock] = {}
        self._tls: ssl.SSLContext | None = None
        # One timer for all connections instead of one a request, which would cost more than the request's parsing;
        # deadlines are counted from its last tick, so that no clock is read for an object.
        self._tick = min(1.0, read_timeout / 10)
        self._sweep()

    async def converse(self, origin: Origin, conversation: Conversation[T], *, bodyless: bool = False) -> T:
        """Hold a conversation over an idle connection, or a new one; over several if the server ends them politely.

        Raises:
            Fault: a request got no usable answer.
        """
        said = await self._opening(conversation)
        idle = self._idle.setdefault(origin, [])
        while isinstance(said, bytes):
            while idle:
                connection = idle.pop()
                if not connection.closed:
                    break
            else:
                connection = await self._connect(origin)
            try:
                said = await connection.converse(conversation, said, bodyless=bodyless)
            except asyncio.CancelledError:
                connection.close()
                raise
            if not connection.closed:
                connection.deadline = self.idle_until
                idle.append(connection)
        value: T = said.value
        return value

    async def aclose(self) -> None:
        """Close every connection."""
        self._sweeper.cancel()
        for connection in self._open_now:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # lets the loop run the connections' connection_lost

    def _sweep(self) -> None:
        """Let what has passed its deadline expire, forget what is closed."""
        now = self.loop.time()
        self.due = now + self._tick + self.read_timeout
        self.idle_until = now + _IDLE_MOST
        for connection in self._open_now:
            if connection.deadline < now:
                connection.expire()
        self._open_now = {connection for connection in self._open_now if not connection.closed}
        for idle in self._idle.values():
            idle[:] = [connection for connection in idle if not connection.closed]
        self._sweeper = self.loop.call_later(self._tick, self._sweep)

    async def _opening(self, conversation: Conversation[Any]) -> bytes | _End:
        """What a conversation says first, once it has something to ask."""
        try:
            while not isinstance(said := next(conversation), bytes):
                going_on = self.loop.create_future()
                said(partial(_set, going_on))
                await going_on
        except StopIteration as over:
            return _End(over.value)
        return said

    async def _connect(self, origin: Origin) -> _Connection:
        try:
            return await asyncio.wait_for(self._open(origin), self._connect_timeout)
        except asyncio.TimeoutError:
            patience = f"{self._connect_timeout:g} s"
            raise ConnectFault(f"{origin} not connected within {patience}") from None
        except ssl.SSLCertVerificationError as error:
            raise ConnectFault(
                f"{origin}: TLS certificate refused: {error.verify_message}; "
                "if it is the right server, let verify name its authority's file",
                permanent=True,
            ) from None
        except OSError as error:
            told = f"{origin}: {error.strerror or error}"
            raise ConnectFault(told, permanent=isinstance(error, ProxyRefused)) from None

    async def _open(self, origin: Origin) -> _Connection:
        """Connect to the next of the host's addresses, or to any that takes us."""
        addresses, count = await self._resolve(origin)
        last: OSError | None = None
        for address in itertools.islice(addresses, count):
            try:
                connection = await self._open_at(address, origin)
            except OSError as error:  # noqa: PERF203 - a handful of addresses
                last = error
            else:
                self._open_now.add(connection)
                return connection
        raise last or OSError("no address found")

    async def _open_at(self, address: str, origin: Origin) -> _Connection:
        tls, host, port, proxy = origin
        if tls and self._tls is None:
            self._tls = tls_context(verify=self._verify, client_cert=self._client_cert)
        where: dict[str, Any] = {"host": address, "port": proxy.port if proxy else port}
        if proxy and tls:
            where = {"sock": await open_tunnel(proxy, address, host, port)}
        _, connection = await self.loop.create_connection(
            lambda: _Connection(self), **where, ssl=self._tls if tls else None, server_hostname=host if tls else None
        )
        return connection

    async def _resolve(self, origin: Origin) -> tuple[itertools.cycle[str], int]:
        async with self._resolving.setdefault(origin, asyncio.Lock()):
            known = self._addresses.get(origin)
            if known is None or self.loop.time() > known[0]:
                peer = origin.proxy or origin
                found = await self.loop.getaddrinfo(peer.host, peer.port, type=1)  # SOCK_STREAM
                unique = list(dict.fromkeys(str(entry[4][0]) for entry in found))
                known = (self.loop.time() + _ADDRESSES_LAST, itertools.cycle(unique), len(unique))
                self._addresses[origin] = known
            return known[1], known[2]


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
