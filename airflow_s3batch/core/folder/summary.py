"""What a person, and XCom, learn of a run: `Summary` of one partition, `JobSummary` of the job. JSON-able, a few KB."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_s3batch.core.folder.tally import Failure, Tally
from airflow_s3batch.core.job import JobStatus
from airflow_s3batch.core.values import as_written
from airflow_s3batch.core.wording import duration

__all__ = ["JobSummary", "Summary"]

_CODES_TOLD = 3
"""Error codes in a line of the log."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What has become of a partition once an attempt at it has run to its end. `tally` counts every row once."""

    partition: int
    attempt: int
    """1 for the first run of the partition."""
    rows: int
    skipped: int
    """Rows that had succeeded before this attempt, and weren't done again."""
    elapsed_seconds: float
    """Of this attempt."""
    tally: Tally

    def __str__(self) -> str:
        before = f", {self.skipped:,} of them before" if self.skipped else ""
        now = self.rows - self.skipped
        rate = f", {now / self.elapsed_seconds:,.0f} objects/s" if now and self.elapsed_seconds else ""
        codes = [f"{code} {count:,}" for code, count in self.tally.codes.items()]
        if len(codes) > _CODES_TOLD:
            codes[_CODES_TOLD:] = ["…"]
        failed = f"{self.tally.failed:,} failed" + (f" ({', '.join(codes)})" if codes else "")
        return f"{self.tally.succeeded:,} succeeded{before}, {failed}, in {duration(self.elapsed_seconds)}{rate}"

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON."""
        return {
            "partition": self.partition,
            "attempt": self.attempt,
            "rows": self.rows,
            "skipped": self.skipped,
            "elapsed_seconds": self.elapsed_seconds,
            **_tally_json(self.tally),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Summary:
        """Read what `to_json` wrote.

        Raises:
            InvalidInput: it isn't that.
        """
        with as_written("a partition's summary"):
            return cls(
                partition=told["partition"],
                attempt=told["attempt"],
                rows=told["rows"],
                skipped=told["skipped"],
                elapsed_seconds=told["elapsed_seconds"],
                tally=Tally(
                    succeeded=told["succeeded"],
                    failed=told["failed"],
                    codes=dict(told["failures_by_code"]),
                    examples=tuple(Failure(**example) for example in told["examples"]),
                ),
            )


@dataclass(frozen=True, kw_only=True)
class JobSummary:
    """What has become of the whole job."""

    job_id: str
    status: JobStatus
    operation: str
    """AWS's name of it: ``S3PutObjectTagging``."""
    total: int
    tally: Tally
    elapsed_seconds: float
    """Seconds in which at least one partition ran."""
    report_uri: str
    """The completion report's ``manifest.json``."""

    @property
    def objects_per_second(self) -> float:
        """Objects done a second, all partitions together."""
        return self.total / self.elapsed_seconds if self.elapsed_seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON."""
        return {
            "job_id": self.job_id,
            "status": self.status.value,
            "operation": self.operation,
            "total": self.total,
            **_tally_json(self.tally),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "objects_per_second": round(self.objects_per_second, 1),
            "report_uri": self.report_uri,
        }

    def table(self) -> str:
        """The summary as text for a log, some lines of at most about 120 characters."""
        tally = self.tally
        counts = [("objects", self.total, ""), ("succeeded", tally.succeeded, _share(tally.succeeded, self.total))]
        counts += [("failed", tally.failed, _share(tally.failed, self.total))]
        counts += [(f"  {code}", count, "") for code, count in tally.codes.items()]
        name_width = max(len(name) for name, _, _ in (*counts, ("operation", 0, "")))
        number_width = max(len(f"{count:,}") for _, count, _ in counts)
        lines = [
            f"{'job':<{name_width}}  {self.job_id}  {self.status.value}",
            f"{'operation':<{name_width}}  {self.operation}",
            *(f"{name:<{name_width}}  {count:>{number_width},}{share}" for name, count, share in counts),
            f"{'time':<{name_width}}  {duration(self.elapsed_seconds)}, {self.objects_per_second:,.0f} objects/s",
            f"{'report':<{name_width}}  {self.report_uri}",
            *_shown(tally.examples),
        ]
        rule = "─" * max(len(line) for line in lines[: -len(tally.examples) or None])
        return "\n".join([rule, *lines, rule])


def _tally_json(tally: Tally) -> dict[str, Any]:
    return {
        "succeeded": tally.succeeded,
        "failed": tally.failed,
        "failures_by_code": dict(tally.codes),
        "examples": [example._asdict() for example in tally.examples],
    }


def _share(part: int, whole: int) -> str:
    """A percentage that says 100 and 0 only where it is all and none."""
    if not part or not whole:
        return ""
    percent = 100 * part / whole
    return "  100 %" if part == whole else f"  {min(max(percent, 0.01), 99.99):.2f} %"


def _shown(examples: Iterable[Failure]) -> list[str]:
    lines = [f"  {uri}  {code}: {message}" for uri, code, message in examples]
    return ["failed, for example", *lines] if lines else []
