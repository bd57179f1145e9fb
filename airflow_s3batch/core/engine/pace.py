"""`Pace`: how many requests may start now. Finds what S3 takes, and stays just below it.

Two quantities are steered, both without a clock or a timer an object:

- the *rate* (requests a second): doubles until S3 throttles for the first time, then grows by the same amount for
  everybody, and every throttled answer takes a step off it. S3 refuses all who send to a prefix the same share of their
  requests, so who sends more loses more: jobs on one prefix come to equal shares;
- the *window* (requests in flight): at most a few times what the best latency seen needs for the throughput seen
  (Little's law), so that a store that queues instead of throttling isn't driven into a long queue.
"""

from __future__ import annotations

import asyncio
import math
import random as randomness
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from airflow_s3batch.core.engine.retry import is_throttle, read_error
from airflow_s3batch.core.engine.transport import Answer, Fault
from airflow_s3batch.core.limits import Allowance

__all__ = ["Pace", "Steering"]


@dataclass(frozen=True, kw_only=True)
class Steering:
    """How `Pace` finds its way. The defaults come from ``benchmarks/throttling.py``."""

    first_rate: float = 1_000.0
    """Requests a second to start with: what any store takes."""
    doubling: float = 0.25
    """Seconds in which the rate doubles until S3 throttles for the first time."""
    growth: float = 350.0
    """Requests a second by which the rate grows in a second after that, the same for every job."""
    patience: float = 3.0
    """Seconds without throttling after which the growth has doubled; it goes on growing with the square of the time."""
    step: float = 30.0
    """Requests a second by which a throttled answer lowers the rate …"""
    cut: float = 0.8
    """… but within an episode of throttling never below this share of what S3 took at its beginning, …"""
    episode: float = 0.3
    """… which lasts so many seconds: most of the answers in it are about requests sent before the rate fell."""
    tolerated: float = 0.006
    """Share of throttled answers that lower nothing: stores refuse a few for reasons of their own, at any rate."""
    headroom: float = 3.0
    """The window lets a request take so many times the best latency …"""
    queueing: float = 0.05
    """… or so many seconds more, whichever is more: a short queue keeps a store busy."""
    least_window: int = 16


_TICK = 0.01
"""Seconds between two refills, more or less: a burst is what the rate allows in this time. At even intervals, of two
jobs the one whose bursts come soon after the other's would be refused more, time after time."""
_RATE_MOST = 1e6
"""Requests a second that nothing here comes near."""
_LATELY = 3.0
"""Seconds of answers whose tolerated share may be throttled at once."""
_MEASURE, _MEASURE_MOST = 0.2, 2.0
"""Seconds over which throughput is measured: twice the latency, so that what ends in them was begun in them."""
_PROBE_EVERY = 10.0
"""Seconds between two looks at the latency without a queue."""
_PROBE = 2
"""Measurements that such a look takes: in the first, the queue drains."""


