"""Every error this package raises on purpose.

::

    S3BatchError
    ├── InvalidInput        a value, parameter or combination that can never work (also a ValueError)
    ├── ManifestError       the manifest can't be used: names file and row; `code` is AWS's FailureCode
    │   ├── ManifestChanged     it is not the object that prepare pinned
    │   └── ManifestInvalid     what stands in it is wrong, and is so however often it is read
    ├── ReportError         the report's location can't be written, or the report can't be completed
    │   └── PartitionsMissing   partitions that haven't finished, by their numbers
    ├── JobConflict         what was asked for doesn't go with the job as its folder has it
    │   ├── PartitionRuns       partitions are being run, by their numbers
    │   ├── NoSuchJob           there is no job of that id at that location
    │   └── JobOver             the job has ended, and doesn't run again for whoever asks
    ├── JobFailed           the job as a whole failed; `reasons` are AWS's FailureReasons
    │   └── JobCancelled        somebody has cancelled it
    ├── Stopped             the run was asked to stop, and everything done so far is saved
    │   └── Paused              because the job is paused: it goes on once it is resumed
    ├── ObjectFailed        one object failed: raised by an operation, becomes the object's row in the report
    └── S3Error             S3 answered a call with an error: `action`, `status`, `code`, `message`
        ├── Unreachable         no usable answer at all: refused, timed out, reset, not HTTP
        └── CredentialsRefused  whatever the object: the credentials have expired, say

A failed *object* is no exception to whoever runs a job: it is an :class:`~airflow_s3batch.core.rows.Outcome`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = [
    "CredentialsRefused",
    "InvalidInput",
    "JobCancelled",
    "JobConflict",
    "JobFailed",
    "JobOver",
    "ManifestChanged",
    "ManifestError",
    "ManifestInvalid",
    "NoSuchJob",
    "ObjectFailed",
    "PartitionRuns",
    "PartitionsMissing",
    "Paused",
    "ReportError",
    "S3BatchError",
    "S3Error",
    "Stopped",
    "Unreachable",
    "printable",
]

_SHOWN = 200
_LISTED = 20


def printable(text: object, limit: int = _SHOWN) -> str:
    """Make untrusted text safe for one line of a log: control characters escaped, cut at `limit`."""
    start = _text(text)[: limit + 1]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in start)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def _text(thing: object) -> str:
    try:
        return str(thing)
    except Exception:  # noqa: BLE001 - an exception of somebody's own, say, with a mistake in its __str__
        return f"a {type(thing).__name__} that can't be told as text"


def _named(partitions: Mapping[int, object]) -> str:
    """``partition 3, rows 301 to 400; partition 5, …``."""
    shown = [f"partition {number}, {rows}" for number, rows in partitions.items()]
    return "; ".join(shown if len(shown) <= _LISTED else [*shown[:_LISTED], "…"])


class S3BatchError(Exception):
    """The root: catch this to catch everything the package raises on purpose."""


class InvalidInput(S3BatchError, ValueError):
    """A value, parameter or combination that can never work; the message names it and the way out."""


class ManifestError(S3BatchError):
    """The manifest can't be used. The message names the file and, where there is one, the row (1-based)."""

    def __init__(
        self, manifest: str, problem: str, *, row: int | None = None, code: str = "InvalidManifestContent"
    ) -> None:
        place = printable(manifest) if row is None else f"{printable(manifest)}, row {row}"
        super().__init__(f"{place}: {problem}")
        self.manifest = manifest
        self.row = row
        self.code = code


class ManifestChanged(ManifestError):
    """The manifest is not the object that prepare pinned by its ETag (or version)."""


class ManifestInvalid(ManifestError):
    """What stands in the manifest can't be used. It isn't that S3 didn't give it: reading it again finds the same."""


class ReportError(S3BatchError):
    """The report's location can't be written, or the completion report can't be completed."""


