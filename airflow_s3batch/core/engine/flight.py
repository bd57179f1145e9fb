"""`Flight`: entries in, outcomes out, so many requests in flight at once.

Lanes (coroutines) take entries from one queue, which a feeder keeps filled from the manifest. Nothing else is held:
memory depends on what is in flight, never on the manifest. Each kind of operation has its kind of lane.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any

from airflow_s3batch.core.engine.compiled import Fills, Origin, encode_keys
from airflow_s3batch.core.engine.conversation import Answer, Conversation, Fault
from airflow_s3batch.core.engine.pace import Pace
from airflow_s3batch.core.engine.performing import Performing, failed
from airflow_s3batch.core.engine.retry import is_refused
from airflow_s3batch.core.errors import CredentialsRefused, InvalidInput, ObjectFailed, S3Error, Unreachable
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.operations import BatchOperation, Operation, RequestOperation, StepsOperation
from airflow_s3batch.core.rows import Entry, Outcome

if TYPE_CHECKING:
    from airflow_s3batch.core.engine.client import S3
    from airflow_s3batch.core.engine.route import Route

__all__ = ["Flight"]

_HANDOVER = 2_000
"""Outcomes are handed over in lists of about so many, which makes the hand-over cost nothing an object …"""
_PATIENCE = 1.0
"""… or what there is after so many seconds."""
_BACKLOG = 20_000
"""Outcomes that may wait for a slow reader before no new entries are fed."""
_GRACE = 3.0
"""Seconds that requests in flight have to end once the run is stopped; Airflow kills a task 5 s after it asked."""

_new = tuple.__new__  # of a NamedTuple: half of what calling it costs
_CANCEL_EVERY = 0.1
"""Seconds after which what hasn't ended is cancelled again."""


