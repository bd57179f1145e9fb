"""`Campaign`: how much is killed in one run of the fault suite, and what was found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.audit import Evidence

__all__ = ["Campaign", "Measured"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one part of a campaign has measured."""

    name: str
    kills: Mapping[str, int]
    """SIGKILLs by what they hit."""
    jobs: int
    partitions: int
    objects: int
    attempts: int
    """How often a partition was begun."""
    died_at_work: int
    """Attempts that had done objects when they were killed."""
    repeats: int
    """How often an object that had succeeded was done again."""
    most_lost: int
    """Most operations of one attempt of which no checkpoint told: what its death made the next one do again."""
    bound: int
    """What they may be at most: a checkpoint interval, and what is in flight."""
    seconds: float

    def line(self) -> str:
        """The measurement in a line."""
        return (
            f"{self.name}: {sum(self.kills.values())} kills {dict(self.kills)}, {self.objects:,} objects in "
            f"{self.partitions} partitions, {self.attempts} attempts, {self.died_at_work} of them killed at work, "
            f"{self.repeats:,} repeats, at most {self.most_lost:,} by one kill ({self.bound:,} allowed), "
            f"{self.seconds:.0f} s"
        )


@dataclass
class Campaign:
    """One run of the suite."""

    seed: int
    """Of every random moment: with one seed, processes are killed at the same times after their starts."""
    partition_kills: int
    """Processes to kill that run a partition without Airflow."""
    airflow_kills: int
    """Processes to kill of a real Airflow."""
    results: list[Measured] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Begin to measure a part's time."""
        self._began = time.monotonic()

    def tell(self, name: str, *, kills: Mapping[str, int], evidence: Sequence[Evidence], bound: int) -> None:
        """Keep what a part has measured; its time is what has passed since `begin`."""
        attempts = [attempt for one in evidence for attempt in one.attempts()]
        died = [attempt for attempt in attempts if attempt.served and not attempt.finished]
        self.results.append(
            Measured(
                name=name,
                kills=dict(kills),
                jobs=len(evidence),
                partitions=sum(len(one.job["Partitions"]) for one in evidence),
                objects=sum(one.lake.rows for one in evidence),
                attempts=len(attempts),
                died_at_work=len(died),
                repeats=sum(one.repeats for one in evidence),
                most_lost=max((attempt.lost for attempt in died), default=0),
                bound=bound,
                seconds=round(time.monotonic() - self._began, 1),
            )
        )
