"""The three steps of a job as operators: prepare, run (mapped over partitions), report; and all of them in one task."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.sdk import TriggerRule, XComArg

from airflow_s3batch.asked import (
    as_reference,
    as_report,
    as_spec,
    check_asked,
    check_flags,
    check_map_length,
    check_new_or_old,
    check_nothing_to_wait_for,
    check_text,
    check_whole_or_part,
)
from airflow_s3batch.assets import report_alias
from airflow_s3batch.core.errors import S3BatchError, Stopped
from airflow_s3batch.core.job import check_priority
from airflow_s3batch.core.limits import AWS_RULE, FailureThreshold
from airflow_s3batch.core.partition import MAX_PARTITIONS, ROWS_PER_PARTITION, check_sizes
from airflow_s3batch.core.prices import check_prices
from airflow_s3batch.failures import PlainFailures, is_final
from airflow_s3batch.task import S3BatchTask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.sdk import Context

    from airflow_s3batch.core.engine import S3Access
    from airflow_s3batch.core.job import CompletionReport, Job
    from airflow_s3batch.core.limits import Limits
    from airflow_s3batch.core.manifest import Manifest
    from airflow_s3batch.core.operations import Operation

__all__ = ["S3BatchJobOperator", "S3BatchPrepareOperator", "S3BatchReportOperator"]

_SPEC_FIELDS = ("manifest", "operation", "report", "description")


class S3BatchPrepareOperator(S3BatchTask):
    """Check the whole job, and cut its manifest into partitions; nothing is done to any object yet.

    Returns the partitions, a dictionary each: ``S3BatchJobOperator.partial(...).expand(partition=prepare.output)``.
    The XCom ``job`` holds what `S3BatchReportOperator` needs: ``job=prepare.output["job"]``.

    A retry, or the same DAG run repeated, finds the job that it made before, or ran by its id.

    With `confirmation_required` the job stays Suspended, and what it would do, cost and take is in the log and in the
    XCom ``estimate``. `S3BatchConfirmOperator` then asks a person; or a prepare that is given its `job_id`, in any DAG,
    lets exactly what was found run.

    Args:
        manifest: the list of objects (templated); or AWS's JobManifest, a dictionary.
        operation: what to do to each of them (templated); or AWS's JobOperation, a dictionary.
        report: where the job's folder and the completion report go (templated): ``s3://bucket/prefix``, or a
            CompletionReport to say more.
        job_id: a job that was prepared before (templated), with the same `report`; it has its manifest and operation.
        limits: how hard the job may drive S3; for a job_id, instead of the job's.
        threshold: when so many objects fail that the job does: AWS's rule, if nothing is said; None for never.
        description: of the job, at most 256 characters (templated).
        priority: of the job, 0 to 2147483647; for a job_id, instead of the job's.
        rows_per_partition: about how many objects one mapped task gets.
        max_partitions: most partitions; more rows go into each when it takes more. Airflow maps a task at most
            ``[core] max_map_length`` times.
        confirmation_required: leave the job Suspended until it is confirmed, or run by its id, or not at all.
        prices: US dollars for 1,000 requests by kind, over Amazon's list prices: ``{"PUT": 0.0045, "GET": 0.00036}``.
        aws_conn_id: the Airflow connection to S3 (templated).
        region_name: a region instead of the connection's (templated).
        verify: whether to verify TLS certificates, or a file of CA certificates, instead of the connection's.
    """

    template_fields: Sequence[str] = (*_SPEC_FIELDS, "job_id", *S3BatchTask.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = dict.fromkeys(("manifest", "operation", "report"), "json")
    operator_extra_links = ()  # it ends before there is a report

    def __init__(
        self,
        *,
        manifest: Manifest | dict[str, Any] | XComArg | None = None,
        operation: Operation | dict[str, Any] | XComArg | None = None,
        report: CompletionReport | str | dict[str, Any] | XComArg,
        job_id: str | XComArg | None = None,
        limits: Limits | None = None,
        threshold: FailureThreshold | None = AWS_RULE,
        description: str = "",
        priority: int | None = None,
        rows_per_partition: int = ROWS_PER_PARTITION,
        max_partitions: int = MAX_PARTITIONS,
        confirmation_required: bool = False,
        prices: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        check_new_or_old(
            job_id,
            {"manifest": manifest, "operation": operation},
            {"threshold": threshold != AWS_RULE, "description": description},
        )
        check_asked(manifest=manifest, operation=operation, limits=limits, threshold=threshold, description=description)
        if job_id is not None:
            check_text("job_id", job_id)
        check_sizes(rows_per_partition, max_partitions)
        check_flags(confirmation_required=confirmation_required)
        super().__init__(**kwargs)
        self.manifest = manifest
        self.operation = operation
        self.report: CompletionReport | dict[str, Any] = as_report(report)
        self.job_id = job_id
        self._is_by_id = job_id is not None
        self.limits = limits
        self.threshold = threshold
        self.description = description
        self.priority = None if priority is None else check_priority(priority)
        self.rows_per_partition = rows_per_partition
        self.max_partitions = max_partitions
        self.confirmation_required = confirmation_required
        self.prices = check_prices(prices)
        self.depend_on(self.manifest, self.operation, self.report)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return the partitions: job_id, report, number, first_row, rows."""
        with PlainFailures():
            check_map_length(self.max_partitions)
            access = self.open_access()
            job, report_uri = self._prepare(context, access)
            if self.confirmation_required:
                context["ti"].xcom_push("estimate", self.estimate_job(access, job, self.prices).to_json())
        reference = {"job_id": job.job_id, "report": job.spec.report.to_aws()}
        facts = {"total": job.total, "partitions": len(job.partitions), "report_uri": report_uri}
        context["ti"].xcom_push("job", {**reference, **facts})
        return [
            {**reference, "number": part.number, "first_row": part.first_row, "rows": part.rows}
            for part in job.partitions
        ]

    def _prepare(self, context: Context, access: S3Access) -> tuple[Job, str]:
        waits = self.confirmation_required
        if self._is_by_id:
            check_text("job_id", self.job_id)  # a task may have returned something else
            changes: dict[str, Any] = {"limits": self.limits, "priority": self.priority, "confirmation_required": waits}
            return self.take_up_job(context, access, str(self.job_id), as_report(self.report), **changes)
        spec = as_spec(
            self.manifest,
            self.operation,
            self.report,
            limits=self.limits,
            threshold=self.threshold,
            description=self.description,
            priority=self.priority or 0,
        )
        sizes = {"rows_per_partition": self.rows_per_partition, "max_partitions": self.max_partitions}
        return self.prepare_job(context, access, spec, **sizes, confirmation_required=waits)


