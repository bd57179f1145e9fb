"""docs/performance.md: the template's words, the results' numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from benchmarks import chart, elsewhere
from benchmarks.goals import Goal, divided, goals, started
from benchmarks.profile import PARTS
from benchmarks.results import Results, median
from benchmarks.sample import Sample, Spread
from benchmarks.throttling import CAPACITY, Second

__all__ = ["write"]

_TEMPLATE = Path(__file__).with_name("performance.template.md")


def write(results: dict[str, Any], docs: Path) -> None:
    """Write the page and its pictures."""
    found = Results(results)
    (docs / "images").mkdir(exist_ok=True)
    page = Template(_TEMPLATE.read_text()).substitute({**_numbers(found), **_tables(found)})
    (docs / "performance.md").write_text(page)
    for name, picture in _pictures(found).items():
        (docs / "images" / f"performance-{name}.svg").write_text(picture)


def _numbers(found: Results) -> dict[str, str]:
    whole, boto3 = found.whole("100,000"), median(found.best_boto3())
    mapped = found.groups("peers")["S3CopyObjectOperator.expand", "CopyObject, dag.test()"]
    ((slower,),) = found.groups("slower").values()
    return {
        "machine": found.told["machine"],
        "when": found.told["when"],
        "minutes": str(found.told["minutes"]),
        "rounds": str(len(whole)),
        "load": f"{found.told['load_before']:.1f} before, {found.told['load_after']:.1f} after",
        "versions": ", ".join(f"{name} {version}" for name, version in found.told["versions"].items()),
        "whole": f"{median(whole):.1f}",
        "fixed_ms": f"{started(found)[0] * 1000:.0f}",
        "core_rate": f"{median(whole, lambda sample: sample.rate):,.0f}",
        "boto3_cores": f"{CAPACITY * boto3 / 1e6:.0f}",
        "mapped_few": f"{mapped[0].objects // 4}",
        "mapped_many": f"{mapped[0].objects * 5 // 4}",
        "mapped_hours": f"{median(mapped) / 3600:.0f}",
        "slower_share": f"{slower.more['of_latency']:.0%}",
    }


def _tables(found: Results) -> dict[str, str]:
    return {
        "goals_table": _goals(goals(found)),
        "rows_table": _rows(found),
        "prepare_table": _prepared(found),
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
        "elsewhere_table": _elsewhere(),
        "profile_table": _profile(found),
    }


def _goals(all_of_them: Iterable[Goal]) -> str:
    rows = ([goal.what, goal.measured, goal.wanted, "yes" if goal.met else "**no**"] for goal in all_of_them)
    return _table(("", "measured", "goal", "met"), rows, numbers=False)


def _rows(found: Results) -> str:
    rows = []
    for (_, kind), samples in found.groups("rows").items():
        read = median(samples, lambda sample: sample.more["read_us"])
        rates = [f"{1 / median(samples):.1f} million", f"{median(samples, lambda sample: sample.rss_mb):.0f}"]
        rows.append([kind, _spread(samples, "{:.2f}"), *rates, f"{read:.2f}"])
    head = ("", "checked and counted, CPU µs", "rows a second a core", "peak MB", "made an entry, CPU µs")
    return _table(head, rows)


def _prepared(found: Results) -> str:
    rows = []
    for (file_format, setting), (sample, *_) in found.groups("prepare").items():
        partitions = f"{sample.more['partitions']}, the largest {sample.more['largest']:.2f} means"
        told = [f"{sample.objects:,}", f"{sample.cpu:.1f}", f"{1 / sample.cpu_us:.1f} million", f"{sample.rss_mb:.0f}"]
        rows.append([f"{file_format}, {setting}", *told, partitions])
    return _table(("", "rows", "CPU s", "rows a second of CPU", "peak MB", "partitions"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    lines = [head, ["---"] + ["--:" if numbers else "---"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_COST_HEAD = ("", "CPU µs an object", "objects a second", "peak MB")


def _cost(title: str, samples: Sequence[Sample]) -> list[str]:
    form = "{:.1f}" if median(samples) < 100 else "{:,.0f}"  # noqa: PLR2004
    return [
        title,
        _spread(samples, form),
        f"{median(samples, lambda sample: sample.rate):,.0f}",
        f"{median(samples, lambda sample: sample.rss_mb):.0f}",
    ]


def _spread(samples: Sequence[Sample], form: str) -> str:
    cpu = Spread.of(sample.cpu_us for sample in samples)
    return " / ".join(dict.fromkeys(map(form.format, cpu)))


def _peers(found: Results) -> list[list[str]]:
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


def _transport(found: Results) -> list[list[str]]:
    groups = sorted(
        found.groups("transport").items(),
        key=lambda group: (group[0][1].split(",")[0], "64" not in group[0][1], group[0][1], median(group[1])),
    )
    return [_cost(f"{setting}: {name}", samples) for (name, setting), samples in groups]


def _far(found: Results) -> str:
    rows = [
        [
            setting,
            f"{median(samples, lambda sample: sample.more['of_latency']):.0%}",
            f"{median(samples, lambda sample: sample.more['of_wrk']):.0%}",
            f"{median(samples):.1f}",
        ]
        for (_, setting), samples in found.groups("far away").items()
    ]
    return _table(("", "of in flight ÷ latency", "of what `wrk` reaches", "CPU µs an object"), rows)


def _throttling(found: Results) -> str:
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
    early, late = (f"{share:.0%} : {1 - share:.0%}" for share in divided([Second(*second) for second in seconds]))
    return f"{early} five to 15 seconds after the second began, {late} in the last five of 30"


def _listings(found: Results) -> Iterable[list[str]]:
    for layout, both in found.listings().items():
        for name, samples in zip(("ListObjects", "boto3 paginator"), both, strict=True):
            yield _cost(f"{name}: {layout}", samples)


def _deletions(found: Results) -> Iterable[list[str]]:
    return (_cost(f"{name}: {setting}", samples) for (name, setting), samples in found.groups("delete").items())


def _parts(found: Results) -> str:
    signing = found.rounds("parts", "signing", "PutObjectTagging")
    botocores = median(signing, lambda sample: sample.more["botocore_us"])
    rows = [
        ["the request's bytes, signed (`Signer`)", f"{median(signing):.1f} µs"],
        ["a signature by botocore's `S3SigV4Auth`", f"{botocores:.0f} µs"],
    ]
    return _table(("", "CPU"), rows)


def _elsewhere() -> str:
    rows = [
        [
            f"{told['machine']}, {told['when']}",
            f"{told['whole']:.1f}",
            f"{told['wrk']:.1f}: {told['of_wrk']:.2f} times",
            f"{told['boto3']:,.0f}: {told['of_boto3']:.0f} times",
            f"{told['tls']:.1f}",
            " → ".join(f"{cost:.1f}" for _, cost in told["sizes"]),
        ]
        for told in elsewhere.known()
    ]
    head = ("", "the whole path, µs", "`wrk`, more than it", "boto3, less than it", "TLS, µs", "by the job's size, µs")
    return _table(head, rows)


def _profile(found: Results) -> str:
    whole = median(found.whole("100,000"))
    rows = [
        [what, f"{found.told['profile'][part]:.0%}", f"{found.told['profile'][part] * whole:.1f}"]
        for part, what in PARTS.items()
    ]
    return _table(("", "share", "µs an object"), rows)


def _pictures(found: Results) -> dict[str, str]:
    costs = {
        f"{name}, {setting.removesuffix(', dag.test()')}": median(samples)
        for (name, setting), samples in found.groups("peers").items()
        if "TLS" not in setting
    }
    whole, copies = "airflow_s3batch, PutObjectTagging", "airflow_s3batch, CopyObject"
    costs |= {
        "wrk, prebuilt requests": median(found.rounds("transport", "wrk", "HTTP, 256 in flight")),
        whole: median(found.whole("100,000")),
        copies: median(
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
