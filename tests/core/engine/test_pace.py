"""`Pace` against a model of S3: time is simulated, so that minutes pass in no time and every run is the same."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_s3batch.core.engine.conversation import Answer
from airflow_s3batch.core.engine.pace import Pace
from airflow_s3batch.core.limits import Allowance

OK, SLOW_DOWN = Answer(200), Answer(503, b"", b"<Error><Code>SlowDown</Code></Error>")


@dataclass
class Prefix:
    """A prefix of S3's: a token bucket of so many requests a second, for all that send to it."""

    rate: float
    latency: float = 0.02
    spread: float = 0.25
    """Requests reach it after half the latency, give or take such a share of it."""
    tokens: float = 0.0
    taken: int = 0
    refused: int = 0
    then: float = field(default=0.0)

    def answer(self, now: float) -> Answer:
        self.tokens = min(self.rate * 0.1, self.tokens + (now - self.then) * self.rate)
        self.then = now
        if self.tokens >= 1:
            self.tokens -= 1
            self.taken += 1
            return OK
        self.refused += 1
        return SLOW_DOWN


class Simulated(asyncio.SelectorEventLoop):
    """A loop whose time is moved by the test."""

    moment = 1_000.0

    def time(self) -> float:
        return self.moment


async def drive(prefix: Prefix, paces: list[Pace], seconds: float, *, seed: int = 7) -> list[int]:
    """Let jobs that always have work send to the prefix for so long; return what each got done."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Simulated)
    chance = random.Random(seed)
    number = itertools.count()
    under_way: list[tuple[float, int, Pace, Answer | None]] = []  # when, which, whose, and the answer once S3 gave it
    before = [pace.done for pace in paces]
    end = loop.moment + seconds
    while loop.moment < end:
        loop.moment += 0.001
        await asyncio.sleep(0)
        while under_way and under_way[0][0] <= loop.moment:
            at, _, pace, answer = heapq.heappop(under_way)
            if answer is None:
                heapq.heappush(under_way, (at + prefix.latency / 2, next(number), pace, prefix.answer(at)))
            else:
                pace.ended(answer)
        for pace in paces:
            while pace.take():
                arrival = loop.moment + prefix.latency * chance.uniform(0.5 - prefix.spread, 0.5 + prefix.spread)
                heapq.heappush(under_way, (arrival, next(number), pace, None))
    for _, _, pace, answer in under_way:
        pace.ended(answer or OK)
    return [pace.done - done for pace, done in zip(paces, before, strict=True)]


def simulate(scenario: Callable[[asyncio.AbstractEventLoop], Coroutine[Any, Any, None]]) -> None:
    loop = Simulated()
    try:
        loop.run_until_complete(scenario(loop))
    finally:
        loop.close()


def started(
    loop: asyncio.AbstractEventLoop,
    allowance: Allowance | None = None,
    *,
    seed: int = 1,
    cpu: Callable[[], float] | None = None,
) -> Pace:
    chance = random.Random(seed).random
    pace = Pace(256, allowance or Allowance(), clock=loop.time, cpu=cpu or (lambda: 0.0), random=chance)
    pace.start()
    return pace


def test_holds_nine_tenths_of_what_s3_takes_and_is_hardly_ever_refused() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        prefix, pace = Prefix(3_500), started(loop)
        await drive(prefix, [pace], 5)
        prefix.taken = prefix.refused = 0
        (done,) = await drive(prefix, [pace], 30)
        pace.stop()
        assert done >= 0.9 * 3_500 * 30
        assert prefix.refused < 0.02 * (prefix.taken + prefix.refused)

    simulate(scenario)


def test_starts_fast_and_is_hardly_ever_refused_in_the_first_ten_seconds() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        prefix, pace = Prefix(3_500, latency=0.03), started(loop)
        (soon,) = await drive(prefix, [pace], 3)
        await drive(prefix, [pace], 7)
        pace.stop()
        assert soon >= 0.75 * 3_500 * 3
        assert prefix.refused < 0.02 * (prefix.taken + prefix.refused)

    simulate(scenario)


def test_a_small_job_on_a_store_nearby_is_not_held_back() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        pace = started(loop)
        (done,) = await drive(Prefix(1e9, latency=0.004), [pace], 1)
        pace.stop()
        assert done >= 10_000

    simulate(scenario)


def test_rate_of_a_store_nearby_is_found_sooner() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        near, far = started(loop), started(loop)
        await drive(Prefix(1e9, latency=0.001), [near], 0.2)
        near.stop()
        assert near.rate >= 20_000
        await drive(Prefix(1e9, latency=0.03), [far], 0.2)
        far.stop()
        assert far.rate <= 17_000

    simulate(scenario)


@pytest.mark.parametrize("latency", [0.001, 0.005, 0.03])
def test_throttling_is_met_softly_however_near_the_store_is(latency: float) -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        prefix, pace = Prefix(3_500, latency=latency), started(loop)
        await drive(prefix, [pace], 10)
        pace.stop()
        assert prefix.refused < 0.03 * (prefix.taken + prefix.refused)

    simulate(scenario)


def test_window_grows_only_where_it_holds_a_job_back() -> None:
    """So that a job opens no connections it doesn't need."""

    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        prefix, pace = Prefix(1e9, latency=0.004), started(loop, Allowance(2_000))
        (done,) = await drive(prefix, [pace], 5)
        assert done >= 0.95 * 2_000 * 5
        assert pace.window <= 32
        prefix.latency = 0.1
        await drive(prefix, [pace], 3)
        (done,) = await drive(prefix, [pace], 5)
        assert done >= 0.95 * 2_000 * 5
        assert pace.window >= 200
        pace.stop()

    simulate(scenario)