class S3BatchJobOperator(S3BatchTask):
    """Run a job: one partition of a prepared one, or a small one from beginning to end.

    With `partition` it does the operation on the objects of that partition that haven't succeeded yet, and returns the
    partition's summary; map it over what `S3BatchPrepareOperator` returns. Without, it takes what describes a job,
    prepares it, runs it and writes its completion report in this one task, and returns the job's summary.

    Objects that fail are rows of the report; the task fails when it can't go on. A retry goes on where it stopped.
    While the job is paused, the task is deferred: it holds no slot, and goes on where it was. If the job is cancelled,
    or too many of its objects fail, the task fails without a retry.

    Args:
        partition: one of the partitions that prepare returned (templated).
        manifest: for a whole job, as `S3BatchPrepareOperator` takes it.
        operation: likewise.
        report: likewise.
        limits: likewise.
        threshold: likewise.
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
        threshold: FailureThreshold | None = AWS_RULE,
        description: str = "",
        rows_per_partition: int = ROWS_PER_PARTITION,
        **kwargs: Any,
    ) -> None:
        check_whole_or_part(partition, manifest=manifest, operation=operation, report=report)
        check_asked(manifest=manifest, operation=operation, limits=limits, threshold=threshold, description=description)
        check_nothing_to_wait_for(operation)
        check_sizes(rows_per_partition)
        place = None if report is None else as_report(report)
        if place is not None:
            kwargs["outlets"] = [report_alias(place.location), *(kwargs.get("outlets") or ())]
        super().__init__(**kwargs)
        self.partition = partition
        self.manifest = manifest
        self.operation = operation
        self.report: CompletionReport | dict[str, Any] | None = place
        self.limits = limits
        self.threshold = threshold
        self.description = description
        self.rows_per_partition = rows_per_partition
        self.depend_on(manifest, operation, place)

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the summary of the partition, or of the job; wait in the triggerer while the job is paused."""
        with PlainFailures():
            access = self.open_access()
            if self.partition is not None:
                given = as_reference("partition", self.partition, "number")
                job = self.find_job(access, given)
                self.give_way(access, job)
                with self.deferred_while_paused(job), self._renewed_report(context, access, job):
                    return self.run_one(access, job, given["number"])
            job = self._prepare(context, access)
            with self.deferred_while_paused(job):
                return self._run_all(context, access, job)

    @contextlib.contextmanager
    def _renewed_report(self, context: Context, access: S3Access, job: Job) -> Iterator[None]:
        """Have a report that was there before tell of what a partition does in here: it may have been cleared alone."""
        try:
            yield
        except Stopped:
            raise
        except S3BatchError as error:
            if is_final(error) or self.is_last_try(context):
                with contextlib.suppress(S3BatchError):
                    self._renew_report(access, job, gives_up=True)
            raise
        try:
            self._renew_report(access, job)
        except S3BatchError as error:
            self.log.warning("The report that was there before is out of date; clear the report task, too: %s", error)

    def _renew_report(self, access: S3Access, job: Job, *, gives_up: bool = False) -> None:
        from airflow_s3batch.core.report import renew

        with self.failed_report_shown(access):
            summary = self.in_s3(access, job.spec.limits, lambda s3, _: renew(job, s3, gives_up=gives_up))
        if summary is not None:
            self.show_report(access, summary.report_uri)
            self.log.info("The report that was there before is up to date again:")
            self.tell(summary.table().splitlines(), summary.tally)

    def _prepare(self, context: Context, access: S3Access) -> Job:
        if self.resumed_job_id is not None:  # that one, whatever has become of it and of its manifest meanwhile
            place = as_report(cast("CompletionReport | dict[str, Any]", self.report))
            return self.find_job(access, {"job_id": self.resumed_job_id, "report": place.to_aws()})
        spec = as_spec(
            self.manifest,
            self.operation,
            self.report,
            limits=self.limits,
            threshold=self.threshold,
            description=self.description,
        )
        job, _ = self.prepare_job(context, access, spec, rows_per_partition=self.rows_per_partition)
        return job

    def _run_all(self, context: Context, access: S3Access, job: Job) -> dict[str, Any]:
        try:
            for partition in job.partitions:
                self.run_one(access, job, partition.number)
        except Stopped:
            raise
        except S3BatchError as error:
            # A report over what is missing can't be completed, and lets whoever waits for the job know that it failed.
            if is_final(error) or self.is_last_try(context):
                with contextlib.suppress(S3BatchError):
                    self.complete_job(context, access, job)
            raise
        return self.complete_job(context, access, job)


class S3BatchReportOperator(S3BatchTask):
    """Write the completion report of a job whose partitions have run, and return the job's summary.

    It runs when all partitions have ended, however they did, and fails if one hasn't run to its end: the job isn't done
    then. It is skipped if they are, and doesn't run when prepare failed. For a job that was cancelled, or in which too
    many objects failed, it writes the report of what ran, and fails without a retry.

    Returns job_id, status, operation, total, succeeded, failed, failures_by_code, examples, elapsed_seconds,
    objects_per_second and report_uri; each of them is an XCom of its own as well: ``job.output["report_uri"]``. An
    asset event has the same as its ``extra``, with failures_by_code and examples as JSON text.

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
        # job.output["report_uri"] is what one writes, and to Airflow the brackets hold an XCom's key.
        super().__init__(trigger_rule=trigger_rule, **{"multiple_outputs": True, **kwargs})
        self.job = job

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the job's summary."""
        with PlainFailures():
            access = self.open_access()
            return self.complete_job(context, access, self.find_job(access, as_reference("job", self.job)))
