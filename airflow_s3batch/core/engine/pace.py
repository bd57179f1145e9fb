"""`Pace`: how many requests may start now. Finds what S3 takes, and stays just below it.

Two quantities are steered, both without a clock or a timer an object:

- the *rate* (requests a second): doubles until S3 throttles for the first time, then grows by the same amount for
  everybody. A throttled answer begins a *look*: for a moment answers are counted, and if too many of them were
  throttled, the rate is cut to a share of itself. S3 refuses all who send to a prefix at the same moments, so jobs that
  share one look at the same time and cut by the same share, while they grow by the same amount: with each cut their
  rates are less far apart (additive increase, multiplicative decrease);
- the *window* (requests in flight): as many as the rate needs, at most a few times what the best latency seen needs
  for the throughput seen (Little's law): a store that queues instead of throttling isn't driven into a long queue.
"""

from __future__ import annotations

import asyncio
import math
import random as randomness
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from airflow_s3batch.core.engine.conversation import Answer, Fault
from airflow_s3batch.core.engine.retry import is_throttle, read_error
from airflow_s3batch.core.limits import Allowance

__all__ = ["Pace", "Steering"]


@dataclass(frozen=True, kw_only=True)
class Steering:
    """How `Pace` finds its way. The defaults come from ``benchmarks/throttling.py``."""

    first_rate: float = 3_500.0
    """Requests a second to start with: what S3 takes a partitioned prefix."""
    doubling: float = 0.1
    """Seconds in which the rate doubles until S3 throttles for the first time …"""
    doubling_near: float = 0.04
    """… where all requests are answered by the next refill: a store so near would have throttled them by then."""
    growth: float = 400.0
    """Requests a second by which the rate grows in a second after that, the same for every job."""
    patience: float = 2.0
    """Seconds without a cut after which the growth has doubled; it goes on growing like that."""
    small: float = 900.0
    """A rate below this grows by less, by the root of its share of this: many jobs on one prefix, each of them small,
    would overshoot together what they share."""
    look: float = 0.05
    """Seconds in which answers are counted, from a throttled one on: all who share a prefix get some of those …"""
    least_answers: int = 15
    """… and longer, until there are so many."""
    tolerated: float = 0.03
    """Share of throttled answers in a look that lowers nothing: stores refuse a few for reasons of their own, at any
    rate."""
    cut: float = 0.75
    """Share of the rate that is kept when more were throttled; less if S3 took less …"""
    least_kept: float = 0.05
    """… but never less than this."""
    settling: float = 0.1
    """Seconds after a cut in which throttled answers count for nothing, nor does the rate grow: others on the prefix
    may have to cut yet. It lasts at least until all is answered that was in flight."""
    headroom: float = 3.0
    """The window lets a request take so many times the best latency …"""
    queueing: float = 0.05
    """… or so many seconds more, whichever is more: a short queue keeps a store busy."""
    narrow: float = 0.25
    """Share of the refills that find all of the window in use and rights left, from which on the window may grow."""
    least_window: int = 16
    first_window: int = 32
    """Requests in flight to begin with: few enough for a latency without a queue to be seen."""


_TICK = 0.01
"""Seconds between two refills, more or less: a burst is what the rate allows in this time. At even intervals, of two
jobs the one whose bursts come soon after the other's would be refused more, time after time."""
_RATE_MOST = 1e6
"""Requests a second that nothing here comes near."""
_LOOK_MOST = 2.0
"""Seconds that a look or the settling after a cut takes at most, however few answers come."""
_MEASURE, _MEASURE_MOST = 0.2, 2.0
"""Seconds over which throughput is measured: twice the latency, so that what ends in them was begun in them."""
_CORE_IS_FULL = 0.9
"""Share of the time that the engine's thread has taken the CPU for, from which on it had hardly a moment to wait."""
_PROBE_EVERY = 10.0
"""Seconds between two looks at the latency without a queue."""
_PROBE = 2
"""Measurements that such a look takes: in the first, the queue drains."""


@dataclass(slots=True)
class _Look:
    """Answers that are being counted."""

    began: float
    seconds: float
    answers: int
    done: int
    throttled: int
    settling: bool = False

    def is_over(self, now: float, answers: int) -> bool:
        """Whether enough have come, of all the answers there were so far."""
        passed = now - self.began
        enough = answers - self.done - self.throttled >= self.answers
        return passed >= _LOOK_MOST or (enough and passed >= self.seconds)


