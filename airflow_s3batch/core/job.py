"""The job: what was asked for (`JobSpec`), what prepare found (`Job`), and its statuses, in AWS's words."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator
from typing_extensions import Self

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.limits import AWS_RULE, FailureThreshold, Limits
from airflow_s3batch.core.location import S3Location, check_account
from airflow_s3batch.core.manifest import GeneratedManifest, Manifest, manifest_from_aws
from airflow_s3batch.core.operations import Operation, operation_from_aws
from airflow_s3batch.core.partition import Partition
from airflow_s3batch.core.rendering import is_template, rendered
from airflow_s3batch.core.values import Text, Value, as_create_job_takes, as_written, known_arguments, require_rendered

__all__ = ["BUCKETS_KEPT", "DESCRIPTION_MOST", "CompletionReport", "Job", "JobSpec", "JobStatus", "check_priority"]

# Namespace of every job id. Never change it: a job's folder is found again by it.
_JOB_IDS = uuid.UUID("2c0a5c86-6a1e-4d0a-9a53-1a5c0de7b0b5")
DESCRIPTION_MOST = 256
"""Characters: NonEmptyMaxLength256String of the s3control model."""
BUCKETS_KEPT = 100
"""Of those in which a job's objects are, in ``job.json``."""
_PREFIX_MOST = 512  # characters: ReportPrefixString of the s3control model
_REPORT_FORMAT = "Report_CSV_20180820"
_REPORT_MEMBERS = {"Bucket", "Format", "Enabled", "Prefix", "ReportScope", "ExpectedBucketOwner"}
_PRIORITY_MOST = 2_147_483_647
"""JobPriority of the s3control model, and what Airflow's database takes."""


def check_priority(priority: Any) -> int:
    """Return the priority, if AWS and Airflow take it.

    Raises:
        InvalidInput: they don't.
    """
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= _PRIORITY_MOST:
        raise InvalidInput(f"priority={printable(repr(priority))}; it is a whole number from 0 to {_PRIORITY_MOST}")
    return priority


class JobStatus(str, Enum):
    """AWS's JobStatus, and which may follow which."""

    NEW = "New"
    PREPARING = "Preparing"
    SUSPENDED = "Suspended"
    READY = "Ready"
    ACTIVE = "Active"
    PAUSING = "Pausing"
    PAUSED = "Paused"
    COMPLETING = "Completing"
    COMPLETE = "Complete"
    CANCELLING = "Cancelling"
    CANCELLED = "Cancelled"
    FAILING = "Failing"
    FAILED = "Failed"

    @property
    def ended(self) -> bool:
        """Whether the job has ended: Complete, Cancelled or Failed."""
        return self in {JobStatus.COMPLETE, JobStatus.CANCELLED, JobStatus.FAILED}


class CompletionReport(Value):
    """Where the job's folder and its completion report go, and what the report holds.

    The report is written to ``<location>/job-<id>/`` in AWS's layout (Report_CSV_20180820).
    """

    location: Text
    """``s3://bucket/prefix``."""
    scope: Literal["AllTasks", "FailedTasksOnly"] = "AllTasks"
    """Whether succeeded objects have rows too (AWS's ReportScope)."""
    bucket_owner: Annotated[Text, AfterValidator(check_account)] | None = None
    """The account that has to own the bucket (AWS's ExpectedBucketOwner): S3 refuses to write to another's."""

    def __init__(
        self,
        location: str,
        *,
        scope: Literal["AllTasks", "FailedTasksOnly"] = "AllTasks",
        bucket_owner: str | None = None,
    ) -> None:
        super().__init__(location=location, scope=scope, bucket_owner=bucket_owner)

    @field_validator("location")
    @classmethod
    def _check_location(cls, location: str) -> str:
        if is_template(location):
            return location
        prefix = S3Location.parse(location).key.strip("/")
        if len(prefix) > _PREFIX_MOST:
            raise InvalidInput(f"the report's prefix has {len(prefix)} characters; AWS allows {_PREFIX_MOST}")
        return location

    @property
    def place(self) -> S3Location:
        """Bucket, prefix without a slash at its ends, and the account that has to own the bucket."""
        place = S3Location.parse(self.location)
        return S3Location(place.bucket, place.key.strip("/"), self.bucket_owner or "")

    def to_aws(self) -> dict[str, Any]:
        """AWS's JobReport, except that a location that can't be parsed yet (a template) stands in ``Bucket`` whole."""
        report: dict[str, Any] = {"Format": _REPORT_FORMAT, "Enabled": True, "ReportScope": self.scope}
        if self.bucket_owner is not None:
            report["ExpectedBucketOwner"] = self.bucket_owner
        if is_template(self.location):
            return {"Bucket": self.location, **report}
        place = self.place
        report["Bucket"] = S3Location(place.bucket, "").arn
        return {**report, "Prefix": place.key} if place.key else report

    @classmethod
    def from_aws(cls, report: dict[str, Any]) -> Self:
        """Build it from AWS's JobReport (or from what `to_aws` gave for a template, rendered).

        Raises:
            InvalidInput: the location is no S3 place, or the format another one.
        """
        known_arguments(cls.__name__, report, _REPORT_MEMBERS)
        with as_create_job_takes(cls.__name__):
            return cls._from_members(report)

    @classmethod
    def _from_members(cls, report: dict[str, Any]) -> Self:
        if (form := report.get("Format", _REPORT_FORMAT)) != _REPORT_FORMAT:
            raise InvalidInput(f"CompletionReport: Format {printable(repr(form))} is unknown; it is {_REPORT_FORMAT}")
        if not report.get("Enabled", True):
            raise InvalidInput("CompletionReport: Enabled has to be true: the job's folder is where the report goes")
        location, prefix = report.get("Bucket", ""), report.get("Prefix", "")
        if not isinstance(prefix, str):
            raise InvalidInput(f"CompletionReport: Prefix {printable(repr(prefix))} is no text; leave it out for none")
        if location.startswith("arn:"):
            place = S3Location.from_arn(location)
            if place.key:
                wrong = f"Bucket {printable(repr(location))} names more than a bucket"
                raise InvalidInput(f"CompletionReport: {wrong}; say {printable(repr(place.key))} as Prefix")
            location = S3Location(place.bucket, prefix).uri
        return cls(
            location, scope=report.get("ReportScope", "AllTasks"), bucket_owner=report.get("ExpectedBucketOwner")
        )


