"""`Progress`: how far a partition's run has come, how fast it goes, and how long it will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from airflow_s3batch.core.wording import duration

__all__ = ["Meter", "Progress"]

_WINDOW = 30.0
"""Seconds over which the rate is measured."""
_STEP = 1.0
"""Seconds between two samples of it."""


class Progress(NamedTuple):
    """How far a partition's run has come."""

    done: int
    """Rows with an outcome, those that had succeeded before this run included."""
    failed: int
    total: int
    rate: float
    """Objects a second, over the last 30 s."""
    seconds_left: float | None
    """At this rate; None while nothing is known."""
    codes: Mapping[str, int] = MappingProxyType({})
    """How often each error code is among the failures, up to the last checkpoint; the most frequent first."""

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {duration(self.seconds_left)} left"
        share = 100 * self.done // self.total if self.total else 100
        done = f"{self.done:,} of {self.total:,} objects ({share} %), {self.failed:,} failed"
        most = f" (most often {next(iter(self.codes))})" if self.failed and self.codes else ""
        return f"{done}{most}, {self.rate:,.0f} objects/s{left}"


class Meter:
    """Measures progress.

    Args:
        total: rows of the partition.
        skipped: rows that had succeeded before.
        now: monotonic seconds at the start.
    """

    def __init__(self, total: int, skipped: int, now: float) -> None:
        self._total = total
        self._done = skipped
        self._failed = 0
        self._samples = deque([(now, skipped)])

    def add(self, done: int, failed: int, now: float, codes: Mapping[str, int] = MappingProxyType({})) -> Progress:
        """So many more rows have outcomes, so many of them failures; `codes` are those of all failures."""
        self._done += done
        self._failed += failed
        samples = self._samples
        while len(samples) > 1 and samples[1][0] <= now - _WINDOW:
            samples.popleft()
        began, before = samples[0]
        rate = (self._done - before) / (now - began) if now > began else 0.0
        if now - samples[-1][0] >= _STEP:
            samples.append((now, self._done))
        left = (self._total - self._done) / rate if rate else None
        return Progress(self._done, self._failed, self._total, rate, left, codes)
