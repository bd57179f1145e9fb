"""`S3`: the one way to S3, for one event loop. A few calls around a job, and millions of requests inside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random as randomness
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from typing_extensions import Self

from airflow_s3batch.core.calls import RawCalls
from airflow_s3batch.core.engine.access import Credentials, S3Access
from airflow_s3batch.core.engine.compile import Compiler, resource_of
from airflow_s3batch.core.engine.compiled import ETAG, KEY, VERSION, Compiled, Origin
from airflow_s3batch.core.engine.enquiry import Enquiry
from airflow_s3batch.core.engine.flight import Flight
from airflow_s3batch.core.engine.pace import Pace
from airflow_s3batch.core.engine.retry import Backoff, is_error_inside, is_refused, is_transient
from airflow_s3batch.core.engine.signing import Signer
from airflow_s3batch.core.engine.transport import (
    Answer,
    ConnectFault,
    Conversation,
    Fault,
    HttpTransport,
    InvalidAnswer,
    Reset,
    TimedOut,
    Transport,
)
from airflow_s3batch.core.errors import CredentialsRefused, S3Error, Unreachable
from airflow_s3batch.core.limits import Allowance, Limits
from airflow_s3batch.core.operations import Operation, RequestOperation
from airflow_s3batch.core.operations.base import TARGET
from airflow_s3batch.core.rows import Entry, Outcome

__all__ = ["S3", "Reply", "Route"]

log = logging.getLogger(__name__)

_RENEW_EVERY = 30.0
"""Seconds between two looks at the credentials; sessions are renewed minutes before they expire."""
_RENEWED_LASTS = 1.0
"""Seconds after a renewal in which S3's word that a token has expired is about the one before."""
_SHAPES_MOST = 256
"""Shapes of calls that are kept compiled …"""
_SHAPE_MOST = 4_000
"""… if they have at most so many characters: what is longer is hardly sent twice."""
_STALE_MOST = 3
"""How many kept-alive connections in a row may turn out closed before it counts as a fault."""
# Actions whose 200 can hold an <Error>: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
_ERROR_IN_BODY = frozenset({"CopyObject", "UploadPartCopy", "CompleteMultipartUpload"})
# What may have been done, or goes on, where no answer came: whoever made the call decides about another.
_NOT_TWICE = frozenset({"lambda:Invoke"})
_PERHAPS_DONE = (TimedOut, Reset, InvalidAnswer)
_ANY = re.compile(r"(?s).+")
_PLAIN = re.compile(r"[!-~]+")


class Reply(NamedTuple):
    """How a request ended, after retries."""

    answer: Answer | None
    """The last answer, None if none came."""
    code: str = ""
    """S3's error code or the fault's; empty on success."""
    message: str = ""
    unreachable: bool = False
    """No connection could be opened, at any attempt."""


class Route:
    """A compiled request on its way to one bucket.

    Keeps the region that a redirect taught, and the signature's state.
    """

    def __init__(
        self,
        bucket: str,
        compile_for: Callable[[str | None], Compiled],
        region: str | None,
        *,
        error_in_body: bool,
        targeted: bool = False,
    ) -> None:
        self.bucket = bucket
        self._compile_for = compile_for
        self._signer: Signer | None = None
        self._signed_as: Credentials | None = None
        self.error_in_body = error_in_body
        self.targeted = targeted
        """Whether every object has a target key of its own."""
        self.move(region)

    def move(self, region: str | None) -> None:
        """Send to another region from now on (None: the access's own)."""
        self.compiled = compiled = self._compile_for(region)
        self.region = compiled.region
        self.origin: Origin = compiled.origin
        self.bodyless = compiled.method == "HEAD"
        self._signer = None

    def at(self, region: str | None) -> Compiled:
        """The compiled request for this region, where it is sent from now on."""
        if region != self.region:
            self.move(region)
        return self.compiled

    def succeeded(self, answer: Answer) -> bool:
        """Whether the answer says that it is done."""
        return answer.status < 300 and not (self.error_in_body and is_error_inside(answer.body))  # noqa: PLR2004

    def wire(self, credentials: Credentials | None, key: str, version: str, target: str = "", etag: str = "") -> bytes:
        """The bytes to send for this key, version, target key and ETag, signed for now."""
        signer = self._signer
        if signer is None or credentials is not self._signed_as:
            self._signer = signer = Signer(self.compiled, credentials)
            self._signed_as = credentials
        return signer.wire(key, version, target, etag)