class JobSpec(Value):
    """Everything an author says about a job.

    Raises:
        InvalidInput: (when built) a text in it is a template that was never rendered.
    """

    manifest: Manifest
    operation: Operation
    report: CompletionReport
    limits: Limits = Limits()
    threshold: FailureThreshold | None = AWS_RULE
    """When the job fails because of its objects; None for never."""
    description: Text = Field(default="", max_length=DESCRIPTION_MOST)
    priority: Annotated[int, AfterValidator(check_priority)] = 0
    """Jobs of a higher one go first."""

    @model_validator(mode="after")
    def _check_rendered(self) -> Self:
        require_rendered(self.to_aws())
        return self

    def to_aws(self) -> dict[str, Any]:
        """CreateJob's words for it, and our Limits and FailureThreshold.

        They are Manifest or ManifestGenerator, Operation, Report, Description and Priority.
        """
        manifest = "ManifestGenerator" if isinstance(self.manifest, GeneratedManifest) else "Manifest"
        return {
            "Description": self.description,
            "Priority": self.priority,
            manifest: self.manifest.to_aws(),
            "Operation": self.operation.to_aws(),
            "Report": self.report.to_aws(),
            "Limits": self.limits.to_aws(),
            "FailureThreshold": self.threshold.to_aws() if self.threshold is not None else None,
        }

    @classmethod
    def from_aws(cls, spec: dict[str, Any], *, operation_of: Callable[[Any], Operation] = operation_from_aws) -> Self:
        """Build the spec from `to_aws`'s JSON, as strictly as from literals; `operation_of` its operation.

        Raises:
            InvalidInput: something in it is unknown, missing, wrong, or an unrendered template.
        """
        manifest = spec.get("Manifest", spec.get("ManifestGenerator"))
        told = {"Manifest": manifest, "Operation": spec.get("Operation"), "Report": spec.get("Report")}
        if missing := [name for name, value in told.items() if value is None]:
            raise InvalidInput(f"a job needs {', '.join(missing)}")
        return cls(
            manifest=manifest_from_aws(manifest),
            operation=operation_of(spec["Operation"]),
            report=CompletionReport.from_aws(spec["Report"]),
            limits=Limits(**spec.get("Limits", {})),
            threshold=FailureThreshold.from_aws(spec.get("FailureThreshold", AWS_RULE.to_aws())),
            description=spec.get("Description", ""),
            priority=spec.get("Priority", 0),
        )

    def job_id(self, *owner: str) -> str:
        """The id of this job when `owner` (DAG, run, group) asks for it: the same at every try.

        Limits, threshold, description and priority don't change it; the manifest's ETag, once pinned, does.
        """
        identity = [list(owner), self.manifest.to_aws(), self.operation.to_aws(), self.report.to_aws()]
        return str(uuid.uuid5(_JOB_IDS, json.dumps(identity, sort_keys=True, ensure_ascii=False)))


class Job(Value):
    """A prepared job, as ``job.json`` keeps it. `spec.manifest` is pinned."""

    job_id: str
    spec: JobSpec
    total: int
    """Rows of the manifest."""
    partitions: tuple[Partition, ...]
    created: str
    """When prepare made it, ISO 8601 in UTC."""
    buckets: tuple[str, ...] = ()
    """The objects' buckets, up to 100."""
    question: Manifest | None = None
    """What was asked for, where `spec.manifest` is the list that prepare made of it."""

    def to_aws(self) -> dict[str, Any]:
        """``job.json``: the spec's words with JobId, CreationTime, and what prepare found.

        It has a ManifestGenerator beside the Manifest where prepare found the objects.
        """
        return {
            **({} if self.question is None else {"ManifestGenerator": self.question.to_aws()}),
            "JobId": self.job_id,
            "CreationTime": self.created,
            **self.spec.to_aws(),
            "TotalNumberOfTasks": self.total,
            "Buckets": list(self.buckets),
            "Partitions": [partition._asdict() for partition in self.partitions],
        }

    @classmethod
    def from_aws(cls, job: dict[str, Any], *, operation_of: Callable[[Any], Operation] = operation_from_aws) -> Self:
        """Build the job from ``job.json``; `operation_of` its operation.

        Raises:
            InvalidInput: it isn't one.
        """
        with as_written("a prepared job"), rendered():
            return cls(
                job_id=job["JobId"],
                created=job["CreationTime"],
                spec=JobSpec.from_aws(job, operation_of=operation_of),
                total=job["TotalNumberOfTasks"],
                partitions=tuple(Partition(**partition) for partition in job["Partitions"]),
                buckets=tuple(job.get("Buckets", ())),
                question=manifest_from_aws(job["ManifestGenerator"]) if "ManifestGenerator" in job else None,
            )
