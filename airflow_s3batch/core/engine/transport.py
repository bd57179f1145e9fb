"""HTTP/1.1 over keep-alive connections: bytes out, an `Answer` in. Knows nothing of S3."""

from __future__ import annotations

import asyncio
import itertools
import math
import ssl
from functools import partial
from typing import Any, Protocol, TypeVar

from airflow_s3batch.core.engine.compiled import Origin
from airflow_s3batch.core.engine.connection import Connection, kind_for
from airflow_s3batch.core.engine.conversation import ConnectFault, Conversation, End
from airflow_s3batch.core.engine.proxy import ProxyRefused, open_tunnel
from airflow_s3batch.core.engine.tls import tls_context

__all__ = ["HttpTransport", "Transport"]

T = TypeVar("T")

_READ_BUFFER = 64 * 1024
_ADDRESSES_LAST = 30.0
"""Seconds for which resolved addresses are used again. S3 hands out new ones every few seconds to spread its load."""
_IDLE_MOST = 15.0
"""Seconds after which an idle connection isn't used again: S3 closes them after about 20."""


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
        self.outbox: list[Connection] = []
        """Connections whose requests leave at the end of this turn of the loop, one right after the other: an object
        costs a tenth less, since the code of the kernel and ours don't drive each other out of the caches by turns, and
        a server at hand needn't be woken for each."""
        self._verify = verify
        self._client_cert = client_cert
        self._connect_timeout = connect_timeout
        self._idle: dict[Origin, list[Connection]] = {}
        self._open_now: set[Connection] = set()
        self._addresses: dict[Origin, tuple[float, itertools.cycle[str], int]] = {}
        self._resolving: dict[Origin, asyncio.Lock] = {}
        self._tls: ssl.SSLContext | None = None
        # One timer for all connections instead of one a request, which would cost more than the request's parsing;
        # deadlines are counted from its last tick, so that no clock is read for an object.
        self._tick = min(1.0, read_timeout / 10)
        self._sweep_due = math.inf  # when it should happen next
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

    def post_soon(self) -> None:
        """Have what is in the outbox sent at the end of this turn of the loop."""
        self.loop.call_soon(self._post)

    def _post(self) -> None:
        outbox, self.outbox = self.outbox, []
        for connection in outbox:
            if not connection.closed:
                request, connection.request = connection.request, b""
                connection.wire.write(request)  # type: ignore[union-attr]

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
        lost = now - self._sweep_due
        self._sweep_due = now + self._tick
        for connection in self._open_now:
            if lost > self._tick:
                # This process itself stood still (its machine was moved, others had its core): that time doesn't count,
                # since answers that came in it couldn't be read.
                connection.deadline += lost
            if connection.deadline < now:
                connection.expire()
        self._open_now = {connection for connection in self._open_now if not connection.closed}
        for idle in self._idle.values():
            idle[:] = [connection for connection in idle if not connection.closed]
        self._sweeper = self.loop.call_later(self._tick, self._sweep)

    async def _opening(self, conversation: Conversation[Any]) -> bytes | End:
        """What a conversation says first, once it has something to ask."""
        try:
            while not isinstance(said := next(conversation), bytes):
                going_on = self.loop.create_future()
                said(partial(_set, going_on))
                await going_on
        except StopIteration as over:
            return End(over.value)
        return said

    async def _connect(self, origin: Origin) -> Connection:
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

    async def _open(self, origin: Origin) -> Connection:
        """Connect to the next of the host's addresses, or to any that takes us."""
        addresses, count = await self._resolve(origin)
        last: OSError | None = None
        for address in itertools.islice(addresses, count):
            try:
                connection = await self._open_at(address, origin)
            except OSError as error:  # noqa: PERF203 - a handful of addresses
                last = error
            else:
                connection.deadline = self.idle_until  # should nobody use it: who wanted it may have been cancelled
                self._open_now.add(connection)
                return connection
        raise last or OSError("no address found")

    async def _open_at(self, address: str, origin: Origin) -> Connection:
        tls, host, port, proxy = origin
        if tls and self._tls is None:
            self._tls = tls_context(verify=self._verify, client_cert=self._client_cert)
        where: dict[str, Any] = {"host": address, "port": proxy.port if proxy else port}
        if proxy and tls:
            where = {"sock": await open_tunnel(proxy, address, host, port)}
        made = kind_for(self.loop, tls=tls)(self)
        await self.loop.create_connection(
            lambda: made, **where, ssl=self._tls if tls else None, server_hostname=host if tls else None
        )
        return made

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
