"""`Results`: the samples of a run, by what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.sample import Sample, Spread

__all__ = ["WHOLE_TLS", "Results", "median", "ratio"]

_TAGGING = "PutObjectTagging, HTTP, 256 in flight, uvloop, "
WHOLE_TLS = "PutObjectTagging, TLS, 256 in flight, uvloop, 100,000 objects"


class Results:
    """The samples, by what was measured.

    Args:
        told: what `benchmarks.__main__` wrote.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.samples = [Sample(**sample) for sample in told["samples"]]

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

    def best_boto3(self) -> list[Sample]:
        """boto3 with as many threads as serve it best."""
        ways = [
            samples
            for (name, setting), samples in self.groups("peers").items()
            if name == "boto3" and setting.startswith("PutObjectTagging") and "TLS" not in setting
        ]
        return min(ways, key=median)

    def deletions(self) -> list[Sample]:
        """DeleteObjects over HTTP."""
        groups = self.groups("delete").items()
        return next(samples for (name, setting), samples in groups if name == "airflow_s3batch" and "HTTP" in setting)

    def listings(self) -> dict[str, tuple[list[Sample], list[Sample]]]:
        """By the keys' layout: how `ListObjects` lists them, and the paginator."""
        groups = self.groups("listing")
        return {
            setting: (samples, groups["boto3 paginator", setting])
            for (name, setting), samples in groups.items()
            if name == "ListObjects"
        }


def median(samples: Iterable[Sample], value: Callable[[Sample], float] = lambda sample: sample.cpu_us) -> float:
    """The median of what the rounds say, of CPU an object if nothing else is asked for."""
    return Spread.of(map(value, samples)).median


def ratio(
    above: Sequence[Sample], below: Sequence[Sample], value: Callable[[Sample], float] = lambda sample: sample.cpu_us
) -> float:
    """The median of the rounds' ratios: both of a round met the same weather."""
    return Spread.of(value(one) / value(other) for one, other in zip(above, below, strict=True)).median