class Pace:
    """Gives out the right to start a request, to one partition's lanes.

    Args:
        in_flight: most requests in flight, where the allowance says nothing else.
        allowance: most requests a second, and in flight; looked at again and again.
        clock: monotonic seconds.
        cpu: seconds of CPU that the engine's thread has taken.
        on_wider: called when more may be in flight than ever before.
        random: chance, from 0 to 1.
    """

    def __init__(
        self,
        in_flight: int,
        allowance: Allowance,
        *,
        steering: Steering | None = None,
        clock: Callable[[], float],
        cpu: Callable[[], float] = time.thread_time,
        on_wider: Callable[[], object] = lambda: None,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._steer = steering or Steering()
        self._on_wider = on_wider
        self.window = self._widest = float(min(in_flight, self._steer.first_window))
        self.active = 0
        """Requests in flight now."""
        self.throttled = 0
        """Answers so far that asked for fewer requests."""
        self.done = 0
        """Answers so far that didn't."""
        self._in_flight = in_flight
        self._allowance = allowance
        self._clock = clock
        self._cpu = cpu
        self._cpu_before = cpu()
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
        self._look: _Look | None = None
        self._cut_at = 0.0
        self._done_before = self._active_sum = self._ticks = self._held_back = 0
        self._taken_rate = 0.0
        self._period = _MEASURE
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

    def dropped(self) -> None:
        """A request has been given up: how it would have ended isn't known."""
        self.active -= 1

    def ended(self, result: Answer | Fault) -> None:
        """A request has ended somehow: slow down if S3 asks for it."""
        self.answered()
        if isinstance(result, Answer) and is_throttle(result.status, read_error(result.status, result.body)[0]):
            self.done -= 1
            self.throttled += 1
            if self._look is None:
                steer = self._steer
                self._look = _Look(self._clock(), steer.look, steer.least_answers, self.done, self.throttled - 1)

    def _look_on(self, now: float) -> None:
        """End the look there is, if it is over."""
        look = self._look
        if look is None or not look.is_over(now, self.done + self.throttled):
            return
        self._look = None
        if look.settling:
            self._cut_at = now
        else:
            self._judge(look)

    def _judge(self, look: _Look) -> None:
        """Cut the rate if more than a few of the answers in the look were throttled."""
        done, throttled = self.done - look.done, self.throttled - look.throttled
        # Without the one that the look began with: it would be there at any rate.
        if throttled - 1 <= self._steer.tolerated * (done + throttled):
            return
        kept = max(self._steer.least_kept, min(self._steer.cut, done / (done + throttled)))
        self.rate = max(1.0, self.rate * kept)
        self._tokens = 0.0
        self._searching = False
        self._look = _Look(self._clock(), self._steer.settling, self.active, self.done, self.throttled, settling=True)

    def _refill(self) -> None:
        now = self._clock()
        passed, self._refilled = now - self._refilled, now
        self._held_back += self._tokens >= 1.0 and self.active >= self.window
        self._look_on(now)
        if self._starved and not (self._look and self._look.settling):
            # Only a rate that held lanes back may grow: one that nobody uses says nothing about what S3 takes.
            self.rate = self._grown(now, passed)
        self.rate = min(self.rate, self._ceiling())
        self._tokens = min(self._tokens + self.rate * passed, max(1.0, self.rate * 3 * _TICK))
        self._starved = self._tokens < 1.0 and self.active < self.window and bool(self._waiting or self._parked)
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
            if self._look is not None:  # it may be too much already
                return self.rate
            doubling = self._steer.doubling if self.active else self._steer.doubling_near
            return self.rate * math.pow(2.0, passed / doubling)
        # Slow near where S3 last throttled, then ever faster: what it takes must have grown (as TCP's CUBIC does).
        undisturbed = (now - self._cut_at) / self._steer.patience
        small = math.sqrt(min(1.0, self.rate / self._steer.small))
        return self.rate + self._steer.growth * small * (1.0 + undisturbed) * passed

    def _measure(self, now: float) -> None:
        """Throughput and, by Little's law, latency since the last look; set the window by them."""
        passed, self._measured = now - self._measured, now
        done, self._done_before = self.done - self._done_before, self.done
        active, self._active_sum = self._active_sum / max(1, self._ticks), 0
        cpu, self._cpu_before = self._cpu() - self._cpu_before, self._cpu()
        # Where the core is full, what is in flight waits for this very thread: more of it would, too, and how long says
        # nothing about the store.
        is_full = cpu >= _CORE_IS_FULL * passed
        narrow = self._held_back > self._steer.narrow * self._ticks and not is_full
        self._ticks = self._held_back = 0
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
        if self._searching and latency > bearable and not is_full:
            # The store queues what it can't take, instead of throttling: this is the rate it takes.
            self._searching, self._cut_at, self.rate = False, now, self._taken_rate
        # Only a window that held lanes back may grow: what nobody needs would be connections opened in vain. It doubles
        # at most, so that connections are opened a few at a time.
        wanted = min(self._taken_rate * bearable, (3 if narrow else 1) * self.window)
        window = max(0.8 * self.window, 0.5 * (self.window + wanted), self._steer.least_window)
        self.window = min(float(self.most), window)
        if self.window > self._widest:
            self._widest = self.window
            self._on_wider()
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
