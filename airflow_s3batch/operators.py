"""The three steps of a job as operators: prepare, run (mapped over partitions), report; and all of them in one task."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.sdk import TriggerRule, XComArg

from airflow_s3batch.assets import report_alias
from airflow_s3batch.core.errors import InvalidInput, S3BatchError, Stopped, printable
from airflow_s3batch.core.job import CompletionReport, JobSpec
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.partition import MAX_PARTITIONS, ROWS_PER_PARTITION
from airflow_s3batch.core.values import Value
from airflow_s3batch.task import S3BatchTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_s3batch.core.manifest import Manifest
    from airflow_s3batch.core.operations import Operation

__all__ = ["S3BatchJobOperator", "S3BatchPrepareOperator", "S3BatchReportOperator", "as_report"]

_SPEC_FIELDS = ("manifest", "operation", "report", "description")


class S3BatchPrepareOperator(S3BatchTask):
    """Check the whole job, and cut its manifest into partitions; nothing is done to any object yet.

    Returns the partitions, a dictionary each: ``S3BatchJobOperator.partial(...).expand(partition=prepare.output)``.
    The XCom ``job`` holds what `S3BatchReportOperator` needs: ``job=prepare.output["job"]``.

    A retry, or the same DAG run repeated, finds the job it made before.

    Args:
        manifest: the list of objects (templated); or AWS's JobManifest, a dictionary.
        operation: what to do to each of them (templated); or AWS's JobOperation, a dictionary.
        report: where the job's folder and the completion report go (templated): ``s3://bucket/prefix``, or a
            CompletionReport to say more.
        limits: how hard the job may drive S3.
        description: of the job, at most 256 characters (templated).
        rows_per_partition: about how many objects one mapped task gets.
        max_partitions: most partitions; more rows go into each when it takes more. Airflow maps a task at most
            ``[core] max_map_length`` times.
        aws_conn_id: the Airflow connection to S3 (templated).
        region_name: a region instead of the connection's (templated).
        verify: whether to verify TLS certificates, or a file of CA certificates, instead of the connection's.
    """

    template_fields: Sequence[str] = (*_SPEC_FIELDS, *S3BatchTask.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(("manifest", "operation", "report"), "json")

    def __init__(
        self,
        *,
        manifest: Manifest | dict[str, Any] | XComArg,
        operation: Operation | dict[str, Any] | XComArg,
        report: CompletionReport | str | dict[str, Any] | XComArg,
        limits: Limits | None = None,
        description: str = "",
        rows_per_partition: int = ROWS_PER_PARTITION,
        max_partitions: int = MAX_PARTITIONS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        self.operation = operation
        self.report: CompletionReport | dict[str, Any] = as_report(report)
        self.limits = limits
        self.description = description
        self.rows_per_partition = rows_per_partition
        self.max_partitions = max_partitions
        self.depend_on(self.manifest, self.operation, self.report)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return the partitions: job_id, report, number, first_row, rows."""
        _check_map_length(self.max_partitions)
        spec = _spec(self.manifest, self.operation, self.report, self.limits, self.description)
        job, report_uri = self.prepare_job(
            context,
            self.open_access(),
            spec,
            rows_per_partition=self.rows_per_partition,
            max_partitions=self.max_partitions,
        )
        reference = {"job_id": job.job_id, "report": job.spec.report.to_aws()}
        facts = {"total": job.total, "partitions": len(job.partitions), "report_uri": report_uri}
        context["ti"].xcom_push("job", {**reference, **facts})
        return [
            {**reference, "number": part.number, "first_row": part.first_row, "rows": part.rows}
            for part in job.partitions
        ]


