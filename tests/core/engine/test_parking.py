"""A conversation that has nothing to ask for a while: its connection is an idle one meanwhile, and it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import pytest

from airflow_s3batch.core.engine.compiled import Origin
from airflow_s3batch.core.engine.conversation import Conversation, Park
from airflow_s3batch.core.engine.pace import Pace
from airflow_s3batch.core.engine.transport import HttpTransport
from airflow_s3batch.core.limits import Allowance
from tests.core.engine.conftest import Run
from tests.core.engine.flights import entries, fly, limits, to
from tests.servers import Move, ScriptedServer, Step, answer

ASK = b"GET /thing HTTP/1.1\r\nhost: here\r\n\r\n"
MEANWHILE: dict[str, tuple[Sequence[Step], int]] = {
    "nothing happens": ([answer(200)], 1),
    "the server closes": ([answer(200), Move.CLOSE], 2),
    "the server resets": ([answer(200), 0.02, Move.RESET], 2),
    "bytes come that nobody asked for": ([answer(200), 0.02, answer(500)], 2),
}
"""What the server does after an answer, and over how many connections two requests go then."""


def asking(park: Park) -> Conversation[list[int]]:
    """Ask, wait, ask again; the two statuses."""
    statuses: list[int] = []
    for _ in range(2):
        yield park
        statuses.append((yield ASK).status)
    return statuses


async def talking(server: ScriptedServer, scenario: Callable[[HttpTransport, Origin], Coroutine[Any, Any, Any]]) -> Any:
    transport = HttpTransport(read_timeout=5.0)
    try:
        return await scenario(transport, Origin(False, "127.0.0.1", server.port))
    finally:
        await transport.aclose()


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_conversation_goes_on_whatever_becomes_of_its_connection_meanwhile(run: Run, meanwhile: str) -> None:
    steps, connections = MEANWHILE[meanwhile]

    async def scenario(transport: HttpTransport, origin: Origin) -> list[int]:
        parked: asyncio.Queue[Callable[[], object]] = asyncio.Queue()
        talk = asyncio.create_task(transport.converse(origin, asking(parked.put_nowait)))
        for _ in range(2):
            go_on = await parked.get()
            await asyncio.sleep(0.1)
            go_on()
        return await talk

    with ScriptedServer(lambda _: steps) as server:
        assert run(talking(server, scenario)) == [200, 200]
        assert len(server.requests) == 2
        assert server.greeted == connections


def test_conversation_that_was_cancelled_meanwhile_asks_nothing_more(run: Run) -> None:
    async def scenario(transport: HttpTransport, origin: Origin) -> None:
        parked: asyncio.Queue[Callable[[], object]] = asyncio.Queue()
        talk = asyncio.create_task(transport.converse(origin, asking(parked.put_nowait)))
        (await parked.get())()
        go_on = await parked.get()
        talk.cancel()
        await asyncio.gather(talk, return_exceptions=True)
        go_on()
        await asyncio.sleep(0.05)
        assert talk.cancelled()

    with ScriptedServer(lambda _: [answer(200)]) as server:
        run(talking(server, scenario))
        assert len(server.requests) == 1


def test_who_came_last_goes_on_first_but_after_all_who_hold_an_object() -> None:
    async def scenario() -> list[str]:
        pace = Pace(256, Allowance(50.0), clock=asyncio.get_running_loop().time)
        order: asyncio.Queue[str] = asyncio.Queue()

        def turn(name: str) -> None:
            if pace.take():
                order.put_nowait(name)
            else:
                pace.park(partial(turn, name))

        async def retry() -> None:
            await pace.wait()
            order.put_nowait("a retry")

        turn("first")
        turn("last")
        retrying = asyncio.create_task(retry())
        await asyncio.sleep(0)
        pace.start()
        came = [await order.get() for _ in range(3)]
        pace.stop()
        await retrying
        return came

    assert asyncio.run(scenario()) == ["a retry", "last", "first"]


def test_as_few_connections_are_opened_as_the_rate_needs(run: Run) -> None:
    with ScriptedServer(lambda _: [answer(200)]) as server:
        chosen = limits(in_flight=64, requests_per_second=100)
        outcomes = run(fly(to(server.url), entries(f"key-{n}" for n in range(60)), chosen=chosen))
        assert all(outcome.succeeded for outcome in outcomes)
        assert server.greeted <= 16


def test_all_lanes_end_at_once_when_no_entry_is_left(run: Run) -> None:
    async def scenario(url: str) -> float:
        began = asyncio.get_running_loop().time()
        await fly(to(url), entries(["a", "b"]), chosen=limits(in_flight=1_000, requests_per_second=20))
        return asyncio.get_running_loop().time() - began

    with ScriptedServer(lambda _: [answer(200)]) as server:
        assert run(scenario(server.url)) < 5.0
