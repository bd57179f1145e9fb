"""`S3`: the one way to S3, for one event loop. A few calls around a job, and millions of requests inside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random as randomness
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from typing_extensions import Self

from airflow_s3batch.core.calls import RawCalls
from airflow_s3batch.core.engine.access import Credentials, S3Access
from airflow_s3batch.core.engine.again import Again
from airflow_s3batch.core.engine.compile import Compiler, resource_of
from airflow_s3batch.core.engine.compiled import KEY, VERSION, Fills
from airflow_s3batch.core.engine.conversation import (
    Answer,
    ConnectFault,
    Conversation,
    Fault,
    InvalidAnswer,
    Reset,
    TimedOut,
)
from airflow_s3batch.core.engine.enquiry import Enquiry
from airflow_s3batch.core.engine.flight import Flight
from airflow_s3batch.core.engine.pace import Pace
from airflow_s3batch.core.engine.paced import PacedCalls
from airflow_s3batch.core.engine.retry import Backoff, is_refused
from airflow_s3batch.core.engine.route import Route
from airflow_s3batch.core.engine.shapes import Shapes
from airflow_s3batch.core.engine.transport import HttpTransport, Transport
from airflow_s3batch.core.errors import CredentialsRefused, S3Error, Unreachable
from airflow_s3batch.core.limits import Allowance, Limits
from airflow_s3batch.core.operations import Operation, RequestOperation
from airflow_s3batch.core.operations.base import TARGET
from airflow_s3batch.core.rows import Entry, Outcome

__all__ = ["S3", "Reply"]

log = logging.getLogger(__name__)

_RENEW_EVERY = 30.0
"""Seconds between two looks at the credentials; sessions are renewed minutes before they expire."""
_RENEWED_LASTS = 1.0
"""Seconds after a renewal in which S3's word that a token has expired is about the one before."""
# What may have been done, or goes on, where no answer came: whoever made the call decides about another.
_NOT_TWICE = frozenset({"lambda:Invoke"})
_PERHAPS_DONE = (TimedOut, Reset, InvalidAnswer)
_CROSSED_MOST = 0.3
"""Seconds within which a server that closes an idle connection just as it is used again has closed it."""


class Reply(NamedTuple):
    """How a request ended, after retries."""

    answer: Answer | None
    """The last answer, None if none came."""
    code: str = ""
    """S3's error code or the fault's; empty on success."""
    message: str = ""
    unreachable: bool = False
    """No connection could be opened, at any attempt."""


