"""Every error this package raises on purpose.

::

    S3BatchError
    ├── InvalidInput        a value, parameter or combination that can never work (also a ValueError)
    ├── ManifestError       the manifest can't be used: names file and row; `code` is AWS's FailureCode
    │   └── ManifestChanged     it is not the object that prepare pinned
    ├── ReportError         the report's location can't be written, or the report can't be completed
    │   └── PartitionsMissing   partitions that haven't finished, by their numbers
    ├── JobConflict         the job's folder holds something else than what was asked for
    ├── JobFailed           the job as a whole failed; `reasons` are AWS's FailureReasons
    ├── Stopped             the run was asked to stop, and everything done so far is saved
    └── S3Error             S3 answered a call with an error: `action`, `status`, `code`, `message`
        └── Unreachable         no usable answer at all: refused, timed out, reset, not HTTP

A failed *object* is never an exception: it is an :class:`~airflow_s3batch.core.rows.Outcome`.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "InvalidInput",
    "JobConflict",
    "JobFailed",
    "ManifestChanged",
    "ManifestError",
    "PartitionsMissing",
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
    start = str(text)[: limit + 1]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in start)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


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


class ReportError(S3BatchError):
    """The report's location can't be written, or the completion report can't be completed."""


class PartitionsMissing(ReportError):
    """The report was asked for while partitions have not finished; `partitions` are their numbers."""

    def __init__(self, job_id: str, partitions: Iterable[int], expected: int) -> None:
        self.job_id = job_id
        self.partitions = tuple(partitions)
        shown = ", ".join(map(str, self.partitions[:_LISTED])) + (", …" if len(self.partitions) > _LISTED else "")
        super().__init__(
            f"job {job_id}: {len(self.partitions)} of {expected} partitions have not finished ({shown}); "
            "run them again (in Airflow: clear the failed 'run' tasks with downstream) and the report follows"
        )


class JobConflict(S3BatchError):
    """The job's folder holds something else than what was asked for."""


class JobFailed(S3BatchError):
    """The job as a whole failed. `reasons` holds (FailureCode, FailureReason) pairs, AWS's JobFailure."""

    def __init__(self, job_id: str, reasons: Iterable[tuple[str, str]]) -> None:
        self.job_id = job_id
        self.reasons = tuple(reasons)
        told = "; ".join(f"{code}: {printable(reason, 256)}" for code, reason in self.reasons) or "no reason recorded"
        super().__init__(f"job {job_id} failed: {told}")


class Stopped(S3BatchError):
    """The run was asked to stop; what was done is checkpointed and a rerun goes on from there."""


class S3Error(S3BatchError):
    """S3 answered a call with an error.

    `status` is the HTTP status (0 if there was none), `code` and `message` are S3's own, `action` is
    the API action (``GetObject``), `resource` the ``s3://bucket/key`` it was about.
    """

    def __init__(self, action: str, resource: str, *, status: int, code: str, message: str) -> None:
        super().__init__(
            f"{action} {printable(resource)}: {status or 'no HTTP status'} {printable(code)}: {printable(message)}"
        )
        self.action = action
        self.resource = resource
        self.status = status
        self.code = code
        self.message = message


class Unreachable(S3Error):
    """No usable answer: the connection was refused, reset or timed out, or what came back wasn't HTTP."""
