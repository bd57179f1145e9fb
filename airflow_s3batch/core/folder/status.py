"""`JobState`: where a job stands, in DescribeJob's words, and which status may follow which.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-status.html
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from airflow_s3batch.core.errors import JobConflict, ManifestError, S3Error, printable
from airflow_s3batch.core.job import JobStatus
from airflow_s3batch.core.values import as_written

__all__ = [
    "AWAITING",
    "FINAL",
    "MANIFEST_CHANGED",
    "REASON_MOST",
    "THRESHOLD_PASSED",
    "FailureReason",
    "JobState",
    "iso",
    "utc_now",
]

_ENDING = frozenset(
    {
        JobStatus.COMPLETING,
        JobStatus.COMPLETE,
        JobStatus.CANCELLING,
        JobStatus.CANCELLED,
        JobStatus.FAILING,
        JobStatus.FAILED,
    }
)
# A job that has nothing to wind down passes Failing or Cancelling in no time.
_FAILS = frozenset({JobStatus.FAILING, JobStatus.FAILED})
_CANCELS = frozenset({JobStatus.CANCELLING, JobStatus.CANCELLED})
_NEXT: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.NEW: _FAILS | _CANCELS | {JobStatus.PREPARING},
    JobStatus.PREPARING: _FAILS | _CANCELS | {JobStatus.SUSPENDED, JobStatus.READY},
    JobStatus.SUSPENDED: _FAILS | _CANCELS | {JobStatus.READY},
    JobStatus.READY: _FAILS | _CANCELS | {JobStatus.ACTIVE, JobStatus.PAUSING, JobStatus.PAUSED},
    JobStatus.ACTIVE: _FAILS | _CANCELS | {JobStatus.PAUSING, JobStatus.COMPLETING},
    JobStatus.PAUSING: _FAILS | _CANCELS | {JobStatus.PAUSED},
    JobStatus.PAUSED: _FAILS | _CANCELS | {JobStatus.ACTIVE, JobStatus.READY},
    JobStatus.COMPLETING: _FAILS | {JobStatus.COMPLETE},
    JobStatus.CANCELLING: _FAILS | {JobStatus.CANCELLED},
    JobStatus.FAILING: frozenset({JobStatus.FAILED}),
}
# Ours, not AWS's: a job that ended, or died while ending, is opened again by running it again, or by asking again
# whether it may run.
_REOPENED = frozenset({JobStatus.PREPARING, JobStatus.SUSPENDED, JobStatus.ACTIVE})
# What a person has cancelled, no run that happens to come late opens again: only prepare does.
_REOPENED_BY_PREPARE = frozenset({JobStatus.PREPARING, JobStatus.SUSPENDED})

THRESHOLD_PASSED = "FailureThresholdExceeded"
"""FailureCode of a job in which too many objects have failed."""
MANIFEST_CHANGED = "ManifestChanged"
"""FailureCode of a job whose manifest is no longer the one that it was prepared for."""
FINAL = frozenset({THRESHOLD_PASSED, MANIFEST_CHANGED})
"""FailureCodes of jobs that can't go on: they get the report of what ran."""
_CODE_MOST, REASON_MOST = 64, 256
_TAKERS_KEPT = 10
"""Every partition reads them every few seconds, and the last ones are those that a person clears."""

AWAITING = "AwaitingConfirmation"
"""SuspendedCause of a job that waits for a person, or was only prepared."""


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(timezone.utc)


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: ``2026-11-24T16:34:00.000Z``."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FailureReason(NamedTuple):
    """AWS's JobFailure: a code of up to 64 characters and a reason of up to 256."""

    code: str
    reason: str

    @classmethod
    def of(cls, error: BaseException) -> FailureReason:
        """What an error says: the manifest's or S3's own code where it has one, else the error's name."""
        code = error.code if isinstance(error, (ManifestError, S3Error)) else type(error).__name__
        return cls(printable(code, _CODE_MOST), printable(error, REASON_MOST))


