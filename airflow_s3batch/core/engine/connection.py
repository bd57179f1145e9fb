"""`Connection`: one connection's protocol, HTTP/1.1, with httptools' parser."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import httptools

from airflow_s3batch.core.engine.conversation import Answer, Conversation, End, Fault, InvalidAnswer, Reset, TimedOut

if TYPE_CHECKING:
    from airflow_s3batch.core.engine.transport import HttpTransport

__all__ = ["Connection", "kind_for"]

_PROGRESS = 16 * 1024
"""So many bytes of a body restart the read timeout: large bodies may take long, a trickle may not."""
_ALIVE_MOST = 14
"""Read timeouts for which white space in a body, by which S3 keeps a connection open while it copies, may restart it:
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""
_HEAD_MOST = 256 * 1024
"""Bytes of an answer's headers; S3's are some hundred."""
_new = tuple.__new__  # of a NamedTuple: half of what calling it costs
_FRAMED = re.compile(rb"\r\n(?:content-length|transfer-encoding):", re.IGNORECASE)


def kind_for(loop: asyncio.AbstractEventLoop, *, tls: bool) -> Callable[[HttpTransport], Connection]:
    """The kind of connection that reads at the least cost (``benchmarks/transport.py``).

    asyncio's own loop allocates a 256 KiB buffer a read for a plain Protocol, which costs it three times the CPU, and
    uvloop does the like under TLS. Over HTTP uvloop hands over just the bytes there are, for less than it takes to ask
    for a buffer.
    """
    return _Buffered if tls or isinstance(loop, asyncio.BaseEventLoop) else _Plain


class Connection(asyncio.BaseProtocol):
    """One connection, one conversation at a time."""

    def __init__(self, pool: HttpTransport) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self.wire: asyncio.Transport | None = None
        """Takes bytes to the server, once the connection is open."""
        self.request = b""
        """What leaves at the end of this turn of the loop; empty once it has."""
        self._conversation: Conversation[Any] | None = None
        self._over: asyncio.Future[bytes | End] = pool.loop.create_future()
        self._head = b""
        self._in_head = True
        self._body: list[bytes] = []
        self._progress = 0
        """Bytes of the body since the read timeout began."""
        self._latest: float | None = None
        """Until when white space may put the deadline off, once some has come."""
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
    ) -> asyncio.Future[bytes | End]:
        """Send the request and go on with the conversation.

        The future holds the conversation's end, or the next request if the server ended the connection before it was
        sent.
        """
        if self.closed:  # by the server, before it was ever used: connection_lost has been, and won't come again
            raise Reset("the connection was closed as soon as it was opened")
        self._conversation = conversation
        self._over = self._pool.loop.create_future()
        self._bodyless = bodyless
        self._send(request)
        return self._over

    def _send(self, request: bytes) -> None:
        self.deadline = self._pool.due
        outbox = self._pool.outbox
        if not outbox:
            self._pool.post_soon()
        self.request = request
        outbox.append(self)

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
        if self.wire is not None:
            self.wire.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.wire = transport  # type: ignore[assignment]

    def data_received(self, read: bytes | memoryview) -> None:
        """So much was read."""
        if self._conversation is None or self.request:
            # Bytes that nobody asked for, or not yet: what comes next on this connection can't be trusted.
            self._fail(Reset("bytes came before the request was sent"))
            return
        if self._in_head:
            read = bytes(read)
            self._head = self._head + read if self._head else read
        pieces = len(self._body)
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
        elif not self._in_head:
            self._go_on_waiting(self._body[pieces:])
        elif len(self._head) > _HEAD_MOST:
            self._fail(InvalidAnswer(f"headers of over {_HEAD_MOST} bytes"))

    def _go_on_waiting(self, came: list[bytes]) -> None:
        """Restart the read timeout if the answer's body makes progress, or S3 says that it is still at it."""
        self._progress += sum(map(len, came))
        if self._progress >= _PROGRESS:
            self._progress = 0
            self.deadline = self._pool.due
        elif came and not b"".join(came).strip():
            if self._latest is None:
                self._latest = self.deadline + _ALIVE_MOST * self._pool.read_timeout
            self.deadline = min(self._pool.due, self._latest)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self.closed = True
        if self._conversation is None:
            return
        if not self._in_head and exc is None and not _FRAMED.search(self._head.partition(b"\r\n\r\n")[0]):
            # An old server's answer without a length: it ends with the connection.
            self._finish(self._parser.get_status_code(), keep=False)
            if self._answer is not None:
                self._proceed(self._answer)
            return
        stale = self._used and not self._head
        self._fail(Reset(str(exc) if exc else "the connection was closed before the answer was complete", stale=stale))

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._answer is not None:
            self._surplus = True

    def on_headers_complete(self) -> None:
        """Its headers have come."""
        self._in_head = False
        if self._bodyless and self._answer is None and (status := self._parser.get_status_code()) >= 200:  # noqa: PLR2004
            # The parser would wait for the body that the headers announce and HEAD never brings.
            parser, self._parser = self._parser, httptools.HttpResponseParser(self)
            self._surplus = not self._head.endswith(b"\r\n\r\n")
            self._finish(status, keep=parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """A part of its body has come."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """All of it has come."""
        status = self._parser.get_status_code()
        if status >= 200:  # noqa: PLR2004
            if self._answer is None:
                self._finish(status, keep=self._parser.should_keep_alive())
        else:  # 100 Continue and its like: the real answer follows
            self._head = self._head.partition(b"\r\n\r\n")[2]
            self._in_head = True

    def _finish(self, status: int, *, keep: bool) -> None:
        """The answer is complete; its connection is kept, or dropped."""
        body = b""
        if self._body:
            body, self._body = b"".join(self._body), []
            self._progress, self._latest = 0, None
        self._answer = _new(Answer, (status, self._head, body))
        if not keep:
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
            self._end(End(end.value))
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
                self._send(said)

    def _end(self, result: bytes | End) -> None:
        self._conversation = None
        if not self._over.done():
            self._over.set_result(result)

    def _fail(self, fault: Fault) -> None:
        conversation, self._conversation = self._conversation, None
        self.close()
        if conversation is not None and not self._over.done():
            self._over.set_exception(fault)


class _Plain(Connection, asyncio.Protocol):
    """Is given what was read."""


class _Buffered(Connection, asyncio.BufferedProtocol):
    """Reads into the one buffer of its pool, since what was read is parsed before the next read."""

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Where the next read goes."""
        return self._pool.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read."""
        self.data_received(self._pool.buffer[:nbytes])
