"""Many requests under random faults: what the outcomes say is what the server did.

100,000 requests in an ordinary run; ``S3BATCH_FAULT_REQUESTS=1000000`` makes a night of it. A failure names its seed.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest

from airflow_s3batch.core.operations import CopyObject, Operation
from tests.core.engine.conftest import Run
from tests.core.engine.flights import TAG, Naps, entries, fly, limits, to
from tests.servers import Move, Request, ScriptedServer, Step, answer, error, error_body

REQUESTS = int(os.environ.get("S3BATCH_FAULT_REQUESTS", "100000"))
SEED = int(os.environ.get("S3BATCH_FAULT_SEED", "20180820"))
RETRIES = 4
IN_FLIGHT = 64

DONE = answer(200, b"<CopyObjectResult/>")
TRANSIENT: Sequence[Sequence[Step]] = (
    [Move.RESET],
    [Move.CLOSE],
    [DONE[:9], Move.RESET],
    [DONE[:-4], Move.CLOSE],
    [b"garbage\r\n\r\n"],
    [answer(200, b"5\r\nabc", {"transfer-encoding": "chunked"}), Move.CLOSE],
    [answer(200, b"abc", {"content-length": "5"}), Move.RESET],
    [error(500, "InternalError")],
    [answer(502, b"<html>")],
    [error(400, "RequestTimeout", headers={"connection": "close"}), Move.CLOSE],
)
# Few: who is told to slow down does, and the test would take hours.
THROTTLED: Sequence[Sequence[Step]] = ([error(503, "SlowDown")], [error(429, "TooManyRequests")], [answer(503)])
# What fails a copy and, since nobody looks into their bodies, is the success of other calls.
INSIDE: Sequence[Sequence[Step]] = ([answer(200, error_body("InternalError"))], [answer(200)])
PERMANENT: dict[str, Sequence[Step]] = {
    "NoSuchKey": [error(404, "NoSuchKey")],
    "AccessDenied": [error(403, "AccessDenied", headers={"connection": "close"}), Move.CLOSE],
    "InvalidObjectState": [error(403, "InvalidObjectState")],
}
SUCCESS: Sequence[Sequence[Step]] = (
    *[[DONE]] * 8,
    [DONE, Move.CLOSE],
    [DONE + b"surplus"],
    [DONE + DONE],
    [b"HTTP/1.1 100 Continue\r\n\r\n" + DONE],
    [DONE[:20], 0.001, DONE[20:]],
    [answer(200, b"13\r\n<CopyObjectResult/>\r\n0\r\n\r\n", {"transfer-encoding": "chunked"})],
    [b"HTTP/1.0 200 OK\r\n\r\n<CopyObjectResult/>", Move.CLOSE],
)


class Store:
    """An S3 in bad health. Remembers, by key, everything that it has answered."""

    def __init__(self, chance: random.Random, transient: Sequence[Sequence[Step]]) -> None:
        self._chance = chance
        self._transient = transient
        self.told: defaultdict[str, list[str]] = defaultdict(list)

    def __call__(self, request: Request) -> Sequence[Step]:
        told = self.told[request.path.rpartition("/")[2]]
        drawn = self._chance.random()
        if drawn < 0.0005:
            told.append("transient")
            return self._chance.choice(THROTTLED)
        if drawn < 0.2:
            told.append("transient")
            return self._chance.choice(self._transient)
        if drawn < 0.25:
            code = self._chance.choice(list(PERMANENT))
            told.append(code)
            return PERMANENT[code]
        told.append("success")
        return self._chance.choice(SUCCESS)


@pytest.mark.parametrize("operation", [TAG, CopyObject("archive")], ids=["tagging", "copies"])
def test_outcomes_are_what_the_server_did(run: Run, operation: Operation) -> None:
    count = REQUESTS // 4
    keys = [f"k{number}" for number in range(count)]
    store = Store(random.Random(SEED), (*TRANSIENT, *INSIDE) if operation is not TAG else TRANSIENT)
    naps = Naps()

    with ScriptedServer(store) as server:
        outcomes = run(
            fly(
                to(server.url), entries(keys), operation, chosen=limits(in_flight=IN_FLIGHT, retries=RETRIES), naps=naps
            )
        )

    assert sorted(outcome.entry.row for outcome in outcomes) == list(range(1, count + 1)), f"seed {SEED}"
    wrong = []
    for outcome in outcomes:
        *before, last = store.told[outcome.entry.key]
        # Transient answers come before the last; the last one decides.
        right = set(before) <= {"transient"} and len(before) <= RETRIES + 3
        if last == "success":
            right &= outcome.succeeded and outcome.http_status == 200
        elif last == "transient":
            right &= not outcome.succeeded and len(before) >= RETRIES and outcome.code != ""
        else:
            right &= (outcome.succeeded, outcome.code) == (False, last)
        if not right:
            wrong.append((outcome, store.told[outcome.entry.key]))
    assert not wrong, f"seed {SEED}: {len(wrong)} outcomes are not what the server did: {wrong[:5]}"

    lasts = Counter("permanent" if told[-1] in PERMANENT else told[-1] for told in store.told.values())
    succeeded = sum(outcome.succeeded for outcome in outcomes)
    assert (succeeded, count - succeeded) == (lasts["success"], lasts["permanent"] + lasts["transient"])
    assert sum(map(len, store.told.values())) == len(server.requests)
    assert len(server.requests) > 1.2 * count, "hardly a fault: the test tests nothing"
