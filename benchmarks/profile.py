"""Suite *profile*: where the microseconds of the whole path go, sampled by py-spy down into C and the kernel."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.nginx import CannedS3
from benchmarks.run_partition import put_manifest, settings
from benchmarks.sample import finish
from benchmarks.tools import peers

__all__ = ["PARTS", "shares"]

_ROWS = 300_000
_RATE = 250
"""Samples a second."""

PARTS = {
    "send": "the kernel: `write` of the request",
    "receive": "the kernel: `read` of the answer",
    "wait": "the kernel: `epoll`, waiting for answers included",
    "loop": "the event loop around them (uvloop)",
    "transport": "parsing the answer (httptools), deadlines, keep-alive (`connection.py`, `transport.py`)",
    "signing": "encoding the key, SigV4, the request's bytes (`signing.py`, `compiled.py`)",
    "flight": "taking the next entry, pace, outcome (`flight.py`, `route.py`, `pace.py`)",
    "manifest": "the manifest's rows into entries (`manifest/`, `partition.py`)",
    "journal": "outcomes into result files and checkpoints (`run.py`, `journal.py`, `results.py`, `rowset.py`, …)",
    "gc": "Python's garbage collector",
    "rest": "the rest: a few calls through botocore, asyncio",
}
_KERNEL = {
    "write": "send",
    "send": "send",
    "sendmsg": "send",
    "writev": "send",
    "read": "receive",
    "recv": "receive",
    "recvmsg": "receive",
    "epoll_wait": "wait",
    "epoll_pwait": "wait",
    "epoll_pwait2": "wait",
}
_MODULES = {
    "engine/loop.py": "loop",
    "engine/transport.py": "transport",
    "engine/connection.py": "transport",
    "engine/conversation.py": "transport",
    "engine/signing.py": "signing",
    "engine/compiled.py": "signing",
    "engine/flight.py": "flight",
    "engine/client.py": "flight",
    "engine/route.py": "flight",
    "engine/pace.py": "flight",
    "core/manifest/": "manifest",
    "core/partition.py": "manifest",
    "urllib/parse.py": "manifest",
    "core/": "journal",
}
"""The first that fits the innermost Python frame."""
_NOT_THE_RUN = ("importlib", "thread.py", "prepare.py", "compile.py")
"""Frames of start-up and preparation, which an object doesn't pay, and of idle threads."""


def shares(server: CannedS3) -> dict[str, float]:
    """Which share of the run goes to each of `PARTS`; together 1."""
    put_manifest(server, _ROWS)
    told = settings(server, _ROWS, in_flight=256, operation="PutObjectTagging", loop="uvloop", tls=False)
    with tempfile.TemporaryDirectory() as folder:
        stacks = Path(folder) / "stacks.txt"
        client = [
            sys.executable,
            "-m",
            "benchmarks.clients.run_partition",
            json.dumps({**told, "report": "reports/profile"}),
        ]
        spy = [
            str(peers() / "py-spy"),
            "record",
            "--native",
            "--rate",
            str(_RATE),
            "--format",
            "raw",
            "--output",
            str(stacks),
        ]
        finish([*spy, "--", *client])
        counted: Counter[str] = Counter()
        for line in stacks.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            if not any(part in stack for part in _NOT_THE_RUN):
                counted[_part(stack.split(";"))] += int(count)
    return {part: counted[part] / counted.total() for part in PARTS}


def _part(frames: Sequence[str]) -> str:
    """Whose time a sample is: the kernel's or the collector's if it is in them, or the innermost Python function's."""
    for frame in reversed(frames):
        name = frame.split(" ", 1)[0]
        if name == "gc_collect_main":
            return "gc"
        if name in _KERNEL and "libc" in frame:
            return _KERNEL[name]
        if ".py:" in frame:
            return next((part for place, part in _MODULES.items() if place in frame), "rest")
    return "rest"
