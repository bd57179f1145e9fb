"""`Flight`: entries in, outcomes out, so many requests in flight at once.

Lanes (coroutines) take entries from one queue, which a feeder keeps filled from the manifest. Nothing else is held:
memory depends on what is in flight, never on the manifest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from airflow_s3batch.core.engine.pace import Pace
from airflow_s3batch.core.engine.transport import Answer, Conversation, Fault
from airflow_s3batch.core.errors import Unreachable
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.operations import Operation
from airflow_s3batch.core.rows import Entry, Outcome

if TYPE_CHECKING:
    from airflow_s3batch.core.engine.client import S3, Route

__all__ = ["Flight"]

_HANDOVER = 2_000
"""Outcomes are handed over in lists of about so many, which makes the hand-over cost nothing an object …"""
_PATIENCE = 1.0
"""… or what there is after so many seconds."""
_BACKLOG = 20_000
"""Outcomes that may wait for a slow reader before no new entries are fed."""
_GRACE = 3.0
"""Seconds that requests in flight have to end once the run is stopped; Airflow kills a task 5 s after it asked."""


class Flight:
    """One operation on its way to all entries of one partition."""

    def __init__(self, s3: S3, operation: Operation, in_flight: int, allowance: Allowance) -> None:
        self._s3 = s3
        self._operation = operation
        self._in_flight = in_flight
        self.pace = Pace(in_flight, allowance, clock=asyncio.get_running_loop().time)
        self._routes: dict[tuple[str, bool], Route] = {}
        self._queue: deque[Entry] = deque()
        self._fed = self._stopped = False
        self._outcomes: list[Outcome] = []
        self._more = asyncio.Event()  # entries are waiting, or none will come
        self._room = asyncio.Event()  # the queue runs low
        self._ready = asyncio.Event()  # enough outcomes for a hand-over

    async def outcomes(
        self, entries: AsyncIterator[list[Entry]], stop: asyncio.Event | None = None
    ) -> AsyncGenerator[list[Outcome], None]:
        """Run it; yield lists of outcomes as they come.

        Raises:
            Unreachable: connections can't be opened any more.
        """
        self.pace.start()
        feeder = asyncio.create_task(self._feed(entries))
        lanes = [asyncio.create_task(self._lane()) for _ in range(self._in_flight)]
        stopper = asyncio.create_task(self._stop_at(stop, feeder, lanes)) if stop is not None else None
        working = asyncio.gather(feeder, *lanes)
        working.add_done_callback(lambda _: self._ready.set())
        try:
            while not working.done():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._ready.wait(), _PATIENCE)
                if not working.done():
                    self._ready.clear()
                if done := self._hand_over():
                    yield done
            if done := self._hand_over():
                yield done
            if not self._stopped:
                await working
        finally:
            self._stopped = True  # ends a lane whose cancellation asyncio.wait_for has swallowed, too (Python < 3.12)
            self.pace.stop()
            tasks = (feeder, *lanes) if stopper is None else (stopper, feeder, *lanes)
            for task in tasks:
                task.cancel()
            await asyncio.gather(working, *tasks, return_exceptions=True)

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
            self._more.set()
            while len(self._queue) > 2 * self._in_flight or len(self._outcomes) > _BACKLOG:
                self._room.clear()
                await self._room.wait()
        self._fed = True
        self._more.set()

    async def _lane(self) -> None:
        """Keep one request in flight, as the pace allows, until no entry is left."""
        leg = _Leg()
        while await self._waiting():
            await self.pace.wait()
            if not self._queue or self._stopped:
                self.pace.give_back()
                continue
            route = self._route(self._queue[0])
            try:
                await self._s3.transport.converse(route.origin, self._steadily(leg, route), bodyless=route.bodyless)
            except Fault as fault:
                self.pace.ended(fault)
                leg.trouble = fault
            if leg.entry is not None:
                outcome = await self._settle(leg.entry, leg.trouble)
                self._outcomes.append(outcome)  # not before the await: the list may have been handed over meanwhile
                leg.entry = leg.trouble = None

    def _steadily(self, leg: _Leg, route: Route) -> Conversation[None]:
        """The way of nearly every object: send, succeed, next. Ends at the first that doesn't, leaving it in `leg`.

        Begins with the right to one request, and takes another for every further one.
        """
        s3, pace, queue, low, origin = self._s3, self.pace, self._queue, 2 * self._in_flight, route.origin
        while True:
            leg.entry = entry = queue.popleft()
            if len(queue) == low:
                self._room.set()
            _, _, key, version, _ = entry
            answer = yield route.wire(s3.credentials, key, version or "")
            s3.answers += 1
            if not route.succeeded(answer):
                leg.trouble = answer
                pace.ended(answer)
                return
            pace.answered()
            leg.entry = None
            # Looked up anew, not kept over the yield: the list may have been handed over in the meantime.
            self._outcomes.append(Outcome(entry, True, answer.status, "", "Successful"))  # noqa: FBT003
            if len(self._outcomes) >= _HANDOVER:
                self._ready.set()
            if not queue or self._stopped:
                return
            route = self._route(queue[0])
            if route.origin != origin or not pace.take():
                return

    async def _waiting(self) -> bool:
        """Whether an entry waits to be begun; False once there will be none."""
        while not self._queue or self._stopped:
            if self._fed or self._stopped:
                return False
            self._more.clear()
            self._room.set()
            await self._more.wait()
        return True

    def _route(self, entry: Entry) -> Route:
        _, bucket, _, version, _ = entry
        route = self._routes.get((bucket, version is None))
        if route is None:
            route = self._s3.route(self._operation, bucket, versioned=version is not None)
            self._routes[bucket, version is None] = route
        return route

    async def _settle(self, entry: Entry, first: Answer | Fault | None) -> Outcome:
        """Retry, follow, renew: the outcome of an entry whose first attempt didn't succeed."""
        route, before = self._route(entry), self._s3.answers
        answer, code, message, unreachable = await self._s3.send(
            route, entry.key, entry.version or "", first=first, pace=self.pace
        )
        status = 0 if answer is None else answer.status
        if not code:
            return Outcome(entry, True, status, "", "Successful")  # noqa: FBT003
        if unreachable and self._s3.answers == before:
            # Nobody got through in all that time: S3 is away, and that says nothing about this object.
            resource = f"s3://{entry.bucket}/{entry.key}"
            raise Unreachable(route.compiled.action, resource, status=0, code=code, message=message)
        return Outcome(entry, False, status, code, message)  # noqa: FBT003


class _Leg:
    """What a lane is about, and how it went: an entry stays here until it has an outcome."""

    __slots__ = ("entry", "trouble")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.trouble: Answer | Fault | None = None
