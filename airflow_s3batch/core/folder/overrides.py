"""`Overrides`: what somebody has changed of a job since it was prepared. ``control.json`` in the job's folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_s3batch.core.folder.status import iso
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.values import as_written

__all__ = ["Overrides"]


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What counts instead of what ``job.json`` says; every partition reads it again and again while it runs."""

    limits: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Limits`."""
    priority: int | None = None
    after: tuple[str, ...] = ()
    """Jobs of a higher priority, which go first."""
    changed: str | None = None
    """When it was changed last, ISO 8601 in UTC."""

    def on(self, limits: Limits) -> Limits:
        """The limits that count where the job was given these.

        Raises:
            InvalidInput: one of them can't be.
        """
        return Limits(**{**limits.to_aws(), **self.limits})

    def with_limits(self, limits: Mapping[str, Any], *, at: datetime) -> Overrides:
        """The same with these limits, too."""
        return dataclasses.replace(self, limits={**self.limits, **limits}, changed=iso(at))

    def with_priority(self, priority: int, *, after: Iterable[str], at: datetime) -> Overrides:
        """The same with this priority, and going after these jobs."""
        return dataclasses.replace(self, priority=priority, after=tuple(sorted(after)), changed=iso(at))

    def going_after(self, job_id: str, *, goes: bool, at: datetime) -> Overrides:
        """The same, going after that job, or not going after it."""
        if (job_id in self.after) == goes:
            return self
        after = {*self.after, job_id} if goes else set(self.after) - {job_id}
        return dataclasses.replace(self, after=tuple(sorted(after)), changed=iso(at))

    def to_json(self) -> dict[str, Any]:
        """What ``control.json`` holds."""
        return {
            "Limits": dict(self.limits),
            "Priority": self.priority,
            "After": list(self.after),
            "Changed": self.changed,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Overrides:
        """Read what `to_json` wrote.

        Raises:
            InvalidInput: it isn't that.
        """
        with as_written("a job's overrides"):
            overrides = cls(
                limits=dict(told["Limits"]),
                priority=told["Priority"],
                after=tuple(map(str, told.get("After", ()))),
                changed=told["Changed"],
            )
            overrides.on(Limits())
        return overrides
