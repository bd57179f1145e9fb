"""What was to be reached, what was measured, and whether that is it."""

# ruff: noqa: PLR2004 - the goals are numbers

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.prepare import LARGE, SMALL
from benchmarks.results import WHOLE_TLS, Results, median, ratio
from benchmarks.sample import Sample
from benchmarks.throttling import CAPACITY, Second

__all__ = ["Goal", "divided", "goals", "started"]

_MINUTES = 15
"""That the whole of the benchmarks may take."""


class Goal(NamedTuple):
    """One of them."""

    what: str
    measured: str
    wanted: str
    met: bool


def goals(found: Results) -> list[Goal]:
    """All of them."""
    return [*_costs(found), *_flatness(found), *_limits(found), *_preparing(found), *_others(found)]


def _costs(found: Results) -> Iterator[Goal]:
    whole, boto3 = found.whole("100,000"), found.best_boto3()
    wrk = found.rounds("transport", "wrk", "HTTP, 256 in flight")
    transport = found.rounds("transport", "transport on uvloop", "HTTP, 256 in flight")
    tls = median(found.rounds("run_partition", "airflow_s3batch", WHOLE_TLS))
    cost, less, more, alone = median(whole), ratio(boto3, whole), ratio(whole, wrk), ratio(transport, wrk)
    yield Goal("CPU an object, the whole path", f"**{cost:.1f} µs**", "≤ 20 µs", cost <= 20)
    against = f"… against boto3 with threads ({median(boto3):,.0f} µs, its best)"
    yield Goal(against, f"**{less:.0f} times less**", "≥ 60", less >= 60)
    against = f"… against `wrk`, a C program sending prebuilt requests ({median(wrk):.1f} µs)"
    yield Goal(against, f"{more:.2f} times more", "≤ 2.5", more <= 2.5)
    yield Goal("the transport alone against `wrk`", f"{alone:.1f} times more", "≤ 1.7", alone <= 1.7)
    yield Goal("CPU an object over TLS, the whole path", f"{tls:.1f} µs", "≤ 28 µs", tls <= 28)


def _flatness(found: Results) -> Iterator[Goal]:
    sizes = found.sizes()
    counts = " → ".join(f"{objects:,}" for objects, _ in sizes)
    memory = [median(samples, lambda sample: sample.rss_mb) for _, samples in sizes]
    flat = max(memory) <= 150 and memory[-1] <= 1.1 * memory[0]
    yield Goal(f"peak memory, {counts} objects", f"{_arrows(memory, '.0f')} MB", "+ 10 %, ≤ 150 MB", flat)
    whole = [median(samples) for _, samples in sizes]
    yield _level(f"cost an object, {counts} objects", whole)
    begin, alone = started(found)
    yield _level(f"… without the {begin * 1000:.0f} ms of CPU that a partition's beginning costs", alone)


def started(found: Results) -> tuple[float, list[float]]:
    """Seconds that a job costs however small it is, and what an object costs in µs without them, by the job's size.

    The seconds are those that make the least and the largest job cost the same an object.
    """
    costs = [(objects, median(samples)) for objects, samples in found.sizes()]
    (least, dear), (most, cheap) = costs[0], costs[-1]
    begin = max(0.0, (dear - cheap) / (1 / least - 1 / most))
    return begin / 1e6, [cost - begin / objects for objects, cost in costs]


