"""`Pace`: how many requests may start now. Finds what S3 takes, and stays just below it.

Two quantities are steered, both without a clock or a timer an object:

- the *rate* (requests a second): doubles until S3 throttles for the first time, then grows by the same amount for
  everybody and is cut to a share of what S3 last took (additive increase, multiplicative decrease: jobs on one prefix
  come to equal shares);
- the *window* (requests in flight): at most a few times what the best latency seen needs for the throughput seen
  (Little's law), so that a store that queues instead of throttling isn't driven into a long queue.
"""

from __future__ import annotations

import asyncio
import math
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
    growth: float = 80.0
    """Requests a second by which the rate grows in a second after that, the same for every job."""
    patience: float = 3.0
    """Seconds without throttling after which the growth has doubled; it goes on growing with the square of the time."""
    cut: float = 0.9
    """What a throttled answer leaves of the rate that S3 took."""
    tolerated: float = 0.01
    """Share of throttled answers that is no sign: stores refuse a few for reasons of their own, at any rate."""
    deaf: float = 0.3
    """Seconds after a cut in which further throttled answers don't cut again: they answer requests sent before it."""
    headroom: float = 3.0
    """The window lets a request take so many times the best latency …"""
    queueing: float = 0.05
    """… or so many seconds more, whichever is more: a short queue keeps a store busy."""
    least_window: int = 16


_TICK = 0.01
"""Seconds between two refills: a burst is what the rate allows in this time."""
_RATE_MOST = 1e6
"""Requests a second that nothing here comes near."""
_LATELY = 3.0
"""Seconds after which an answer counts for a third when the share of throttled ones is looked at."""
_MEASURE = 0.2
"""Seconds over which throughput is measured."""
_PROBE_EVERY = 10.0
"""Seconds between two looks at the latency without a queue."""
_PROBE = 2
"""Measurements that such a look takes: in the first, the queue drains."""


class Pace:
    """Gives out the right to start a request, to one partition's lanes.

    Args:
        in_flight: most requests in flight.
        allowance: most requests a second; looked at again and again.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        in_flight: int,
        allowance: Allowance,
        *,
        steering: Steering | None = None,
        clock: Callable[[], float],
    ) -> None:
        self.window = float(in_flight)
        self.active = 0
        """Requests in flight now."""
        self.throttled = 0
        """Answers so far that asked for fewer requests."""
        self.done = 0
        """Answers so far that didn't."""
        self._most = in_flight
        self._allowance = allowance
        self._steer = steering or Steering()
        self._clock = clock
        self.rate = min(self._steer.first_rate, self._ceiling())
        self._tokens = 0.0
        self._searching = True
        self._parked: deque[asyncio.Future[None]] = deque()
        self._refilled = self._measured = clock()
        self._probe_at = self._refilled + _PROBE_EVERY
        self._probing = 0
        self._window_before = self.window
        self._lately_done = self._lately_throttled = 0.0
        self._done_at_tick = self._done_before = self._active_sum = self._ticks = 0
        self._taken_rate = 0.0
        self._deaf_until = self._cut_at = 0.0
        self._best_latency = float("inf")
        self._starved = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to refill; needs the running loop."""
        self._refill()

    def stop(self) -> None:
        """Stop refilling, and let every parked lane go."""
        if self._timer is not None:
            self._timer.cancel()
        self._wake(len(self._parked))

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
            parked = asyncio.get_running_loop().create_future()
            self._parked.append(parked)
            await parked

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
        self._lately_throttled += 1.0
        if now < self._deaf_until or self._lately_throttled < self._steer.tolerated * (1.0 + self._lately_done):
            return
        self._lately_throttled = 0.0
        self._searching = False
        self._cut_at = now
        self._deaf_until = now + self._steer.deaf
        taken = self._taken_rate or self.rate
        self.rate = max(1.0, self._steer.cut * min(self.rate, taken))
        self._tokens = 0.0

    def _refill(self) -> None:
        now = self._clock()
        passed, self._refilled = now - self._refilled, now
        if self._starved and now >= self._deaf_until:
            # Only a rate that held lanes back may grow: one that nobody uses says nothing about what S3 takes.
            self.rate = self._grown(now, passed)
        self.rate = min(self.rate, self._ceiling())
        self._starved = False
        self._tokens = min(self._tokens + self.rate * passed, max(1.0, self.rate * 2 * _TICK))
        forgotten = math.exp(-passed / _LATELY)
        self._lately_done = self._lately_done * forgotten + (self.done - self._done_at_tick)
        self._lately_throttled *= forgotten
        self._done_at_tick = self.done
        self._active_sum += self.active
        self._ticks += 1
        if now - self._measured >= _MEASURE:
            self._measure(now)
        self._wake(int(self._tokens))
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._refill)

    def _ceiling(self) -> float:
        return self._allowance.requests_per_second or _RATE_MOST

    def _grown(self, now: float, passed: float) -> float:
        if self._searching:
            return self.rate * math.pow(2.0, passed / self._steer.doubling)
        # Slow near where S3 last throttled, then ever faster: what it takes must have grown (as TCP's CUBIC does).
        undisturbed = (now - self._cut_at) / self._steer.patience
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
        if self._probing:
            self._probe(now, latency)
            return
        self._best_latency = min(self._best_latency, latency)
        bearable = max(self._steer.headroom * self._best_latency, self._best_latency + self._steer.queueing)
        if self._searching and latency > bearable:
            # The store queues what it can't take, instead of throttling: this is the rate it takes.
            self._searching, self._cut_at, self.rate = False, now, self._taken_rate
        window = max(0.8 * self.window, 0.5 * (self.window + self._taken_rate * bearable), self._steer.least_window)
        self.window = min(float(self._most), window)
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
        while count > 0 and self._parked:
            parked = self._parked.popleft()
            if not parked.done():
                parked.set_result(None)
                count -= 1
