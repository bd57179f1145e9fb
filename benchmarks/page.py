"""docs/performance.md: the template's words, the results' numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from benchmarks import chart
from benchmarks.profile import PARTS
from benchmarks.sample import Sample, Spread
from benchmarks.throttling import CAPACITY

__all__ = ["write"]

_TEMPLATE = Path(__file__).with_name("performance.template.md")
_TAGGING = "PutObjectTagging, HTTP, 256 in flight, uvloop, "
_TLS = "PutObjectTagging, TLS, 256 in flight, uvloop, 100,000 objects"


def write(results: dict[str, Any], docs: Path) -> None:
    """Write the page and its pictures."""
    found = _Results(results)
    (docs / "images").mkdir(exist_ok=True)
    page = Template(_TEMPLATE.read_text()).substitute({**_numbers(found), **_tables(found)})
    (docs / "performance.md").write_text(page)
    for name, picture in _pictures(found).items():
        (docs / "images" / f"performance-{name}.svg").write_text(picture)


class _Results:
    """The samples, by what was measured."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.told = results
        self.samples = [Sample(**sample) for sample in results["samples"]]

    def groups(self, suite: str) -> dict[tuple[str, str], list[Sample]]:
        """The rounds of each case of a suite, by name and setting."""
        groups: dict[tuple[str, str], list[Sample]] = {}
        for sample in self.samples:
            if sample.suite == suite:
                groups.setdefault((sample.name, sample.setting), []).append(sample)
        return groups

    def rounds(self, suite: str, name: str, setting: str) -> list[Sample]:
        """The rounds of one case."""
        return self.groups(suite)[name, setting]

    def whole(self, rows: str) -> list[Sample]:
        """The whole path over HTTP, of so many objects."""
        return self.rounds("run_partition", "airflow_s3batch", f"{_TAGGING}{rows} objects")

    def sizes(self) -> list[tuple[int, list[Sample]]]:
        """The whole path over HTTP by the number of objects, least first."""
        groups = self.groups("run_partition")
        sizes = [
            (samples[0].objects, samples) for (_, setting), samples in groups.items() if setting.startswith(_TAGGING)
        ]
        return sorted(sizes, key=lambda size: size[0])


def _median(samples: Iterable[Sample], value: Callable[[Sample], float] = lambda sample: sample.cpu_us) -> float:
    return Spread.of(map(value, samples)).median


def _ratio(above: Sequence[Sample], below: Sequence[Sample]) -> float:
    """The median of the rounds' ratios: both of a round met the same weather."""
    return Spread.of(one.cpu_us / other.cpu_us for one, other in zip(above, below, strict=True)).median


def _best_boto3(found: _Results) -> list[Sample]:
    ways = [
        samples
        for (name, setting), samples in found.groups("peers").items()
        if name == "boto3" and setting.startswith("PutObjectTagging") and "TLS" not in setting
    ]
    return min(ways, key=_median)


def _numbers(found: _Results) -> dict[str, str]:
    whole, boto3 = found.whole("100,000"), _best_boto3(found)
    wrk = found.rounds("transport", "wrk", "HTTP, 256 in flight")
    transport = found.rounds("transport", "transport on uvloop", "HTTP, 256 in flight")
    small, large = found.sizes()[0][1], found.sizes()[-1][1]
    mapped = found.groups("peers")["S3CopyObjectOperator.expand", "CopyObject, dag.test()"]
    return {
        "machine": found.told["machine"],
        "when": found.told["when"],
        "minutes": str(found.told["minutes"]),
        "rounds": str(len(whole)),
        "load": f"{found.told['load_before']:.1f} before, {found.told['load_after']:.1f} after",
        "versions": ", ".join(f"{name} {version}" for name, version in found.told["versions"].items()),
        "whole": f"{_median(whole):.1f}",
        "boto3": f"{_median(boto3):,.0f}",
        "wrk": f"{_median(wrk):.1f}",
        "times_boto3": f"{_ratio(boto3, whole):.0f}",
        "times_wrk": f"{_ratio(whole, wrk):.1f}",
        "transport_times_wrk": f"{_ratio(transport, wrk):.1f}",
        "whole_tls": f"{_median(found.rounds('run_partition', 'airflow_s3batch', _TLS)):.1f}",
        "largest": f"{found.sizes()[-1][0]:,}",
        "rss_small": f"{_median(small, lambda sample: sample.rss_mb):.0f}",
        "rss_large": f"{_median(large, lambda sample: sample.rss_mb):.0f}",
        "flat_small": f"{_median(small):.1f}",
        "flat_large": f"{_median(large):.1f}",
        "fixed_ms": f"{max(0.0, (_median(small) - _median(large)) * small[0].objects / 1000):.0f}",
        "core_rate": f"{_median(whole, lambda sample: sample.rate):,.0f}",
        "boto3_cores": f"{CAPACITY * _median(boto3) / 1e6:.0f}",
        "mapped_few": f"{mapped[0].objects // 4}",
        "mapped_many": f"{mapped[0].objects * 5 // 4}",
        "mapped_hours": f"{_median(mapped) / 3600:.0f}",
        **_throttling_numbers(found),
    }