def _limits(found: Results) -> Iterator[Goal]:
    for (_, setting), samples in found.groups("far away").items():
        latency = median(samples, lambda sample: sample.more["of_latency"])
        of_wrk = median(samples, lambda sample: sample.more["of_wrk"])
        what = f"{setting}: of in flight ÷ latency (of what `wrk` reaches)"
        good = max(latency, of_wrk) >= 0.95
        yield Goal(what, f"{latency:.0%} ({of_wrk:.0%})", "≥ 95 %, until a core is full, the server's too", good)
    throttled = {setting: samples[0].more for (_, setting), samples in found.groups("throttling").items()}
    steady, moved = throttled[f"{CAPACITY}/s, 256 in flight"], throttled["capacity halves and doubles"]
    for what, told in (
        (f"a store that takes {CAPACITY:,}/s: used, refused", steady),
        ("… when that halves: used, refused", moved["halved"]),
        ("… when it is back: used, refused", moved["recovered"]),
    ):
        good = told["used"] >= 0.9 and told["refused"] < 0.02
        yield Goal(what, f"{told['used']:.0%}, {told['refused']:.2%}", "≥ 90 %, < 2 %", good)
    early, late = divided([Second(*second) for second in throttled["two processes, one prefix"]["seconds"]])
    fair = all(0.4 <= share <= 0.6 for share in (early, late))
    what = "two processes on one prefix: the first's share, 5 to 15 s after the second began, and at the end"
    yield Goal(what, f"{early:.0%}, {late:.0%}", "within 20 % of its half: 40 to 60 %", fair)


def divided(seconds: Sequence[Second]) -> tuple[float, float]:
    """The first process's share: 5 to 15 seconds after the second began, and in the last five."""

    def share(some: Sequence[Second]) -> float:
        first, second = (sum(each.each.get(who, 0) for each in some) for who in ("A", "B"))
        return first / (first + second)

    return share(seconds[10:20]), share(seconds[-5:])


def _preparing(found: Results) -> Iterator[Goal]:
    rows = median(found.rounds("rows", "CSV", "two columns"))
    yield Goal("CSV rows a second a core, checked and counted", f"{1 / rows:.1f} million", "≥ 3 million", 1 / rows >= 3)
    prepared = found.groups("prepare")
    for file_format in ("CSV", "Parquet"):
        small, large = (prepared[file_format, f"{size:,} rows"] for size in (SMALL, LARGE))
        yield _flat(f"a {file_format} manifest of {SMALL:,} → {LARGE:,} rows prepared: peak memory", small, large)
    small, large = (samples for (file_format, _), samples in prepared.items() if file_format == "CSV.gz")
    titles = [setting for file_format, setting in prepared if file_format == "CSV.gz"]
    yield _flat(f"{titles[0]} → {titles[1].rpartition('of ')[2]} (CSV, gzip): peak memory", small, large)
    largest = max(median(samples, lambda sample: sample.more["largest"]) for samples in prepared.values())
    yield Goal("the largest partition of any of these, in means", f"{largest:.2f}", "≤ 1.2", largest <= 1.2)


def _flat(what: str, small: Sequence[Sample], large: Sequence[Sample]) -> Goal:
    memory = [median(samples, lambda sample: sample.rss_mb) for samples in (small, large)]
    return Goal(what, f"{_arrows(memory, '.0f')} MB", "flat (+ 10 %)", memory[1] <= 1.1 * memory[0])


def _others(found: Results) -> Iterator[Goal]:
    faster = [ratio(pages, ours, lambda sample: sample.wall) for ours, pages in found.listings().values()]
    told = f"{min(faster):.1f} to {max(faster):.1f} times as fast"
    yield Goal("ListObjects against a serial paginator, at 30 ms", told, "≥ 5", min(faster) >= 5)
    deleted = 1e6 / median(found.deletions())
    yield Goal("DeleteObjects: objects a second a core", f"{deleted:,.0f}", "≥ 100,000", deleted >= 100_000)
    minutes = found.told["minutes"]
    yield Goal("all of this measured, in minutes", f"{minutes:.1f}", f"≤ {_MINUTES}", minutes <= _MINUTES)


def _level(what: str, costs: Sequence[float]) -> Goal:
    """That none is further from the middle of the dearest and the cheapest than 5 % of it."""
    off = (max(costs) - min(costs)) / (max(costs) + min(costs))
    return Goal(what, f"{_arrows(costs, '.1f')} µs, ± {off:.1%}", "± 5 %", off <= 0.05)


def _arrows(values: Sequence[float], form: str) -> str:
    return " → ".join(format(value, form) for value in values)