class S3BatchJobOperator(S3BatchTask):
    """Run a job: one partition of a prepared one, or a small one from beginning to end.

    With `partition` it does the operation on the objects of that partition that haven't succeeded yet, and returns the
    partition's summary; map it over what `S3BatchPrepareOperator` returns. Without, it takes what describes a job,
    prepares it, runs it and writes its completion report in this one task, and returns the job's summary.

    Objects that fail are rows of the report; the task fails when it can't go on. A retry goes on where it stopped.

    Args:
        partition: one of the partitions that prepare returned (templated).
        manifest: for a whole job, as `S3BatchPrepareOperator` takes it.
        operation: likewise.
        report: likewise.
        limits: likewise.
        description: likewise.
        rows_per_partition: likewise.
        aws_conn_id: as for `S3BatchPrepareOperator`, with region_name and verify.
    """

    template_fields: Sequence[str] = ("partition", *_SPEC_FIELDS, *S3BatchTask.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(
        ("partition", "manifest", "operation", "report"), "json"
    )

    def __init__(
        self,
        *,
        partition: dict[str, Any] | XComArg | None = None,
        manifest: Manifest | dict[str, Any] | XComArg | None = None,
        operation: Operation | dict[str, Any] | XComArg | None = None,
        report: CompletionReport | str | dict[str, Any] | XComArg | None = None,
        limits: Limits | None = None,
        description: str = "",
        rows_per_partition: int = ROWS_PER_PARTITION,
        **kwargs: Any,
    ) -> None:
        _check_whole_or_part(partition, manifest=manifest, operation=operation, report=report)
        place = None if report is None else as_report(report)
        if place is not None:
            kwargs["outlets"] = [report_alias(place.location), *(kwargs.get("outlets") or ())]
        super().__init__(**kwargs)
        self.partition = partition
        self.manifest = manifest
        self.operation = operation
        self.report: CompletionReport | dict[str, Any] | None = place
        self.limits = limits
        self.description = description
        self.rows_per_partition = rows_per_partition
        self.depend_on(manifest, operation, place)

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the summary of the partition, or of the job."""
        access = self.open_access()
        if self.partition is not None:
            given = _reference("partition", self.partition, "number")
            return self.run_one(access, self.find_job(context, access, given), given["number"])
        spec = _spec(self.manifest, self.operation, self.report, self.limits, self.description)
        job, _ = self.prepare_job(context, access, spec, rows_per_partition=self.rows_per_partition)
        try:
            for partition in job.partitions:
                self.run_one(access, job, partition.number)
        except Stopped:
            raise
        except S3BatchError:
            # A report over what is missing can't be completed, and lets whoever waits for the job know that it failed.
            with contextlib.suppress(S3BatchError):
                self.complete_job(context, access, job)
            raise
        return self.complete_job(context, access, job)


class S3BatchReportOperator(S3BatchTask):
    """Write the completion report of a job whose partitions have run, and return the job's summary.

    It runs when all partitions have ended, however they did, and fails if one hasn't run to its end: the job isn't done
    then. It is skipped if they are, and doesn't run when prepare failed.

    Returns job_id, status, operation, total, succeeded, failed, failures_by_code, examples, elapsed_seconds,
    objects_per_second and report_uri. An asset event has the same as its ``extra``, with failures_by_code and examples
    as JSON text.

    Args:
        job: ``prepare.output["job"]`` (templated).
        outlets: assets of yours that get an event with the summary; an AssetAlias gets it for the report's location.
        aws_conn_id: as for `S3BatchPrepareOperator`, with region_name and verify.
    """

    template_fields: Sequence[str] = ("job", *S3BatchTask.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"job": "json"}

    def __init__(
        self,
        *,
        job: dict[str, Any] | XComArg,
        # Not all_done: a failed prepare would let the report succeed or fail by itself, and a skipped one make it fail.
        trigger_rule: TriggerRule | str = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
        **kwargs: Any,
    ) -> None:
        super().__init__(trigger_rule=trigger_rule, **kwargs)
        self.job = job

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the job's summary."""
        access = self.open_access()
        return self.complete_job(context, access, self.find_job(context, access, _reference("job", self.job)))


def as_report(report: CompletionReport | str | dict[str, Any] | XComArg) -> CompletionReport:
    """Return the report that an author means: by its location, as AWS's JobReport, or by the XComArg of a location.

    Raises:
        InvalidInput: it is no place in S3.
    """
    if isinstance(report, CompletionReport):
        return report
    return CompletionReport.from_aws(report) if isinstance(report, dict) else CompletionReport(cast("str", report))


def _spec(manifest: Any, operation: Any, report: Any, limits: Limits | None, description: str) -> JobSpec:
    """The job, of values and of what rendering made of them.

    Raises:
        InvalidInput: a field is wrong, or holds a template that was never rendered.
    """
    return JobSpec.from_aws(
        {
            "Manifest": _as_aws(manifest),
            "Operation": _as_aws(operation),
            "Report": _as_aws(report),
            "Limits": (limits or Limits()).to_aws(),
            "Description": description,
        }
    )


def _as_aws(value: Any) -> Any:
    return value.to_aws() if isinstance(value, Value) else value


def _reference(name: str, given: Any, *more: str) -> dict[str, Any]:
    """What prepare gave, if it is that."""
    fields = ("job_id", "report", *more)
    if isinstance(given, dict) and all(field in given for field in fields):
        return given
    raise InvalidInput(
        f"{name} must be what S3BatchPrepareOperator gives, with {', '.join(fields)}; got {printable(repr(given))}"
    )


def _check_whole_or_part(partition: Any, **whole: Any) -> None:
    missing = [name for name, value in whole.items() if value is None]
    if partition is None and missing:
        raise InvalidInput(f"S3BatchJobOperator needs a partition, or a whole job: {', '.join(missing)} missing")
    if partition is not None and len(missing) < len(whole):
        raise InvalidInput(
            "S3BatchJobOperator takes a partition or a whole job (manifest, operation, report), not both"
        )


def _check_map_length(max_partitions: int) -> None:
    from airflow.configuration import conf

    most = conf.getint("core", "max_map_length", fallback=1024)
    if max_partitions > most:
        raise InvalidInput(
            f"max_partitions={max_partitions}, but Airflow maps a task at most {most} times; "
            "lower it, or raise [core] max_map_length"
        )
