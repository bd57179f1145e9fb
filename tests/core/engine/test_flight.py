"""Entries in, outcomes out: exactly one each, whoever is slow and whoever fails."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.operations import CopyObject
from airflow_s3batch.core.rows import Entry, Outcome
from tests.core.engine.conftest import Run
from tests.core.engine.flights import TAG, Naps, entries, fly, in_lists, limits, to
from tests.servers import Request, ScriptedServer, Step, answer, error

IN_FLIGHT = 8
OK = answer(200)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """Does what it is asked for, but a key with "bad" in it isn't there."""

    def script(request: Request) -> Sequence[Step]:
        return [error(404, "NoSuchKey") if "bad" in request.path else OK]

    with ScriptedServer(script) as server:
        yield server


def numbered(count: int) -> list[Entry]:
    return entries(f"{'bad' if number % 7 == 3 else 'k'}{number}" for number in range(count))


def assert_one_right_outcome_each(outcomes: Sequence[Outcome], some: Sequence[Entry]) -> None:
    assert sorted(outcome.entry for outcome in outcomes) == sorted(some)
    assert not [outcome for outcome in outcomes if outcome.succeeded == ("bad" in outcome.entry.key)]


@pytest.mark.parametrize(
    ("count", "size"),
    [
        *itertools.product([0, 1, IN_FLIGHT - 1, IN_FLIGHT, IN_FLIGHT + 1, 2 * IN_FLIGHT + 1], [1, 7, 1_000]),
        (10_000, 7),
        (10_000, 10_000),
    ],
)
def test_every_entry_has_one_right_outcome(run: Run, server: ScriptedServer, count: int, size: int) -> None:
    some = numbered(count)

    outcomes = run(fly(to(server.url), some, chosen=limits(in_flight=IN_FLIGHT), size=size))

    assert_one_right_outcome_each(outcomes, some)


def test_lists_may_be_of_any_size_and_empty(run: Run, server: ScriptedServer) -> None:
    some = numbered(3_000)
    sizes = random.Random(7)

    async def oddly() -> AsyncIterator[list[Entry]]:
        rest = iter(some)
        while batch := list(itertools.islice(rest, sizes.choice([1, 2, 50, 333]))):
            yield []
            yield batch
        yield []

    async def fly_oddly() -> list[Outcome]:
        async with S3(to(server.url), limits(in_flight=IN_FLIGHT)) as s3:
            return [outcome async for done in s3.run(oddly(), TAG) for outcome in done]

    assert_one_right_outcome_each(run(fly_oddly()), some)


@pytest.mark.parametrize("in_flight", [1, 2, 300])
def test_any_number_may_be_in_flight(run: Run, server: ScriptedServer, in_flight: int) -> None:
    some = numbered(1_000)

    assert_one_right_outcome_each(run(fly(to(server.url), some, chosen=limits(in_flight=in_flight))), some)


def test_lanes_are_begun_as_the_window_widens(run: Run) -> None:
    """A small job, or one far below what may be in flight, isn't made to pay for a thousand lanes."""
    begun: list[int] = []

    async def counting(url: str) -> list[Outcome]:
        before = len(asyncio.all_tasks())

        async def slowly() -> AsyncIterator[list[Entry]]:
            some = numbered(4_000)
            for at in range(0, len(some), 200):
                begun.append(len(asyncio.all_tasks()) - before)
                yield some[at : at + 200]

        async with S3(to(url), limits(in_flight=400)) as s3:
            return [outcome async for done in s3.run(slowly(), TAG) for outcome in done]

    with ScriptedServer(lambda _: [0.05, answer(200)]) as slow:
        assert len(run(counting(slow.url))) == 4_000
    assert begun[0] < 64
    assert max(begun) > 200


def test_no_more_is_in_flight_than_allowed(run: Run) -> None:
    connections: set[int] = set()

    def script(request: Request) -> Sequence[Step]:
        connections.add(request.connection)
        return [0.002, OK]

    with ScriptedServer(script) as slow:
        run(fly(to(slow.url), numbered(200), chosen=limits(in_flight=5)))

    assert len(connections) <= 5


def test_slow_reader_loses_nothing_and_holds_the_feeder_back(run: Run, server: ScriptedServer) -> None:
    some = numbered(40_000)
    fed = 0
    ahead: list[int] = []

    async def feed() -> AsyncIterator[list[Entry]]:
        nonlocal fed
        async for batch in in_lists(some, 1_000):
            fed += len(batch)
            yield batch

    async def read_slowly() -> list[Outcome]:
        outcomes: list[Outcome] = []
        async with S3(to(server.url), limits(in_flight=64)) as s3:
            async for done in s3.run(feed(), TAG):
                outcomes += done
                if not ahead:
                    await asyncio.sleep(3.0)
                    ahead.append(fed - len(outcomes))
        return outcomes

    assert_one_right_outcome_each(run(read_slowly()), some)
    assert max(ahead) < 30_000, "outcomes pile up without a bound while nobody reads them"


def test_slow_feeder_is_waited_for(run: Run, server: ScriptedServer) -> None:
    some = numbered(40)

    async def feed() -> AsyncIterator[list[Entry]]:
        async for batch in in_lists(some, 8):
            await asyncio.sleep(0.05)
            yield batch

    async def fly_slowly() -> list[Outcome]:
        async with S3(to(server.url), limits(in_flight=16)) as s3:
            return [outcome async for done in s3.run(feed(), TAG) for outcome in done]

    assert_one_right_outcome_each(run(fly_slowly()), some)


