"""Conversations over HTTP: requests as bytes, answers as `Answer`s, and the faults that end one."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

__all__ = [
    "Answer",
    "ConnectFault",
    "Conversation",
    "End",
    "Fault",
    "InvalidAnswer",
    "Park",
    "Reset",
    "TimedOut",
]

T = TypeVar("T")


class Answer(NamedTuple):
    """An HTTP response. Its headers are only read when somebody asks: hardly any of millions is looked at."""

    status: int
    head: bytes = b""
    """The bytes before the body: status line and headers (more may follow)."""
    body: bytes = b""

    @property
    def headers(self) -> list[tuple[str, str]]:
        """In order, names in lower case."""
        lines = self.head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        return [(name.strip().lower(), value.strip()) for name, _, value in pairs]

    def header(self, name: str) -> str:
        """The header's value, or an empty text."""
        return next((value for found, value in self.headers if found == name), "")


class End(NamedTuple):
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