class Flight:
    """One operation on its way to all entries of one partition."""

    def __init__(self, s3: S3, operation: Operation, in_flight: int, allowance: Allowance) -> None:
        self._s3 = s3
        self._operation = operation
        self._ready = asyncio.Event()  # enough outcomes for a hand-over, or more lanes are wanted
        self.pace = Pace(in_flight, allowance, clock=asyncio.get_running_loop().time, on_wider=self._ready.set)
        self._performing = Performing(s3, s3.paced(self.pace), lambda: self._stopped)
        self._low = 0
        """Entries that wait for lanes, at most; more are fed when so many are left."""
        self._routes: dict[tuple[str, bool], Route] = {}
        self._queue: deque[Entry] = deque()
        # Their keys as a request's path has them, encoded many at once; for requests that are signed here only.
        self._paths: deque[bytes] = deque()
        self._has_paths = isinstance(operation, RequestOperation) and not operation.in_steps
        self._fed = self._stopped = False
        self._outcomes: list[Outcome] = []
        self._more = asyncio.Event()  # entries are waiting, or none will come
        self._room = asyncio.Event()  # the queue runs low

    async def outcomes(
        self, entries: AsyncIterator[list[Entry]], stop: asyncio.Event | None = None
    ) -> AsyncGenerator[list[Outcome], None]:
        """Run it; yield lists of outcomes as they come.

        Raises:
            Unreachable: connections can't be opened any more.
            CredentialsRefused: nothing more can succeed.
        """
        self.pace.start()
        feeder = asyncio.create_task(self._feed(entries))
        lanes = self._begin_lanes(0)
        stopper = asyncio.create_task(self._stop_at(stop, feeder, lanes)) if stop is not None else None
        working: asyncio.Future[Any] = asyncio.gather(feeder, *lanes)
        working.add_done_callback(lambda _: self._ready.set())
        try:
            while not working.done():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._ready.wait(), _PATIENCE)
                if not working.done():
                    self._ready.clear()
                    if more := self._begin_lanes(len(lanes)):
                        lanes += more
                        working = asyncio.gather(working, *more)
                        working.add_done_callback(lambda _: self._ready.set())
                if done := self._hand_over():
                    yield done
            if done := self._hand_over():
                yield done
            if not self._stopped:
                await working
        finally:
            self._stopped = True
            self.pace.stop()
            await _let_go({feeder, *lanes} if stopper is None else {stopper, feeder, *lanes})
            await asyncio.gather(working, return_exceptions=True)

    async def _stop_at(self, stop: asyncio.Event, feeder: asyncio.Task[None], lanes: list[asyncio.Task[None]]) -> None:
        """When `stop` is set: begin nothing more, give what is in flight a moment, then let go of it."""
        await stop.wait()
        self._stopped = True
        self._more.set()
        await asyncio.wait(lanes, timeout=_GRACE)
        for task in (feeder, *lanes):  # the feeder not before: with it, the gathering of all of them ends
            task.cancel()

    def _hand_over(self) -> list[Outcome]:
        done, self._outcomes = self._outcomes, []
        self._room.set()
        return done

    async def _feed(self, entries: AsyncIterator[list[Entry]]) -> None:
        async for some in entries:
            self._queue.extend(some)
            if self._has_paths:
                self._paths.extend(encode_keys([entry[2] for entry in some]))
            self._more.set()
            while len(self._queue) > self._low or len(self._outcomes) > _BACKLOG:
                self._room.clear()
                await self._room.wait()
        self._fed = True
        self._more.set()

    def _begin_lanes(self, there: int) -> list[asyncio.Task[None]]:
        """Begin those that are missing for what may be in flight now. Any that are too many, the window holds back."""
        most = self.pace.most
        if isinstance(self._operation, (StepsOperation, BatchOperation)):
            most = min(most, self._operation.most_at_once)  # not all that they do are requests, so no window counts
        elif self._has_paths:
            most = math.ceil(self.pace.window)
        if most <= there or self._stopped:
            return []
        self._low = 2 * self._operation.rows_in_flight(self.pace.most)
        return [asyncio.create_task(self._any_lane()) for _ in range(there, most)]

    def _any_lane(self) -> Coroutine[Any, Any, None]:
        operation = self._operation
        if isinstance(operation, RequestOperation):
            return self._steps_lane(operation) if operation.in_steps else self._lane(operation)
        if isinstance(operation, StepsOperation):
            return self._steps_lane(operation)
        if isinstance(operation, BatchOperation):
            return self._batch_lane(operation)
        raise InvalidInput(
            f"{type(operation).__qualname__} must be a RequestOperation, a StepsOperation or a BatchOperation"
        )

    async def _steps_lane(self, operation: StepsOperation | RequestOperation) -> None:
        """Work on one object after the other, until no entry is left."""
        while await self._waiting():
            entry = self._queue.popleft()
            if len(self._queue) == self._low:
                self._room.set()
            self._add(await self._performing.one(operation, entry))

    async def _batch_lane(self, operation: BatchOperation) -> None:
        """Work on one batch after the other, until no entry is left."""
        most = operation.entries_per_request
        while await self._waiting(most):
            batch = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
            self._room.set()
            self._add(await self._performing.batch(operation, batch))

    def _add(self, outcomes: list[Outcome]) -> None:
        self._outcomes += outcomes
        if len(self._outcomes) >= _HANDOVER:
            self._ready.set()

    async def _lane(self, operation: RequestOperation) -> None:
        """Keep one request in flight, as the pace allows, until no entry is left."""
        leg = _Leg()
        while await self._waiting():
            route = self._route(operation, self._queue[0])
            try:
                await self._s3.transport.converse(
                    route.origin, self._steadily(operation, leg, route.origin), bodyless=route.bodyless
                )
            except Fault as fault:
                self.pace.ended(fault)
                leg.trouble = fault
            if leg.entry is not None:
                outcome = await self._settle(operation, leg.entry, leg.trouble)
                self._outcomes.append(outcome)  # not before the await: the list may have been handed over meanwhile
                leg.entry = leg.trouble = None
        self.pace.release()

    def _steadily(self, operation: RequestOperation, leg: _Leg, origin: Origin) -> Conversation[None]:
        """The way of nearly every object: wait for a turn, send, succeed, next.

        Ends at the first object that doesn't succeed, leaving it in `leg`.
        """
        s3, pace, queue, paths, low = self._s3, self.pace, self._queue, self._paths, self._low
        bucket, latest, route = "", False, None
        while queue and not self._stopped:
            if not pace.take():
                yield pace.park
                continue
            entry = queue[0]
            if route is None or entry[1] != bucket or (entry[3] is None) is not latest:
                route, bucket, latest = self._route(operation, entry), entry[1], entry[3] is None
            # Another bucket's, or another lane has been redirected.
            if route.origin is not origin and route.origin != origin:
                pace.give_back()
                return
            leg.entry, path = queue.popleft(), paths.popleft()
            if len(queue) == low:
                self._room.set()
            target = ""
            if route.targeted:
                try:
                    target = operation.target_for(entry)
                except ObjectFailed as error:
                    leg.trouble = error
                    pace.give_back()
                    return
            answer = yield route.signer(s3.credentials).wire_encoded(path, entry[3] or "", target)
            s3.answers += 1
            if not route.succeeded(answer):
                leg.trouble = answer
                pace.ended(answer)
                return
            pace.answered()
            leg.entry = None
            # Looked up anew, not kept over the yield: the list may have been handed over in the meantime.
            self._outcomes.append(_new(Outcome, (entry, True, answer.status, "", "Successful")))
            if len(self._outcomes) >= _HANDOVER:
                self._ready.set()

    async def _waiting(self, enough: int = 1) -> bool:
        """Whether entries wait to be begun: enough of them, or the last ones; False once there will be none."""
        while len(self._queue) < enough or self._stopped:
            if self._fed or self._stopped:
                return bool(self._queue) and not self._stopped
            self._more.clear()
            self._room.set()
            await self._more.wait()
        return True

    def _route(self, operation: RequestOperation, entry: Entry) -> Route:
        _, bucket, _, version, _ = entry
        route = self._routes.get((bucket, version is None))
        if route is None:
            route = self._s3.route(operation, bucket, versioned=version is not None)
            self._routes[bucket, version is None] = route
        return route

    async def _settle(
        self, operation: RequestOperation, entry: Entry, first: Answer | Fault | ObjectFailed | None
    ) -> Outcome:
        """Retry, follow, renew, rescue: the outcome of an entry whose first attempt didn't succeed."""
        if isinstance(first, ObjectFailed):
            return failed(entry, first.http_status, first.code, first.message)
        route, before = self._route(operation, entry), self._s3.answers
        target = operation.target_for(entry) if route.targeted else ""
        answer, code, message, unreachable = await self._s3.send(
            route, Fills(entry.key, entry.version or "", target), first=first, pace=self.pace
        )
        status = 0 if answer is None else answer.status
        if not code:
            return Outcome(entry, True, status, "", "Successful")  # noqa: FBT003
        action, resource = route.compiled.action, f"s3://{entry.bucket}/{entry.key}"
        if unreachable and self._s3.answers == before:
            # Nobody got through in all that time: S3 is away, and that says nothing about this object.
            raise Unreachable(action, resource, status=0, code=code, message=message)
        if is_refused(code):
            raise CredentialsRefused(action, resource, status=status, code=code, message=message)
        error = S3Error(action, resource, status=status, code=code, message=message)
        return await self._performing.rescue(operation, entry, error)


async def _let_go(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel the tasks, and see that they end.

    Once isn't always enough: asyncio.wait_for swallows a cancellation that comes in the same turn of the loop as what
    it waits for (before Python 3.12), and a request that was then sent could be waited for, for minutes.
    """
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=_CANCEL_EVERY)


class _Leg:
    """What a lane is about, and how it went: an entry stays here until it has an outcome."""

    __slots__ = ("entry", "trouble")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.trouble: Answer | Fault | ObjectFailed | None = None