def test_outcomes_come_while_the_feeder_still_waits(run: Run, server: ScriptedServer) -> None:
    async def first_outcomes() -> list[Outcome]:
        never = asyncio.Event()

        async def feed() -> AsyncIterator[list[Entry]]:
            yield numbered(10)
            await never.wait()

        async with S3(to(server.url), limits(in_flight=4)) as s3:
            outcomes = s3.run(feed(), TAG)
            got: list[Outcome] = []
            while len(got) < 10:
                got += await asyncio.wait_for(outcomes.__anext__(), 5.0)
            await outcomes.aclose()
            return got

    assert_one_right_outcome_each(run(first_outcomes()), numbered(10))


@pytest.mark.parametrize("before", [0, 1, 5_000])
def test_error_of_the_feeder_reaches_the_reader_after_the_outcomes_so_far(
    run: Run, server: ScriptedServer, before: int
) -> None:
    some = numbered(before)
    done: list[Outcome] = []

    class Torn(Exception):
        pass

    async def feed() -> AsyncIterator[list[Entry]]:
        async for batch in in_lists(some, 1_000):
            yield batch
        await asyncio.sleep(0.3)
        raise Torn("the manifest was torn")

    async def fly_until_torn() -> None:
        async with S3(to(server.url), limits(in_flight=IN_FLIGHT)) as s3:
            async for outcomes in s3.run(feed(), TAG):
                done.extend(outcomes)

    with pytest.raises(Torn):
        run(asyncio.wait_for(fly_until_torn(), 20.0))

    assert len(done) == len({outcome.entry.row for outcome in done})
    assert {outcome.entry for outcome in done} <= set(some)
    assert len(done) >= before - 3 * IN_FLIGHT


def test_operation_that_cannot_be_compiled_ends_the_run(run: Run, server: ScriptedServer) -> None:
    some = entries(["a"], bucket="arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap")

    with pytest.raises(InvalidInput, match="multi-region access point"):
        run(asyncio.wait_for(fly(to(server.url), some), 10.0))


def test_check_refuses_before_anything_is_sent(run: Run) -> None:
    async def check() -> None:
        async with S3(to("http://127.0.0.1:1"), limits()) as s3:
            s3.check(TAG, "lake")
            with pytest.raises(InvalidInput, match="directory bucket"):
                s3.check(TAG, "lake--use1-az4--x-s3")

    run(check())


def test_buckets_and_versions_of_one_manifest_may_be_mixed(run: Run, server: ScriptedServer) -> None:
    some = [
        Entry(row, f"bucket{row % 3}", f"k{row}", None if row % 2 else f"v{row}", f"k{row}") for row in range(1, 301)
    ]
    before = len(server.requests)

    outcomes = run(fly(to(server.url), some))

    assert_one_right_outcome_each(outcomes, some)
    asked = {request.target.replace("?tagging", "").replace("&versionId=", "@") for request in server.requests[before:]}
    assert asked == {f"/{entry.bucket}/{entry.key}{f'@{entry.version}' if entry.version else ''}" for entry in some}


def test_copies_of_a_versioned_object_name_the_version_in_the_source(run: Run) -> None:
    with ScriptedServer(lambda _: [answer(200, b"<CopyObjectResult/>")]) as copying:
        run(fly(to(copying.url), entries(["a b"], version="v1"), CopyObject("archive", target_prefix="old/")))

    (request,) = copying.requests
    assert request.target == "/archive/old/a%20b"
    assert request.header("x-amz-copy-source") == "lake/a%20b?versionId=v1"


class TestStop:
    def test_nothing_is_begun_after_a_stop_and_what_is_in_flight_ends(self, run: Run) -> None:
        set_stop: list[Callable[[], object]] = []
        asked = itertools.count(1)

        def script(_: Request) -> Sequence[Step]:
            if next(asked) == 100:
                set_stop[0]()
            return [0.01, OK]

        async def stop_in_the_middle(url: str) -> list[Outcome]:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            set_stop.append(lambda: loop.call_soon_threadsafe(stop.set))
            async with S3(to(url), limits(in_flight=8)) as s3:
                running = s3.run(in_lists(numbered(50_000), 1_000), TAG, stop=stop)
                return [outcome async for done in running for outcome in done]

        with ScriptedServer(script) as slow:
            done = run(asyncio.wait_for(stop_in_the_middle(slow.url), 20.0))

        assert 100 <= len(done) < 1_000
        assert len({outcome.entry.row for outcome in done}) == len(done) == len(slow.requests)

    def test_stop_set_from_the_start_does_nothing(self, run: Run, server: ScriptedServer) -> None:
        async def stopped() -> int:
            stop = asyncio.Event()
            stop.set()
            async with S3(to(server.url), limits(), sleep=Naps()) as s3:
                return sum([len(done) async for done in s3.run(in_lists(numbered(1_000), 100), TAG, stop=stop)])

        before = len(server.requests)
        assert run(asyncio.wait_for(stopped(), 10.0)) <= 8
        assert len(server.requests) - before <= 8