class Pace:
    """Gives out the right to start a request, to one partition's lanes.

    Args:
        in_flight: most requests in flight, where the allowance says nothing else.
        allowance: most requests a second, and in flight; looked at again and again.
        clock: monotonic seconds.
        random: chance, from 0 to 1.
    """

    def __init__(
        self,
        in_flight: int,
        allowance: Allowance,
        *,
        steering: Steering | None = None,
        clock: Callable[[], float],
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self.window = float(in_flight)
        self.active = 0
        """Requests in flight now."""
        self.throttled = 0
        """Answers so far that asked for fewer requests."""
        self.done = 0
        """Answers so far that didn't."""
        self._in_flight = in_flight
        self._allowance = allowance
        self._steer = steering or Steering()
        self._clock = clock
        self._random = random
        self.rate = min(self._steer.first_rate, self._ceiling())
        self._tokens = 0.0
        self._searching = True
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._parked: list[Callable[[], object]] = []
        self._refilled = self._measured = clock()
        self._probe_at = self._refilled + _PROBE_EVERY
        self._probing = 0
        self._window_before = self.window
        self._credit = 0.0
        self._done_at_tick = self._done_before = self._active_sum = self._ticks = 0
        self._taken_rate = 0.0
        self._period = _MEASURE
        self._throttled_at = self._episode_ends = self._least = 0.0
        self._best_latency = float("inf")
        self._starved = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to refill; needs the running loop."""
        self._refill()

    def stop(self) -> None:
        """Stop refilling, and let all go who wait."""
        if self._timer is not None:
            self._timer.cancel()
        self._wake(len(self._waiting) + len(self._parked))

    def take(self) -> bool:
        """Take the right to start one request, if there is one now."""
        if self.active >= self.window:
            return False
        if self._tokens < 1.0:
            self._starved = True
            return False
        self._tokens -= 1.0
        self.active += 1
        return True

    async def wait(self) -> None:
        """Wait for the right to start one request, and take it."""
        while not self.take():
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def park(self, go_on: Callable[[], object]) -> None:
        """Have this called once there may be a right to start a request, that nobody is waiting for.

        Who came last goes on first: so many connections are in use as the rate needs, and the others aren't opened.
        """
        self._parked.append(go_on)

    def release(self) -> None:
        """Have all go on who are parked: nothing is left for them to start."""
        parked, self._parked = self._parked, []
        for go_on in parked:
            go_on()

    def give_back(self) -> None:
        """Return a right that was taken and not used."""
        self.active -= 1
        self._tokens += 1.0

    def answered(self) -> None:
        """A request has ended without being throttled."""
        self.active -= 1
        self.done += 1

    def ended(self, result: Answer | Fault) -> None:
        """A request has ended somehow: slow down if S3 asks for it."""
        self.answered()
        if isinstance(result, Answer) and is_throttle(result.status, read_error(result.status, result.body)[0]):
            self.done -= 1
            self.throttled += 1
            self._slow_down()

    def _slow_down(self) -> None:
        now = self._clock()
        self._throttled_at = now
        if self._credit >= 1.0:
            self._credit -= 1.0
            return
        if now >= self._episode_ends:
            self._episode_ends = now + self._steer.episode
            self._least = max(1.0, self._steer.cut * min(self.rate, self._taken_rate or self.rate))
        if self._searching:
            self._searching = False
            self._tokens = 0.0
            self.rate = self._least
        self.rate = max(self._least, self.rate - self._steer.step)

    def _refill(self) -> None:
        now = self._clock()
        passed, self._refilled = now - self._refilled, now
        if self._starved and now >= self._episode_ends:
            # Only a rate that held lanes back may grow: one that nobody uses says nothing about what S3 takes.
            self.rate = self._grown(now, passed)
        self.rate = min(self.rate, self._ceiling())
        self._tokens = min(self._tokens + self.rate * passed, max(1.0, self.rate * 3 * _TICK))
        self._starved = self._tokens < 1.0 and self.active < self.window and bool(self._waiting or self._parked)
        earned = self._steer.tolerated * (self.done - self._done_at_tick)
        self._credit = min(self._credit + earned, max(1.0, self._steer.tolerated * self.rate * _LATELY))
        self._done_at_tick = self.done
        self._active_sum += self.active
        self._ticks += 1
        if now - self._measured >= self._period:
            self._measure(now)
        self.window = min(self.window, float(self.most))
        # As many as there are rights, all at once: their answers come together as well, and the turns of the loop that
        # this saves are a tenth of what an object costs whose rate is held back. Not one more: it would take the right
        # of who is woken with it.
        self._wake(min(int(self._tokens), math.ceil(self.window) - self.active))
        self._timer = asyncio.get_running_loop().call_later(_TICK * (0.5 + self._random()), self._refill)

    @property
    def most(self) -> int:
        """Most requests in flight, whatever the window: what the allowance says now."""
        return self._allowance.in_flight or self._in_flight

    def _ceiling(self) -> float:
        return self._allowance.requests_per_second or _RATE_MOST

    def _grown(self, now: float, passed: float) -> float:
        if self._searching:
            return self.rate * math.pow(2.0, passed / self._steer.doubling)
        # Slow near where S3 last throttled, then ever faster: what it takes must have grown (as TCP's CUBIC does).
        undisturbed = (now - self._throttled_at) / self._steer.patience
        return self.rate + self._steer.growth * (1.0 + undisturbed * undisturbed) * passed

    def _measure(self, now: float) -> None:
        """Throughput and, by Little's law, latency since the last look; set the window by them."""
        passed, self._measured = now - self._measured, now
        done, self._done_before = self.done - self._done_before, self.done
        active, self._active_sum = self._active_sum / max(1, self._ticks), 0
        self._ticks = 0
        self._taken_rate = done / passed
        if done == 0 or active < 1:
            return
        latency = active / self._taken_rate
        self._period = min(max(_MEASURE, 2 * latency), _MEASURE_MOST)
        if self._probing:
            self._probe(now, latency)
            return
        self._best_latency = min(self._best_latency, latency)
        bearable = max(self._steer.headroom * self._best_latency, self._best_latency + self._steer.queueing)
        if self._searching and latency > bearable:
            # The store queues what it can't take, instead of throttling: this is the rate it takes.
            self._searching, self._throttled_at, self.rate = False, now, self._taken_rate
        window = max(0.8 * self.window, 0.5 * (self.window + self._taken_rate * bearable), self._steer.least_window)
        self.window = min(float(self.most), window)
        if now >= self._probe_at:
            # As many as are on their way when none waits for another: costs nothing if the best latency still holds.
            self._window_before = self.window
            self.window = max(float(self._steer.least_window), self._taken_rate * self._best_latency)
            self._probing = _PROBE

    def _probe(self, now: float, latency: float) -> None:
        """Look what the latency is without a queue: it may have changed for reasons that aren't ours."""
        self._probing -= 1
        if not self._probing:
            self._best_latency = latency
            self._probe_at = now + _PROBE_EVERY
            self.window = self._window_before

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                count -= 1
        for _ in range(min(count, len(self._parked))):
            self._parked.pop()()
