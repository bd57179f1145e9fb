"""Requests leave at the end of a turn of the loop, all at once, over whatever kind of connection."""

from __future__ import annotations

import asyncio

import pytest

from airflow_s3batch.core.engine.connection import Connection, kind_for
from airflow_s3batch.core.engine.conversation import Conversation, End, Reset
from airflow_s3batch.core.engine.transport import HttpTransport
from tests.core.engine.conftest import Run

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Wire(asyncio.Transport):
    """Takes what is written, and answers when told to."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.written: list[bytes] = []
        connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)


def wires(pool: HttpTransport, count: int, *, tls: bool) -> list[Wire]:
    kind = kind_for(asyncio.get_running_loop(), tls=tls)
    return [Wire(kind(pool)) for _ in range(count)]


def asking(name: str, statuses: list[int]) -> Conversation[None]:
    for turn in range(3):
        answer = yield f"{name}{turn}".encode()
        statuses.append(answer.status)


def begun(wire: Wire, conversation: Conversation[None]) -> asyncio.Future[bytes | End]:
    said = next(conversation)
    assert isinstance(said, bytes)
    return wire.connection.converse(conversation, said, bodyless=False)


@pytest.mark.parametrize("tls", [False, True])
def test_all_that_is_said_in_a_turn_of_the_loop_leaves_at_its_end(run: Run, *, tls: bool) -> None:
    async def scenario() -> None:
        pool, statuses = HttpTransport(), list[int]()
        some = wires(pool, 3, tls=tls)
        ends = []
        for name, wire in zip("abc", some, strict=True):
            ends.append(begun(wire, asking(name, statuses)))
        assert [wire.written for wire in some] == [[], [], []]
        await asyncio.sleep(0)
        assert [wire.written for wire in some] == [[b"a0"], [b"b0"], [b"c0"]]

        for wire in some[:2]:
            wire.connection.data_received(OK)
        assert [wire.written for wire in some] == [[b"a0"], [b"b0"], [b"c0"]]
        await asyncio.sleep(0)
        assert [wire.written for wire in some] == [[b"a0", b"a1"], [b"b0", b"b1"], [b"c0"]]
        assert statuses == [200, 200]
        assert not any(end.done() for end in ends)
        await pool.aclose()

    run(scenario())


def test_what_was_to_leave_over_a_connection_that_is_lost_in_the_same_turn_is_a_fault_of_its_own_alone(
    run: Run,
) -> None:
    async def scenario() -> None:
        pool, statuses = HttpTransport(), list[int]()
        lost, kept = wires(pool, 2, tls=False)
        ends = []
        for name, wire in (("a", lost), ("b", kept)):
            ends.append(begun(wire, asking(name, statuses)))
        lost.connection.connection_lost(ConnectionResetError("reset by peer"))
        await asyncio.sleep(0)
        assert (lost.written, kept.written) == ([], [b"b0"])
        with pytest.raises(Reset, match="reset by peer"):
            await ends[0]
        kept.connection.data_received(OK)
        await asyncio.sleep(0)
        assert kept.written == [b"b0", b"b1"]
        await pool.aclose()

    run(scenario())


def test_bytes_behind_an_answer_are_no_answer_to_what_has_not_left_yet(run: Run) -> None:
    async def scenario() -> None:
        pool, statuses = HttpTransport(), list[int]()
        (wire,) = wires(pool, 1, tls=False)
        end = begun(wire, asking("a", statuses))
        await asyncio.sleep(0)
        for _ in range(2):  # in one turn: the second would be taken for the next request's
            wire.connection.data_received(OK)
        with pytest.raises(Reset, match="before the request was sent"):
            await end
        assert (wire.written, statuses) == ([b"a0"], [200])
        await pool.aclose()

    run(scenario())