class S3:
    """A connection to one S3 as one identity. Use it as an async context manager, within one event loop.

    Args:
        access: which S3, where, and as whom.
        limits: retries, timeouts, and how much may be in flight in `run`.
        transport: what sends requests; the tests' fakes come in here.
        sleep, random: time and chance.
    """

    def __init__(
        self,
        access: S3Access,
        limits: Limits | None = None,
        *,
        transport: Transport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._access = access
        self._limits = limits or Limits()
        self._given_transport = transport
        self._sleep = sleep
        self._random = random
        self._backoff = Backoff(retries=self._limits.retries)
        self._compiler = Compiler(access, _user_agent())
        self.credentials: Credentials | None = None
        """What signs requests now."""
        self._regions: dict[str, str] = {}
        self._shapes = Shapes(self._compiler, self._regions)
        self._renewing = asyncio.Lock()
        self._renewed = float("-inf")
        self.answers = 0
        """How many answers have come since the start: a sign that S3 is there."""

    async def __aenter__(self) -> Self:
        self.credentials = await asyncio.to_thread(self._access.credentials)
        self._transport = self._given_transport or HttpTransport(
            verify=self._access.verify,
            client_cert=self._access.client_cert,
            connect_timeout=self._limits.connect_timeout,
            read_timeout=self._limits.read_timeout,
        )
        self._enquiry = Enquiry(self._ask, asyncio.get_running_loop().time)
        self._renewer = asyncio.create_task(self._keep_renewing())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._renewer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._renewer
        await self._transport.aclose()

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an S3 action (``"GetObject"``) with boto3's parameters; return boto3's answer, ``Body`` as bytes.

        Raises:
            InvalidInput: a parameter isn't what botocore's model says.
            S3Error: S3 refused it; `Unreachable` when no usable answer came, `CredentialsRefused` whatever it was.
        """
        return await self._call(None, action, parameters)

    async def post(self, action: str, body: bytes, /, **parameters: Any) -> bytes:
        """Call an S3 action with a body of the caller's own; return the answer's body. See `RawCalls.post`.

        Raises:
            InvalidInput, S3Error: as for `call`.
        """
        return await self._post(None, action, body, parameters)

    def paced(self, pace: Pace) -> RawCalls:
        """The same calls, each attempt of which takes its turn in `pace`."""
        return PacedCalls(
            lambda action, parameters: self._call(pace, action, parameters),
            lambda action, body, parameters: self._post(pace, action, body, parameters),
        )

    async def _call(self, pace: Pace | None, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        route, fills = self._shapes.find(action, parameters)
        members: dict[str, Any] = {}

        def read(answer: Answer) -> None:
            members.update(self._compiler.parse(action, answer.status, answer.headers, answer.body))

        final = _PERHAPS_DONE if action in _NOT_TWICE else ()
        _answered(action, parameters, await self.send(route, fills, pace=pace, final=final, read=read))
        return members

    async def _post(self, pace: Pace | None, action: str, body: bytes, parameters: dict[str, Any]) -> bytes:
        shape, fills = self._shapes.find(action, parameters)
        route = shape.carrying(lambda compiled: compiled.carrying(body))
        return _answered(action, parameters, await self.send(route, fills, pace=pace, final=(TimedOut,))).body

    def check(self, operation: Operation, bucket: str) -> None:
        """Let botocore compile the operation for a bucket, with and without a version, and send nothing.

        Raises:
            InvalidInput: a parameter isn't what botocore's model or endpoint rules allow.
        """
        for version in (None, VERSION):
            for action, parameters in operation.requests(bucket, KEY, version):
                self._compiler.compile(action, parameters, self._regions.get(parameters.get("Bucket", "")))

    def route(self, operation: RequestOperation, bucket: str, *, versioned: bool) -> Route:
        """The route of an operation's requests about objects of one bucket.

        Raises:
            InvalidInput: as for `check`.
        """
        action, parameters = operation.request(bucket, KEY, VERSION if versioned else None)
        target = parameters["Bucket"]
        return Route(
            target,
            lambda region: self._compiler.compile(action, parameters, region),
            self._regions.get(target),
            error_in_body=operation.error_in_body,
            targeted=parameters.get("Key") == TARGET,
        )

    def run(
        self,
        entries: AsyncIterator[list[Entry]],
        operation: Operation,
        *,
        stop: asyncio.Event | None = None,
        allowance: Allowance | None = None,
    ) -> AsyncGenerator[list[Outcome], None]:
        """Do the operation on every entry; yield the outcomes in lists, as they come, exactly one an entry.

        No more requests a second are sent than `allowance` says at the time; None for the limits this S3 has.
        Once `stop` is set no further entry is begun, and what is in flight has a few seconds to end.

        Raises:
            InvalidInput: botocore can't compile the operation.
            Unreachable: connections can't be opened any more; the entries without an outcome have not been done.
            CredentialsRefused: likewise, since none can be.
        """
        allowance = allowance or Allowance(self._limits.requests_per_second)
        return Flight(self, operation, self._limits.in_flight, allowance).outcomes(entries, stop)

    @property
    def transport(self) -> Transport:
        """What sends requests."""
        return self._transport

    async def send(
        self,
        route: Route,
        fills: Fills,
        *,
        first: Answer | Fault | None = None,
        pace: Pace | None = None,
        final: tuple[type[Fault], ...] = (),
        read: Callable[[Answer], None] | None = None,
    ) -> Reply:
        """Send one request until it succeeds, can't, or the retries are used up.

        Args:
            route: what to send, and where.
            fills: what is this request's own, where the route has a place for it.
            first: how the first attempt ended, where it has been made already.
            pace: gives the right to each attempt.
            final: faults after which it is not sent again.
            read: is shown an answer that says success; raises `InvalidAnswer` if it is none to this request.
        """
        again = Again(self._backoff.retries, final=final)
        result = first if first is not None else await self._attempt(route, fills, pace, read)
        while True:
            if isinstance(result, Fault):
                code, message = result.code, str(result)
                if not again.after_fault(result):
                    return Reply(None, code, message, isinstance(result, ConnectFault))
            elif route.succeeded(result):
                return Reply(result)
            else:
                anew = not again.as_another
                code, message = await self._enquiry.why(
                    route.bucket, result, region=route.region, bodyless=route.bodyless, anew=anew
                )
                if again.elsewhere and (region := await self._enquiry.region(route.bucket, result, code)):
                    again.elsewhere = False
                    self._move(route, region)
                elif again.as_another and is_refused(code):
                    again.as_another = False
                    await self._renew()
                elif not again.after_error(result.status, code):
                    return Reply(result, code, message)
            if again.wait:
                again.wait = False
                await self._sleep(self._backoff.delay(again.faults - 1, self._random))
            result = await self._attempt(route, fills, pace, read)

    async def _attempt(
        self,
        route: Route,
        fills: Fills,
        pace: Pace | None = None,
        read: Callable[[Answer], None] | None = None,
    ) -> Answer | Fault:
        if pace is None:
            return await self._exchange(route, fills, read)
        await pace.wait()
        try:
            result = await self._exchange(route, fills, read)
        except BaseException:  # cancelled, as siblings of a part that failed are: its right must not be lost
            pace.dropped()
            raise
        pace.ended(result)
        return result

    async def _exchange(self, route: Route, fills: Fills, read: Callable[[Answer], None] | None) -> Answer | Fault:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            asked = _ask(route.signer(self.credentials).wire(*fills))
            answer = await self._transport.converse(route.origin, asked, bodyless=route.bodyless)
            self.answers += 1
            if read is not None and route.succeeded(answer):
                read(answer)
        except Fault as fault:
            if isinstance(fault, Reset) and clock() - began > _CROSSED_MOST:
                fault.stale = False  # the server may have been at it for so long
            return fault
        return answer

    async def _ask(self, action: str, bucket: str) -> Answer | Fault:
        """One attempt at a call about a bucket."""
        return await self._attempt(*self._shapes.find(action, {"Bucket": bucket}))

    def _move(self, route: Route, region: str) -> None:
        self._regions[route.bucket] = region
        if region != route.region:  # many requests may learn it at once
            route.move(region)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_EVERY)
            try:
                await self._renew()
            except Exception:  # whatever a credentials provider raises; the old ones may still serve
                log.warning("The credentials could not be renewed; going on with those at hand", exc_info=True)

    async def _renew(self) -> None:
        clock = asyncio.get_running_loop().time
        async with self._renewing:
            if clock() - self._renewed < _RENEWED_LASTS:  # another of those in flight was first
                return
            fresh = await asyncio.to_thread(self._access.credentials)
            if fresh != self.credentials:
                self.credentials = fresh
            self._renewed = clock()


def _answered(action: str, parameters: dict[str, Any], reply: Reply) -> Answer:
    """The answer of a call that succeeded.

    Raises:
        S3Error: it didn't; `Unreachable` when no usable answer came.
    """
    answer, code, message, _ = reply
    if answer is not None and not code:
        return answer
    resource = resource_of(parameters)
    if answer is None:
        raise Unreachable(action, resource, status=0, code=code, message=message)
    kind = CredentialsRefused if is_refused(code) else S3Error
    raise kind(action, resource, status=answer.status, code=code, message=message)


def _ask(request: bytes) -> Conversation[Answer]:
    return (yield request)


def _user_agent() -> str:
    from airflow_s3batch import __version__

    return f"airflow-s3batch/{__version__}"
