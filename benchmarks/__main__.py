"""Run the benchmarks, and write docs/performance.md and its pictures: ``python -m benchmarks``, or ``make bench``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    delete,
    elsewhere,
    listing,
    machine,
    page,
    parts,
    peers,
    prepare,
    profile,
    run_partition,
    throttling,
    transport,
)
from benchmarks.nginx import canned_s3
from benchmarks.results import Results
from benchmarks.sample import Case, Sample, interleaved
from benchmarks.tools import ROOT, require

RESULTS = ROOT / "benchmarks" / "results.json"
_TRANSPORT_OBJECTS = 40_000
_FEWER = 2
"""Rounds of what waits more than it works, and varies little."""
_HEADLINE = "HTTP, 256 in flight"
"""What is compared first and foremost, and so is measured one right after the other."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for; write the page unless only a part was."""
    asked = _parse(arguments)
    if not asked.page:
        measured = _begun()
        try:
            _measure(measured, asked.rounds, quick=asked.quick)
        finally:  # a quarter of an hour's work isn't lost to what fails in the end
            _end(measured)
            asked.results.write_text(json.dumps(measured, indent=1) + "\n")
    if asked.page or not asked.quick:
        elsewhere.remember(Results(json.loads(asked.results.read_text())))
        page.write(json.loads(asked.results.read_text()), ROOT / "docs")
        print(f"Written: {ROOT / 'docs' / 'performance.md'}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (3)")
    parser.add_argument("--quick", action="store_true", help="one round without peers and throttling; writes no page")
    parser.add_argument(
        "--page", action="store_true", help="only write the page anew, from the results of the last run"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results go, as JSON (%(default)s)")
    return parser.parse_args(arguments)


def _begun() -> dict[str, Any]:
    return {
        "machine": machine.described(),
        "load_before": os.getloadavg()[0],
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "began": time.time(),
        "samples": [],
    }


def _end(measured: dict[str, Any]) -> None:
    measured["minutes"] = round((time.time() - measured.pop("began")) / 60, 1)
    measured["load_after"] = os.getloadavg()[0]


def _measure(measured: dict[str, Any], rounds: int, *, quick: bool) -> None:
    """Fill in what is measured."""
    require("nginx", "wrk", "openssl", *(() if quick else ("rclone",)))
    measured["versions"] = machine.versions()

    def take(cases: Sequence[Case], rounds: int) -> None:
        for sample in interleaved(cases, rounds):
            _tell(sample)
            measured["samples"].append(dataclasses.asdict(sample))

    with canned_s3() as server:
        cases = [
            *transport.cases(server, _TRANSPORT_OBJECTS),
            *run_partition.cases(server),
            *parts.cases(),
            *prepare.cases(),
        ]
        cases.sort(key=lambda case: _HEADLINE not in case.setting)
        take(cases if quick else [*cases, *peers.cases(server)], 1 if quick else rounds)
        if quick:
            return
        take([*delete.cases(server), *map(throttling.far_away, (64, 256, 1000))], min(rounds, _FEWER))
        take([run_partition.large_case(server), *prepare.large_cases(), *listing.cases()], 1)
        take([peers.mapped_copies(server)], 1)
        take([throttling.slower(), throttling.steady(), throttling.halved_and_doubled(), throttling.shared()], 1)
        measured["profile"] = profile.shares(server)


def _tell(sample: Sample) -> None:
    about = f"{sample.name}, {sample.setting}"
    print(
        f"{about:84} {sample.cpu_us:10,.1f} µs {sample.rate:10,.0f}/s {sample.rss_mb:6.0f} MB",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    main()
