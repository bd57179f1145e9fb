"""`s3_batch_job`: a whole job as a task group, the way most DAGs use this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import TaskGroup, XComArg

from airflow_s3batch.assets import report_alias
from airflow_s3batch.core.partition import MAX_PARTITIONS, ROWS_PER_PARTITION
from airflow_s3batch.operators import S3BatchJobOperator, S3BatchPrepareOperator, S3BatchReportOperator, as_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_s3batch.core.job import CompletionReport
    from airflow_s3batch.core.limits import Limits
    from airflow_s3batch.core.manifest import Manifest
    from airflow_s3batch.core.operations import Operation

__all__ = ["S3BatchJob", "s3_batch_job"]

# What Airflow's UI calls a mapped task, instead of its index.
_ROWS = (
    "rows {{ '{:,} to {:,}'.format("
    "task.partition['first_row'], task.partition['first_row'] + task.partition['rows'] - 1) }}"
)


class S3BatchJob(TaskGroup):
    """The task group of a job: ``prepare >> run (mapped) >> report``."""

    @property
    def output(self) -> XComArg:
        """The job's summary, what `S3BatchReportOperator` returns; hand it to a TaskFlow function."""
        return cast("S3BatchReportOperator", self.children[self.child_id("report")]).output


def s3_batch_job(
    group_id: str,
    *,
    manifest: Manifest | dict[str, Any] | XComArg,
    operation: Operation | dict[str, Any] | XComArg,
    report: CompletionReport | str | dict[str, Any] | XComArg,
    limits: Limits | None = None,
    description: str = "",
    rows_per_partition: int = ROWS_PER_PARTITION,
    max_partitions: int = MAX_PARTITIONS,
    max_active_tis_per_dagrun: int | None = None,
    aws_conn_id: str | None = "aws_default",
    region_name: str | None = None,
    verify: bool | str | None = None,
    outlets: Sequence[Any] = (),
    default_args: dict[str, Any] | None = None,
) -> S3BatchJob:
    """One operation on every object of a manifest, in parallel, with a completion report.

    Gives a task group that other tasks can stand before and after; its `output` is the job's summary. Retries, pools,
    priorities and the like come from `default_args`, or the DAG's.

    Args:
        group_id: the group's id; its tasks are ``<group_id>.prepare``, ``.run`` (mapped) and ``.report``.
        manifest: the list of objects (templated); or AWS's JobManifest, a dictionary.
        operation: what to do to each of them (templated); or AWS's JobOperation, a dictionary.
        report: where the job's folder and the completion report go (templated): ``s3://bucket/prefix``, or a
            CompletionReport to say more.
        limits: how hard each partition may drive S3.
        description: of the job, at most 256 characters (templated).
        rows_per_partition: about how many objects one mapped task gets.
        max_partitions: most mapped tasks; more objects go into each when it takes more. Airflow maps a task at
            most ``[core] max_map_length`` times.
        max_active_tis_per_dagrun: most partitions that run at the same time.
        aws_conn_id: the Airflow connection to S3 (templated).
        region_name: a region instead of the connection's (templated).
        verify: whether to verify TLS certificates, or a file of CA certificates, instead of the connection's.
        outlets: assets that get an event with the summary as ``extra`` once the report is written. The asset of the
            report's location, ``Asset("s3://bucket/prefix")``, always gets one.
        default_args: for the three tasks.

    Raises:
        InvalidInput: a value can't work.
    """
    report = as_report(report)
    access: dict[str, Any] = {"aws_conn_id": aws_conn_id, "region_name": region_name, "verify": verify}
    group = S3BatchJob(group_id, default_args=default_args or {})  # type: ignore[arg-type]
    with group:
        prepare = S3BatchPrepareOperator(
            task_id="prepare",
            manifest=manifest,
            operation=operation,
            report=report,
            limits=limits,
            description=description,
            rows_per_partition=rows_per_partition,
            max_partitions=max_partitions,
            **access,
        )
        run = S3BatchJobOperator.partial(
            task_id="run",
            max_active_tis_per_dagrun=max_active_tis_per_dagrun,
            map_index_template=_ROWS,
            **access,
        ).expand(partition=prepare.output)
        complete = S3BatchReportOperator(
            task_id="report",
            job=XComArg(prepare, key="job"),
            outlets=[report_alias(report.location), *outlets],
            **access,
        )
        run >> complete
    return group