@pytest.mark.parametrize(("share", "most", "least"), [(1.0, 32, 1), (0.5, 256, 200)], ids=["full", "half idle"])
def test_window_stays_where_the_core_is_full(share: float, most: int, least: int) -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        pace = started(loop, cpu=lambda: share * loop.time())
        await drive(Prefix(1e9, latency=0.05), [pace], 3)
        pace.stop()
        assert least <= pace.window <= most

    simulate(scenario)


def test_answers_that_wait_for_a_full_core_do_not_end_the_search_for_the_rate() -> None:
    """As when hundreds of connections are opened over TLS."""

    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        full_from = loop.time() + 0.3
        prefix = Prefix(1e9, latency=0.005)
        pace = started(loop, cpu=lambda: min(1.0, max(0.0, loop.time() - full_from)))
        await drive(prefix, [pace], 0.3)
        prefix.latency = 0.3
        await drive(prefix, [pace], 1)
        prefix.latency = 0.005
        await drive(prefix, [pace], 1)
        (done,) = await drive(prefix, [pace], 1)
        pace.stop()
        assert done >= 20_000

    simulate(scenario)


def test_follows_s3_down_within_two_seconds_and_up_within_five() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        prefix, pace = Prefix(3_500), started(loop)
        await drive(prefix, [pace], 10)
        prefix.rate = 1_750
        await drive(prefix, [pace], 2)
        prefix.taken = prefix.refused = 0
        (done,) = await drive(prefix, [pace], 10)
        assert done >= 0.9 * 1_750 * 10
        assert prefix.refused < 0.02 * (prefix.taken + prefix.refused)
        prefix.rate = 3_500
        await drive(prefix, [pace], 5)
        (done,) = await drive(prefix, [pace], 5)
        pace.stop()
        assert done >= 0.9 * 3_500 * 5

    simulate(scenario)


@pytest.mark.parametrize("spread", [0.25, 0.05], ids=["latency varies", "latency hardly varies"])
@pytest.mark.parametrize("seed", range(10))
def test_each_of_two_on_the_same_prefix_gets_its_half_within_a_fifth(seed: int, spread: float) -> None:
    """In any ten seconds from the fifth on after the second one has begun."""

    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        prefix, first = Prefix(3_500, latency=0.03, spread=spread), started(loop, seed=seed)
        await drive(prefix, [first], 5, seed=seed)
        second = started(loop, seed=seed + 100)
        await drive(prefix, [first, second], 5, seed=seed + 1)
        prefix.taken = prefix.refused = 0
        for later in range(2):
            one, other = await drive(prefix, [first, second], 10, seed=seed + 2 + later)
            assert one + other >= 0.9 * 3_500 * 10
            assert 0.4 <= one / (one + other) <= 0.6
        for pace in (first, second):
            pace.stop()
        assert prefix.refused < 0.02 * (prefix.taken + prefix.refused)

    simulate(scenario)