def _throttling_numbers(found: _Results) -> dict[str, str]:
    far = [_median(samples, lambda sample: sample.more["of_wrk"]) for samples in found.groups("far away").values()]
    ((slower,),) = found.groups("slower").values()
    (steady,) = found.rounds("throttling", "engine", f"{CAPACITY}/s, 256 in flight")
    return {
        "far_share": f"{min(far):.0%} to {max(far):.0%}",
        "slower_share": f"{slower.more['of_latency']:.0%}",
        "throttle_used": f"{steady.more['used']:.0%}",
        "throttle_refused": f"{steady.more['refused']:.2%}",
    }


def _tables(found: _Results) -> dict[str, str]:
    return {
        "whole_table": _table(
            _COST_HEAD, (_cost(setting, samples) for (_, setting), samples in found.groups("run_partition").items())
        ),
        "peers_table": _table(_COST_HEAD, _peers(found)),
        "delete_table": _table(_COST_HEAD, _deletions(found)),
        "listing_table": _table(_COST_HEAD, _listings(found)),
        "transport_table": _table(_COST_HEAD, _transport(found)),
        "far_table": _far(found),
        "throttle_table": _throttling(found),
        "parts_table": _parts(found),
        "profile_table": _profile(found),
    }


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_COST_HEAD = ("", "CPU µs an object", "objects a second", "peak MB")


def _cost(title: str, samples: Sequence[Sample]) -> list[str]:
    cpu = Spread.of(sample.cpu_us for sample in samples)
    form = "{:.1f}" if cpu.median < 100 else "{:,.0f}"  # noqa: PLR2004
    shown = " / ".join(dict.fromkeys(map(form.format, cpu)))
    return [
        title,
        shown,
        f"{_median(samples, lambda sample: sample.rate):,.0f}",
        f"{_median(samples, lambda sample: sample.rss_mb):.0f}",
    ]


def _peers(found: _Results) -> list[list[str]]:
    ours = [
        ("airflow_s3batch", f"{setting}, 100,000 objects")
        for setting in (
            "PutObjectTagging, HTTP, 256 in flight, uvloop",
            "CopyObject, HTTP, 256 in flight, uvloop",
            "PutObjectTagging, TLS, 256 in flight, uvloop",
        )
    ]
    mine = [_cost(f"**{name}**: {setting}", found.rounds("run_partition", name, setting)) for name, setting in ours]
    return mine + [_cost(f"{name}: {setting}", samples) for (name, setting), samples in found.groups("peers").items()]


def _transport(found: _Results) -> list[list[str]]:
    groups = sorted(
        found.groups("transport").items(),
        key=lambda group: (group[0][1].split(",")[0], "64" not in group[0][1], group[0][1], _median(group[1])),
    )
    return [_cost(f"{setting}: {name}", samples) for (name, setting), samples in groups]


def _far(found: _Results) -> str:
    rows = [
        [
            setting,
            f"{_median(samples, lambda sample: sample.more['of_latency']):.0%}",
            f"{_median(samples, lambda sample: sample.more['of_wrk']):.0%}",
            f"{_median(samples):.1f}",
        ]
        for (_, setting), samples in found.groups("far away").items()
    ]
    return _table(("", "of in flight ÷ latency", "of what `wrk` reaches", "CPU µs an object"), rows)


