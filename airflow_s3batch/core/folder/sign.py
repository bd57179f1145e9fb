"""`Sign`: a partition's sign of life, which its run leaves in the job's folder every few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_s3batch.core.folder.checkpoint import Counts, Span
from airflow_s3batch.core.values import as_written

__all__ = ["BEAT", "LIVES", "Sign"]

BEAT = 3.0
"""Seconds between two signs of life."""
LIVES = 5
"""Beats for which a run without one counts as alive. They are measured by S3's clock, so that no worker's matters."""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What a run says of itself while it runs."""

    owner: str
    """The run, as its `Attempt` names it."""
    attempt: int
    opened: int
    """How often the job had been opened when the run began (`JobState.opened`)."""
    counts: Counts
    rate: float
    """Objects a second, lately."""
    spans: tuple[Span, ...]
    """When the partition ran, this attempt up to now included."""

    def to_json(self) -> dict[str, Any]:
        """The sign as JSON."""
        return {
            "Owner": self.owner,
            "Attempt": self.attempt,
            "Opened": self.opened,
            "Succeeded": self.counts.succeeded,
            "Failed": self.counts.failed,
            "ObjectsPerSecond": round(self.rate, 1),
            "Spans": [list(span) for span in self.spans],
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Sign:
        """Read what `to_json` wrote.

        Raises:
            InvalidInput: it isn't that.
        """
        with as_written("a sign of life"):
            return cls(
                owner=told["Owner"],
                attempt=told["Attempt"],
                opened=told["Opened"],
                counts=Counts(told["Succeeded"], told["Failed"]),
                rate=told["ObjectsPerSecond"],
                spans=tuple(Span(*span) for span in told["Spans"]),
            )