class PartitionsMissing(ReportError):
    """The report was asked for while partitions have not finished; `partitions` are their numbers.

    `partitions` are given as numbers and what a person knows them by: ``{3: "rows 301 to 400"}``. `causes` are what
    kept them from it, as far as they could say so: (code, reason) pairs.
    """

    def __init__(
        self, job_id: str, partitions: Mapping[int, object], expected: int, causes: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.job_id = job_id
        self.partitions = tuple(partitions)
        self.causes = tuple(dict.fromkeys(causes))
        super().__init__(
            f"job {job_id}: {len(self.partitions)} of {expected} partitions have not finished ({_named(partitions)}); "
            + (f"{self.causes[0][0]}: {printable(self.causes[0][1], 256)}; " if self.causes else "")
            + "run them again (in Airflow: clear the failed 'run' tasks with downstream) and the report follows"
        )


class JobConflict(S3BatchError):
    """What was asked for doesn't go with the job as its folder has it: its status, or what others have written."""


class PartitionRuns(JobConflict):
    """The report was asked for while partitions are being run; `partitions` are as with `PartitionsMissing`."""

    def __init__(self, job_id: str, partitions: Mapping[int, object]) -> None:
        self.job_id = job_id
        self.partitions = tuple(partitions)
        super().__init__(
            f"job {job_id}: another run of the job is at work on partitions that are missing ({_named(partitions)}); "
            "its report comes when that has ended; run this again then, if that run writes none"
        )


class NoSuchJob(JobConflict):
    """There is no job of that id at that location: waiting makes none."""


class JobOver(JobConflict):
    """The job has ended, or is about to, and doesn't run again for whoever asks."""


class JobFailed(S3BatchError):
    """The job as a whole failed. `reasons` holds (FailureCode, FailureReason) pairs, AWS's JobFailure.

    `report_uri` is where the report of what ran is; None if there is none, or it isn't known.
    """

    def __init__(self, job_id: str, reasons: Iterable[tuple[str, str]], *, report_uri: str | None = None) -> None:
        self.job_id = job_id
        self.report_uri = report_uri
        self.reasons = tuple(reasons)
        told = "; ".join(f"{code}: {printable(reason, 256)}" for code, reason in self.reasons) or "no reason recorded"
        super().__init__(f"job {job_id} failed: {told}")


class JobCancelled(JobFailed):
    """Somebody has cancelled the job. `reason` is what they said, its StatusUpdateReason."""

    def __init__(self, job_id: str, reason: str = "", *, report_uri: str | None = None) -> None:
        super().__init__(job_id, [("Cancelled", reason or "no reason is recorded")], report_uri=report_uri)
        self.reason = reason

    def __str__(self) -> str:
        return f"job {self.job_id} was cancelled" + (f": {printable(self.reason, 256)}" if self.reason else "")


class Stopped(S3BatchError):
    """The run was asked to stop; what was done is checkpointed and a rerun goes on from there."""


class Paused(Stopped):
    """The job is paused: what was done is checkpointed, and a run once it has been resumed goes on from there."""


class ObjectFailed(S3BatchError):
    """One object failed, and the job goes on. `code`, `message` and `http_status` go to the object's row."""

    def __init__(self, code: str, message: str, http_status: int = 0) -> None:
        super().__init__(f"{printable(code)}: {printable(message)}")
        self.code = code
        self.message = message
        self.http_status = http_status


class S3Error(S3BatchError):
    """S3 answered a call with an error.

    `status` is the HTTP status (0 if there was none), `code` and `message` are S3's own, `action` is
    the API action (``GetObject``), `resource` the ``s3://bucket/key`` it was about.
    """

    def __init__(self, action: str, resource: str, *, status: int, code: str, message: str) -> None:
        super().__init__(
            f"{action} {printable(resource)}: {f'{status} ' if status else ''}{printable(code)}: {printable(message)}"
        )
        self.action = action
        self.resource = resource
        self.status = status
        self.code = code
        self.message = message


class Unreachable(S3Error):
    """No usable answer: the connection was refused, reset or timed out, or what came back wasn't HTTP."""


class CredentialsRefused(S3Error):
    """S3 refuses the credentials themselves, also after a look for fresh ones: that says nothing about an object."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()} (S3 refuses the credentials, whatever the object: renew the connection's, or set the "
            "worker's clock if S3 complains of that; then run it again, and it goes on from here)"
        )