def _throttling(found: _Results) -> str:
    more = {setting: samples[0].more for (_, setting), samples in found.groups("throttling").items()}
    moved, both = more["capacity halves and doubles"], more["two processes, one prefix"]
    named = [
        ("capacity stays", more[f"{CAPACITY}/s, 256 in flight"], "from the ninth second on"),
        ("capacity halved", moved["halved"], "from the third second after on"),
        (
            "capacity doubled again",
            moved["recovered"],
            f"from the ninth second after on; 90 % reached in second {moved['back_after']}",
        ),
        ("two processes on one prefix", both, _divided(both["seconds"])),
    ]
    rows = [[title, f"{shares['used']:.0%}", f"{shares['refused']:.2%}", remark] for title, shares, remark in named]
    return _table(("", "of the capacity used", "of the answers 503", "measured"), rows)


def _divided(seconds: Sequence[Any]) -> str:
    """How two processes share: soon after the second has begun, and at the end."""

    def of_first(some: Sequence[Any]) -> str:
        first, second = (sum(each.get(who, 0) for _, _, _, each in some) for who in ("A", "B"))
        return f"{first / (first + second):.0%} : {second / (first + second):.0%}"

    early, late = of_first(seconds[10:20]), of_first(seconds[-5:])
    return f"{early} five to 15 seconds after the second began, {late} in the last five of 30"


def _listings(found: _Results) -> Iterable[list[str]]:
    return (_cost(f"{name}: {setting}", samples) for (name, setting), samples in found.groups("listing").items())


def _deletions(found: _Results) -> Iterable[list[str]]:
    return (_cost(f"{name}: {setting}", samples) for (name, setting), samples in found.groups("delete").items())


def _parts(found: _Results) -> str:
    signing = found.rounds("parts", "signing", "PutObjectTagging")
    manifest = found.rounds("parts", "manifest", "CSV, two columns")
    botocores = _median(signing, lambda sample: sample.more["botocore_us"])
    read = _median(manifest, lambda sample: sample.more["read_us"])
    rows = [
        ["the request's bytes, signed (`Signer`)", f"{_median(signing):.1f} µs"],
        ["a signature by botocore's `S3SigV4Auth`", f"{botocores:.0f} µs"],
        [
            "a row of a CSV manifest checked, counted (prepare)",
            f"{_median(manifest):.2f} µs, {1 / _median(manifest):.1f} million rows a second",
        ],
        ["a row of a CSV manifest made an entry (run)", f"{read:.2f} µs"],
    ]
    return _table(("", "CPU"), rows)


def _profile(found: _Results) -> str:
    whole = _median(found.whole("100,000"))
    rows = [
        [what, f"{found.told['profile'][part]:.0%}", f"{found.told['profile'][part] * whole:.1f}"]
        for part, what in PARTS.items()
    ]
    return _table(("", "share", "µs an object"), rows)


def _pictures(found: _Results) -> dict[str, str]:
    costs = {
        f"{name}, {setting.removesuffix(', dag.test()')}": _median(samples)
        for (name, setting), samples in found.groups("peers").items()
        if "TLS" not in setting
    }
    whole, copies = "airflow_s3batch, PutObjectTagging", "airflow_s3batch, CopyObject"
    costs |= {
        "wrk, prebuilt requests": _median(found.rounds("transport", "wrk", "HTTP, 256 in flight")),
        whole: _median(found.whole("100,000")),
        copies: _median(
            found.rounds("run_partition", "airflow_s3batch", "CopyObject, HTTP, 256 in flight, uvloop, 100,000 objects")
        ),
    }
    moved = found.rounds("throttling", "engine", "capacity halves and doubles")[0].more["seconds"]
    both = found.rounds("throttling", "engine", "two processes, one prefix")[0].more["seconds"]
    marks = {"3,500": CAPACITY, "1,750": CAPACITY / 2}
    each = {title: [each.get(who, 0) for _, _, _, each in both] for who, title in (("A", "first"), ("B", "second"))}
    return {
        "cpu": chart.bars("CPU an object in µs, whole path (logarithmic)", costs, (whole, copies)),
        "throttling": chart.lines(
            "Requests a second; the capacity halves after 8 s and comes back after 16 s",
            {"done": [ok for _, ok, _, _ in moved], "503": [refused for _, _, refused, _ in moved]},
            marks,
        ),
        "sharing": chart.lines("Requests a second; the second process begins after 5 s", each, marks),
    }
