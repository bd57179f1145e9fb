"""Suite *throttling*: a server far away, and one that takes only so many requests a second, as S3 does for a prefix."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, NamedTuple

from benchmarks.machine import CLIENT_CORE, on_core
from benchmarks.sample import Case
from benchmarks.slow_s3 import Answered, SlowS3, slow_s3
from benchmarks.tools import ROOT
from benchmarks.wrk import wrk

__all__ = ["CAPACITY", "LATENCY", "Second", "far_away", "halved_and_doubled", "shared", "slower", "steady"]

CAPACITY = 3500
"""Requests a second that S3 takes a prefix (PUT, COPY, POST, DELETE)."""
LATENCY = 0.03
"""Seconds."""
_WARM_UP = 4
"""Seconds until a flight has found its pace."""


class Second(NamedTuple):
    """What a server answered in one second, to all clients and to each."""

    at: int
    ok: int
    refused: int
    each: dict[str, int]


def far_away(in_flight: int) -> Case:
    """A server that answers after 30 ms: how much is reached of what `wrk` reaches with as many connections."""

    def run() -> dict[str, Any]:
        with slow_s3(latency=LATENCY) as server:
            most = wrk(server.url, in_flight, 3)
            client = _start(server, "A", _WARM_UP + 5, in_flight)
            steady = _watch(server, _WARM_UP + 5, {})[_WARM_UP : _WARM_UP + 4]
            told = _ended(client)
        reached = sum(second.ok for second in steady) / len(steady)
        return {
            **told,
            "of_latency": reached / (in_flight / LATENCY),
            "of_wrk": reached / most["objects"] * most["wall"],
        }

    return Case("far away", "engine", f"30 ms, {in_flight} in flight", run)


def slower() -> Case:
    """A server that answers after 10 ms, and from the fifth second on after 40, whatever the client does."""

    def run() -> dict[str, Any]:
        with slow_s3(latency=0.01) as server:
            client = _start(server, "A", 5 + 13, 100)
            _watch(server, 4, {})
            server.set_latency(0.04)
            seconds = _watch(server, 12, {})[4:]
            told = _ended(client)
        return {**told, "of_latency": sum(second.ok for second in seconds) / len(seconds) / (100 / 0.04)}

    return Case("slower", "engine", "10 ms, then 40 ms, 100 in flight", run)


def steady(in_flight: int = 256) -> Case:
    """A capacity that stays: how much of it is used, and how much refused."""

    def run() -> dict[str, Any]:
        with slow_s3(latency=LATENCY, rate=CAPACITY) as server:
            client = _start(server, "A", 21, in_flight)
            seconds = _watch(server, 20, {})
            told = _ended(client)
        return {**told, **_shares(seconds[8:], CAPACITY), "seconds": seconds}

    return Case("throttling", "engine", f"{CAPACITY}/s, {in_flight} in flight", run)


def halved_and_doubled() -> Case:
    """A capacity that halves after 8 s, and comes back after another 8."""

    def run() -> dict[str, Any]:
        with slow_s3(latency=LATENCY, rate=CAPACITY) as server:
            client = _start(server, "A", 33, 256)
            seconds = _watch(server, 32, {8: CAPACITY / 2, 16: CAPACITY})
            told = _ended(client)
        return {
            **told,
            "halved": _shares(seconds[10:16], CAPACITY / 2),
            "recovered": _shares(seconds[24:], CAPACITY),
            "back_after": _back_after(seconds[16:], 0.9 * CAPACITY),
            "seconds": seconds,
        }

    return Case("throttling", "engine", "capacity halves and doubles", run)


def shared() -> Case:
    """Two processes on one prefix, the second begun 5 s after the first."""

    def run() -> dict[str, Any]:
        with slow_s3(latency=LATENCY, rate=CAPACITY) as server:
            first = _start(server, "A", 42, 256)
            before = _watch(server, 5, {})
            second = _start(server, "B", 34, 256)
            seconds = _watch(server, 30, {})
            told = _ended(first)
            _ended(second)
        return {**told, **_shares(seconds[10:], CAPACITY), "seconds": [*before, *seconds]}

    return Case("throttling", "engine", "two processes, one prefix", run)


def _shares(seconds: list[Second], capacity: float) -> dict[str, float]:
    ok, refused = sum(second.ok for second in seconds), sum(second.refused for second in seconds)
    return {"used": ok / len(seconds) / capacity, "refused": refused / (ok + refused)}


def _back_after(seconds: list[Second], wanted: float) -> int:
    """In which of the seconds it was reached; their number if in none."""
    return next((at for at, second in enumerate(seconds, 1) if second.ok >= wanted), len(seconds))


def _start(server: SlowS3, name: str, seconds: int, in_flight: int) -> subprocess.Popen[str]:
    told = {"url": server.url, "name": name, "seconds": seconds, "in_flight": in_flight}
    command = [sys.executable, "-m", "benchmarks.clients.flight", json.dumps(told)]
    client = subprocess.Popen(on_core(CLIENT_CORE, command), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    while not server.answered().get(name):
        time.sleep(0.02)
    return client


def _ended(client: subprocess.Popen[str]) -> dict[str, Any]:
    printed, _ = client.communicate(timeout=60)
    told: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return told


def _watch(server: SlowS3, seconds: int, rates: dict[int, float]) -> list[Second]:
    """Look at the server every second; set the rates at their seconds."""
    found, began, last = [], time.monotonic(), server.answered()
    for at in range(seconds):
        if at in rates:
            server.set_rate(rates[at])
        time.sleep(max(0.0, began + at + 1 - time.monotonic()))
        now = server.answered()
        gone = {
            who: Answered(ok - last.get(who, Answered(0, 0)).ok, no - last.get(who, Answered(0, 0)).refused)
            for who, (ok, no) in now.items()
        }
        ok, refused = sum(one.ok for one in gone.values()), sum(one.refused for one in gone.values())
        found.append(Second(at, ok, refused, {who: one.ok for who, one in gone.items()}))
        last = now
    return found