class _Again:
    """Whether one request may be sent again, and what has been tried already."""

    def __init__(self, retries: int, *, final: tuple[type[Fault], ...]) -> None:
        self._retries = retries
        self._final = final
        self._stale = 0
        self.faults = 0
        """Attempts that failed in a way that may pass."""
        self.wait = False
        """Whether to back off before the next attempt."""
        self.elsewhere = True
        """A redirect may be followed (once)."""
        self.as_another = True
        """The credentials may be renewed (once)."""

    def after_fault(self, fault: Fault) -> bool:
        if isinstance(fault, Reset) and fault.stale and self._stale < _STALE_MOST:
            self._stale += 1
            return True
        if isinstance(fault, self._final):
            return False
        return not (isinstance(fault, ConnectFault) and fault.permanent) and self._one_more()

    def after_error(self, status: int, code: str) -> bool:
        return is_transient(status, code) and self._one_more()

    def _one_more(self) -> bool:
        self.faults += 1
        self.wait = True
        return self.faults <= self._retries


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
        self._shapes: dict[str, Route] = {}
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
        return _PacedCalls(
            lambda action, parameters: self._call(pace, action, parameters),
            lambda action, body, parameters: self._post(pace, action, body, parameters),
        )

    async def _call(self, pace: Pace | None, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        route, fills = self._shaped(action, parameters)
        members: dict[str, Any] = {}

        def read(answer: Answer) -> None:
            members.update(self._compiler.parse(action, answer.status, answer.headers, answer.body))

        final = _PERHAPS_DONE if action in _NOT_TWICE else ()
        _answered(action, parameters, await self.send(route, *fills, pace=pace, final=final, read=read))
        return members

    async def _post(self, pace: Pace | None, action: str, body: bytes, parameters: dict[str, Any]) -> bytes:
        shape, fills = self._shaped(action, parameters)
        route = Route(
            shape.bucket,
            lambda region: shape.at(region).carrying(body),
            shape.region,
            error_in_body=shape.error_in_body,
        )
        return _answered(action, parameters, await self.send(route, *fills, pace=pace, final=(TimedOut,))).body

    def _shaped(self, action: str, parameters: dict[str, Any]) -> tuple[Route, _Fills]:
        """The route of calls of this shape, compiled at the first of them; and what is this one's own."""
        shape, fills = _shape(parameters)
        name = "" if {"Body", "Payload"} & shape.keys() else f"{action} {shape!r}"
        route = self._shapes.get(name)
        if route is None:
            bucket = shape.get("Bucket", "")
            route = Route(
                bucket,
                lambda region: self._compiler.compile(action, shape, region),
                self._regions.get(bucket),
                error_in_body=action in _ERROR_IN_BODY,
            )
        if 0 < len(name) <= _SHAPE_MOST:
            self._shapes.pop(name, None)  # so that the one used last is the last to go
            self._shapes[name] = route
            if len(self._shapes) > _SHAPES_MOST:
                del self._shapes[next(iter(self._shapes))]
        return route, fills

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
        key: str = "",
        version: str = "",
        target: str = "",
        etag: str = "",
        *,
        first: Answer | Fault | None = None,
        pace: Pace | None = None,
        final: tuple[type[Fault], ...] = (),
        read: Callable[[Answer], None] | None = None,
    ) -> Reply:
        """Send one request until it succeeds, can't, or the retries are used up.

        Args:
            route: what to send, and where.
            key: the object's key, where the route has a place for one.
            version: the version ID, likewise.
            target: the target key, likewise.
            etag: the ETag that a condition is about, likewise.
            first: how the first attempt ended, where it has been made already.
            pace: gives the right to each attempt.
            final: faults after which it is not sent again.
            read: is shown an answer that says success; raises `InvalidAnswer` if it is none to this request.
        """
        fills = _Fills(key, version, target, etag)
        again = _Again(self._backoff.retries, final=final)
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
        fills: _Fills,
        pace: Pace | None = None,
        read: Callable[[Answer], None] | None = None,
    ) -> Answer | Fault:
        if pace is not None:
            await pace.wait()
        try:
            asked = _ask(route.wire(self.credentials, *fills))
            answer = await self._transport.converse(route.origin, asked, bodyless=route.bodyless)
            self.answers += 1
            if read is not None and route.succeeded(answer):
                read(answer)
            result: Answer | Fault = answer
        except Fault as fault:
            result = fault
        if pace is not None:
            pace.ended(result)
        return result

    async def _ask(self, action: str, bucket: str) -> Answer | Fault:
        """One attempt at a call about a bucket."""
        return await self._attempt(*self._shaped(action, {"Bucket": bucket}))

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


class _PacedCalls:
    """`RawCalls` for what an operation does to its objects."""

    def __init__(
        self,
        call: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]],
        post: Callable[[str, bytes, dict[str, Any]], Awaitable[bytes]],
    ) -> None:
        self._call = call
        self._post = post

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        return await self._call(action, parameters)

    async def post(self, action: str, body: bytes, /, **parameters: Any) -> bytes:
        return await self._post(action, body, parameters)


class _Fills(NamedTuple):
    """What is a call's own among calls of its shape."""

    key: str
    version: str
    target: str
    etag: str


def _shape(parameters: dict[str, Any]) -> tuple[dict[str, Any], _Fills]:
    """The parameters with placeholders, so that calls about many objects are alike; and what these stand for."""
    shape, source = dict(parameters), parameters.get("CopySource")
    etag = _taken(shape, "IfMatch" if source is None else "CopySourceIfMatch", ETAG, _PLAIN)
    if not isinstance(source, dict):
        return shape, _Fills(_taken(shape, "Key", KEY), _taken(shape, "VersionId", VERSION), "", etag)
    shape["CopySource"] = source = dict(source)
    key, version = _taken(source, "Key", KEY), _taken(source, "VersionId", VERSION)
    return shape, _Fills(key, version, _taken(shape, "Key", TARGET), etag)


def _taken(parameters: dict[str, Any], name: str, placeholder: str, fitting: re.Pattern[str] = _ANY) -> str:
    value = parameters.get(name)
    # An empty one is for botocore to refuse: behind a placeholder it would be a request about the bucket.
    if not isinstance(value, str) or not fitting.fullmatch(value):
        return ""
    parameters[name] = placeholder
    return value


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