@dataclass(frozen=True, kw_only=True)
class JobState:
    """Where a job stands, as ``status.json`` keeps it."""

    job_id: str
    status: JobStatus
    created: str
    """ISO 8601 in UTC."""
    reason: str = ""
    """StatusUpdateReason."""
    failures: tuple[FailureReason, ...] = ()
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    active_seconds: int = 0
    """ElapsedTimeInActiveSeconds."""
    ended: str | None = None
    """TerminationDate, ISO 8601 in UTC."""
    report_uri: str | None = None
    """The completion report's ``manifest.json``, once it is there."""
    opened: int = 1
    """How often it has been opened: more than once if it was run again after it had ended."""
    suspended: str | None = None
    """SuspendedDate: when the job was suspended last, ISO 8601 in UTC."""
    suspended_cause: str = ""
    """SuspendedCause."""
    taken_up_by: tuple[tuple[str, ...], ...] = ()
    """Who has run it by its id (DAG, run, task), the latest last: to them it is their job, as if they had made it."""

    def moved(
        self, status: JobStatus, *, at: datetime, reason: str = "", failures: Iterable[FailureReason] = ()
    ) -> JobState:
        """The job in its next status, which may be the one it is in. Of one that is suspended, `reason` is the cause.

        Raises:
            JobConflict: that status can't follow this one.
        """
        reopened = status in self._reopens()
        if status is not self.status and not reopened and status not in _NEXT.get(self.status, ()):
            raise JobConflict(
                f"job {self.job_id} is {self.status.value} and can't become {status.value}; "
                f"from {self.status.value} it can become "
                + ", ".join(sorted(next_.value for next_ in _NEXT.get(self.status) or self._reopens()))
            )
        return dataclasses.replace(
            self,
            status=status,
            reason=printable(reason, REASON_MOST),
            failures=tuple(failures),
            ended=iso(at) if status.ended else None,
            report_uri=None if reopened else self.report_uri,  # it tells of the job as it was
            opened=self.opened + reopened,
            suspended=iso(at) if status is JobStatus.SUSPENDED else self.suspended,
            suspended_cause=printable(reason, REASON_MOST) if status is JobStatus.SUSPENDED else self.suspended_cause,
        )

    def _reopens(self) -> frozenset[JobStatus]:
        if self.status in _CANCELS:
            return _REOPENED_BY_PREPARE
        return _REOPENED if self.status in _ENDING else frozenset()

    def counted(self, *, total: int, succeeded: int, failed: int, active_seconds: float) -> JobState:
        """The same with these numbers in its ProgressSummary."""
        seconds = round(active_seconds)
        return dataclasses.replace(self, total=total, succeeded=succeeded, failed=failed, active_seconds=seconds)

    def taken_up(self, by: Sequence[str]) -> JobState:
        """The same, run by its id by somebody; the last ten are remembered."""
        others = [taker for taker in self.taken_up_by if taker != tuple(by)]
        return dataclasses.replace(self, taken_up_by=(*others, tuple(by))[-_TAKERS_KEPT:])

    def reported(self, uri: str) -> JobState:
        """The same with its completion report there."""
        return dataclasses.replace(self, report_uri=uri)

    def to_aws(self) -> dict[str, Any]:
        """DescribeJob's JobDescriptor, as far as it tells of progress, and ReportUri once the report is there."""
        described: dict[str, Any] = {
            "JobId": self.job_id,
            "Status": self.status.value,
            "StatusUpdateReason": self.reason,
            "FailureReasons": [{"FailureCode": code, "FailureReason": reason} for code, reason in self.failures],
            "ProgressSummary": {
                "TotalNumberOfTasks": self.total,
                "NumberOfTasksSucceeded": self.succeeded,
                "NumberOfTasksFailed": self.failed,
                "Timers": {"ElapsedTimeInActiveSeconds": self.active_seconds},
            },
            "CreationTime": self.created,
        }
        if self.ended:
            described["TerminationDate"] = self.ended
        if self.opened > 1:
            described["Opened"] = self.opened
        if self.suspended:
            described |= {"SuspendedDate": self.suspended, "SuspendedCause": self.suspended_cause}
        if self.taken_up_by:
            described["TakenUpBy"] = [list(taker) for taker in self.taken_up_by]
        if self.report_uri:
            described["ReportUri"] = self.report_uri
        return described

    @classmethod
    def from_aws(cls, described: dict[str, Any]) -> JobState:
        """Read what `to_aws` wrote.

        Raises:
            InvalidInput: it isn't that.
        """
        with as_written("a job's status"):
            progress = described["ProgressSummary"]
            return cls(
                job_id=described["JobId"],
                status=JobStatus(described["Status"]),
                created=described["CreationTime"],
                reason=described["StatusUpdateReason"],
                failures=tuple(
                    FailureReason(r["FailureCode"], r["FailureReason"]) for r in described["FailureReasons"]
                ),
                total=progress["TotalNumberOfTasks"],
                succeeded=progress["NumberOfTasksSucceeded"],
                failed=progress["NumberOfTasksFailed"],
                active_seconds=progress["Timers"]["ElapsedTimeInActiveSeconds"],
                ended=described.get("TerminationDate"),
                report_uri=described.get("ReportUri"),
                opened=described.get("Opened", 1),
                suspended=described.get("SuspendedDate"),
                suspended_cause=described.get("SuspendedCause", ""),
                taken_up_by=tuple(tuple(taker) for taker in described.get("TakenUpBy", ())),
            )
