"""docs/reliability.md: the template's words, and the numbers of results.json, which keeps each part's last run.

``python -m tests.faults.page`` writes it anew, once the words have changed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

from tests.faults.campaign import Campaign

__all__ = ["PAGE", "keep", "rendered"]

_HERE = Path(__file__).parent
PAGE = _HERE.parent.parent / "docs" / "reliability.md"
_RESULTS = _HERE / "results.json"


def keep(campaign: Campaign) -> None:
    """Keep what was measured, instead of what the same parts had measured before."""
    results = _results()
    about = {
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "seed": campaign.seed,
        "load": round(os.getloadavg()[2]),
        "airflow": version("apache-airflow"),
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
    }
    results.update({measured.name: {**about, **dataclasses.asdict(measured)} for measured in campaign.results})
    _RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def rendered() -> str:
    """The page, of what was kept."""
    results = _results()
    parts = [results[name] for name in sorted(results)]
    template = Template((_HERE / "reliability.template.md").read_text())
    kills = sum(sum(part["kills"].values()) for part in parts)
    return template.substitute(
        kills=f"{kills:,}", numbers="\n".join(_numbers(parts)), victims="\n".join(_victims(parts))
    )


def _results() -> dict[str, dict[str, Any]]:
    return dict(json.loads(_RESULTS.read_text())) if _RESULTS.exists() else {}


_VICTIMS = {
    "task": "a task's own process",
    "worker": "a process of the executor that has a task; the task's process may live on",
    "scheduler": "the scheduler; executor and tasks live on, another scheduler is started",
    "everything": "all of Airflow at once, started again",
    "database": "all of Airflow at once, with its metadata database; the DAG is run again under the same run id",
}


def _victims(parts: list[dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        for kind, count in sorted(part["kills"].items()):
            if kind in _VICTIMS:
                yield f"| {_VICTIMS[kind]} | {count} |"


def _numbers(parts: list[dict[str, Any]]) -> Iterator[str]:
    def row(name: str, value: str) -> str:
        return f"| {name} | {' | '.join(value.format(**part) for part in parts)} |"

    for part in parts:
        part["sigkills"] = sum(part["kills"].values())
        part["minutes"] = part["seconds"] / 60
    yield row("", "{name}")
    yield row("---", "--:")
    yield row("SIGKILLs", "{sigkills:,}")
    yield row("objects", "{objects:,}")
    yield row("jobs, partitions", "{jobs}, {partitions}")
    yield row("attempts at a partition", "{attempts}")
    yield row("… killed with objects done", "{died_at_work}")
    yield row("objects lost, reported twice or wrongly", "0")
    yield row("objects done again after a checkpoint told of them", "0")
    yield row("operations repeated", "{repeats:,}")
    yield row("… by one kill, at most", "**{most_lost:,}**")
    yield row("… allowed by the bound", "{bound:,}")
    yield row("when, `--seed`", "{when}, {seed}")
    yield row("on", "{machine}, Airflow {airflow}")
    yield row("minutes, load average", "{minutes:.1f}, {load}")


if __name__ == "__main__":
    PAGE.write_text(rendered())