@pytest.mark.parametrize(("jobs", "refused"), [(4, 0.03), (8, 0.05), (16, 0.07)])
def test_many_on_the_same_prefix_use_all_of_it_and_are_seldom_refused(jobs: int, refused: float) -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        prefix = Prefix(3_500, latency=0.03)
        paces = [started(loop, seed=seed) for seed in range(jobs)]
        await drive(prefix, paces, 10)
        prefix.taken = prefix.refused = 0
        done = await drive(prefix, paces, 10)
        for pace in paces:
            pace.stop()
        assert sum(done) >= 0.95 * 3_500 * 10
        assert prefix.refused < refused * (prefix.taken + prefix.refused)
        assert max(done) <= 2 * min(done)

    simulate(scenario)


def test_a_store_that_refuses_a_few_at_any_rate_does_not_slow_a_job_down() -> None:
    class Moody(Prefix):
        def answer(self, now: float) -> Answer:
            return SLOW_DOWN if chance.random() < 0.005 else super().answer(now)

    chance = random.Random(3)

    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        prefix, pace = Moody(3_500), started(loop)
        await drive(prefix, [pace], 10)
        (done,) = await drive(prefix, [pace], 60)
        pace.stop()
        assert done >= 0.95 * 3_500 * 60

    simulate(scenario)


@pytest.mark.parametrize("limit", [5.0, 100.0, 2_000.0])
def test_never_sends_more_than_allowed(limit: float) -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        allowance, prefix = Allowance(limit), Prefix(1e9)
        pace = started(loop, allowance)
        (done,) = await drive(prefix, [pace], 20)
        assert 0.9 * limit * 20 <= done <= limit * 20 * 1.02 + 2
        allowance.requests_per_second = limit / 2
        (done,) = await drive(prefix, [pace], 20)
        pace.stop()
        assert done <= limit * 10 * 1.02 + 2

    simulate(scenario)


def test_a_store_that_queues_instead_of_throttling_is_not_driven_into_a_long_queue() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        pace = started(loop)
        assert isinstance(loop, Simulated)
        queue: deque[float] = deque()
        free_at, served = loop.moment, 0
        for _ in range(20_000):
            loop.moment += 0.001
            await asyncio.sleep(0)
            while queue and queue[0] <= loop.moment:
                queue.popleft()
                pace.ended(OK)
                served += 1
            while pace.take():
                # One server, 1 ms a request, behind 5 ms of network: more in flight only wait for each other.
                free_at = max(free_at, loop.moment) + 0.001
                queue.append(free_at + 0.005)
        pace.stop()
        assert served >= 0.9 * 20_000
        assert pace.window < 0.12 * 1_000  # a request waits 0.1 s, and not the 0.26 s of 256 in flight

    simulate(scenario)


@pytest.mark.parametrize("slower", [0.04, 0.5])
def test_a_store_that_has_become_slower_gets_as_many_requests_in_flight_as_before(slower: float) -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        prefix, pace = Prefix(1e9, latency=0.01), started(loop, Allowance(5_000))
        await drive(prefix, [pace], 10)
        prefix.latency = slower
        await drive(prefix, [pace], 20)
        (done,) = await drive(prefix, [pace], 20)
        pace.stop()
        assert done >= 0.85 * 20 * min(5_000, 256 / slower)

    simulate(scenario)


def test_a_right_given_back_can_be_taken_again() -> None:
    async def scenario(loop: asyncio.AbstractEventLoop) -> None:
        pace = started(loop, Allowance(1.0))
        assert isinstance(loop, Simulated)
        loop.moment += 1.0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pace.take()
        assert not pace.take()
        pace.give_back()
        assert pace.take()
        pace.stop()

    simulate(scenario)
