"""`s3_batch_job`: a whole job as a task group, the way most DAGs use this package."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.sdk import BaseOperator, TaskGroup, XComArg

from airflow_s3batch.asked import as_report, check_flags
from airflow_s3batch.assets import report_alias
from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.job import check_priority
from airflow_s3batch.core.limits import AWS_RULE, FailureThreshold
from airflow_s3batch.core.operations import RestoreObject
from airflow_s3batch.core.partition import MAX_PARTITIONS, ROWS_PER_PARTITION
from airflow_s3batch.core.values import no_parameter
from airflow_s3batch.operators import S3BatchJobOperator, S3BatchPrepareOperator, S3BatchReportOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from airflow_s3batch.confirm import Confirm, S3BatchConfirmOperator
    from airflow_s3batch.core.job import CompletionReport
    from airflow_s3batch.core.limits import Limits
    from airflow_s3batch.core.manifest import Manifest
    from airflow_s3batch.core.operations import Operation
    from airflow_s3batch.task import S3BatchTask

__all__ = ["S3BatchJob", "s3_batch_job"]

_SHOWN = 80
# What Airflow's UI calls a mapped task, instead of its index.
_ROWS = (
    "rows {{ '{:,} to {:,}'.format("
    "task.partition['first_row'], task.partition['first_row'] + task.partition['rows'] - 1) }}"
)
_NOT_FOR_ALL = frozenset(
    {
        *("task_id", "task_display_name", "task_group", "kwargs"),  # each task has its own
        *("trigger_rule", "do_xcom_push", "multiple_outputs", "map_index_template", "outlets"),  # what the job rests on
        *("priority_weight", "weight_rule"),  # what priority stands for
    }
)
"""Parameters of every operator that are nothing for the default_args of a job's tasks."""


class S3BatchJob(TaskGroup):
    """One operation on every object of a manifest, in parallel, with a completion report.

    A task group that other tasks can stand before and after: ``prepare >> run (mapped) >> report``, with a ``confirm``
    before ``run`` and a ``wait`` after ``report`` where they are asked for. Its `output` is the job's summary. Retries,
    queues and the like come from `default_args`, or the DAG's.

    Args:
        group_id: the group's id; its tasks are ``<group_id>.prepare``, ``.run`` (mapped) and ``.report``.
        manifest: the list of objects (templated); or AWS's JobManifest, a dictionary.
        operation: what to do to each of them (templated); or AWS's JobOperation, a dictionary.
        report: where the job's folder and the completion report go (templated): ``s3://bucket/prefix``, or a
            CompletionReport to say more.
        job_id: instead of manifest and operation: run a job that was prepared before (templated), by a dry run say,
            with the same `report`.
        limits: how hard the job may drive S3; for a job_id, instead of the job's.
        threshold: when so many objects fail that the job does: AWS's rule, more than half of at least 1,000, if nothing
            is said; None for never.
        description: of the job, at most 256 characters (templated).
        priority: partitions of a job with a higher one go first where they wait for the same pool: 0 to 2147483647.
            Airflow's own order, if not given.
        pool: the Airflow pool of the partitions.
        confirm: have the job wait for a person in a task ``<group_id>.confirm``, before anything is touched; a Confirm
            says how long, and for whom.
        dry_run: only prepare the job, and tell what it would do, cost and take; the group is ``<group_id>.prepare``.
        prices: US dollars for 1,000 requests by kind, over Amazon's list prices: ``{"PUT": 0.0045, "GET": 0.00036}``.
        rows_per_partition: about how many objects one mapped task gets.
        max_partitions: most mapped tasks; more objects go into each when it takes more. Airflow maps a task at
            most ``[core] max_map_length`` times.
        max_active_tis_per_dagrun: most partitions that run at the same time.
        aws_conn_id: the Airflow connection to S3 (templated).
        region_name: a region instead of the connection's (templated).
        verify: whether to verify TLS certificates, or a file of CA certificates, instead of the connection's.
        outlets: assets that get an event with the summary as ``extra`` once the report is written. The asset of the
            report's location, ``Asset("s3://bucket/prefix")``, always gets one.
        default_args: for the group's tasks.
        group: what else Airflow's TaskGroup takes, ``tooltip`` say.

    Raises:
        InvalidInput: a value can't work, or there is no such parameter.
    """

    _written: ClassVar[str] = "s3_batch_job"
    """What an author calls it."""

    def __init__(
        self,
        group_id: str,
        *,
        manifest: Manifest | dict[str, Any] | XComArg | None = None,
        operation: Operation | dict[str, Any] | XComArg | None = None,
        report: CompletionReport | str | dict[str, Any] | XComArg,
        job_id: str | XComArg | None = None,
        limits: Limits | None = None,
        threshold: FailureThreshold | None = AWS_RULE,
        description: str = "",
        priority: int | None = None,
        pool: str | None = None,
        confirm: Confirm | bool = False,
        dry_run: bool = False,
        prices: Mapping[str, float] | None = None,
        rows_per_partition: int = ROWS_PER_PARTITION,
        max_partitions: int = MAX_PARTITIONS,
        max_active_tis_per_dagrun: int | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        outlets: Sequence[Any] = (),
        default_args: dict[str, Any] | None = None,
        **group: Any,
    ) -> None:
        self._check_known(group)
        _check_flags(confirm, dry_run)
        if dry_run and (confirm or job_id is not None):
            raise InvalidInput(
                "a dry run is of a new job, and there is nothing to confirm: leave out confirm and job_id"
            )
        super().__init__(group_id, default_args=default_args or {}, **group)  # type: ignore[arg-type]
        report = as_report(report)
        access: dict[str, Any] = {"aws_conn_id": aws_conn_id, "region_name": region_name, "verify": verify}
        with self:
            prepare = S3BatchPrepareOperator(
                task_id="prepare",
                manifest=manifest,
                operation=operation,
                report=report,
                job_id=job_id,
                limits=limits,
                threshold=threshold,
                description=description,
                priority=priority,
                rows_per_partition=rows_per_partition,
                max_partitions=max_partitions,
                confirmation_required=dry_run or bool(confirm),
                prices=prices,
                **access,
            )
            if dry_run:
                return
            partitions = self._partial_run(
                task_id="run",
                max_active_tis_per_dagrun=max_active_tis_per_dagrun,
                map_index_template=_ROWS,
                **_order(priority, pool),
                **access,
            ).expand(partition=prepare.output)
            job = XComArg(prepare, key="job")
            if confirm:
                confirmed = _confirm_task(job, prices, access, how=confirm)
                confirmed >> partitions
                # From there: refused, no task has succeeded that the report comes after, and it doesn't run.
                job = XComArg(confirmed, key="job")
            complete = S3BatchReportOperator(
                task_id="report",
                job=job,
                outlets=[report_alias(report.location), *outlets],
                **access,
            )
            partitions >> complete
            if isinstance(operation, RestoreObject) and operation.wait:
                _wait_task(complete.output, access)

    @property
    def output(self) -> XComArg:
        """The job's summary, or a dry run's estimate: for a TaskFlow function."""
        for name, key in (("wait", "return_value"), ("report", "return_value"), ("prepare", "estimate")):
            if task := self.children.get(self.child_id(name)):
                return XComArg(cast("S3BatchTask", task), key=key)
        raise InvalidInput(f"task group {self.group_id} holds no job")

    def _check_known(self, group: Mapping[str, Any]) -> None:
        airflows = inspect.signature(TaskGroup).parameters
        if unknown := [name for name in group if name not in airflows]:
            name = unknown[0]
            if name in inspect.signature(BaseOperator).parameters.keys() - _NOT_FOR_ALL:
                told = f'default_args={{"{name}": {_as_written(group[name])}}}'
                raise InvalidInput(f"{self._written}: {name} belongs to the job's tasks; write {told}")
            known = list(dict.fromkeys((*self._parameters(), *airflows)))
            raise InvalidInput(f"{self._written}: {no_parameter(name, known)}")

    @classmethod
    def _parameters(cls) -> list[str]:
        """Those that are the package's own."""
        ours = inspect.signature(S3BatchJob).parameters.values()
        return [one.name for one in ours if one.kind is not one.VAR_KEYWORD]

    def _partial_run(self, **options: Any) -> OperatorPartial:
        """The operator that runs a partition, but for the partition."""
        return S3BatchJobOperator.partial(**options)


s3_batch_job = S3BatchJob
"""The name that a DAG reads well with: ``s3_batch_job(group_id=…, manifest=…, operation=…, report=…)``."""


def _order(priority: int | None, pool: str | None) -> dict[str, Any]:
    """Airflow's words for which partitions go first; none of them where its defaults are to hold."""
    order: dict[str, Any] = {} if pool is None else {"pool": pool}
    if priority is not None:
        order |= {"priority_weight": check_priority(priority), "weight_rule": "absolute"}
    return order


def _as_written(option: Any) -> str:
    """The option as an author would write it, where its text tells that."""
    return printable(repr(option), _SHOWN) if isinstance(option, (str, int, float, timedelta)) else "…"


def _check_flags(confirm: Any, dry_run: Any) -> None:
    """See that these, which say which tasks there are, are known now: no template is."""
    check_flags(dry_run=dry_run)
    if isinstance(confirm, bool):
        return
    from airflow_s3batch.confirm import Confirm

    if not isinstance(confirm, Confirm):
        wrong = f"confirm={printable(repr(confirm))} is neither True, False nor a Confirm"
        raise InvalidInput(f"{wrong}; it isn't templated")


def _confirm_task(
    job: XComArg, prices: Mapping[str, float] | None, access: dict[str, Any], *, how: Confirm | bool
) -> S3BatchConfirmOperator:
    from airflow_s3batch.confirm import Confirm, S3BatchConfirmOperator  # Airflow's approvals take 30 ms to load

    return S3BatchConfirmOperator(
        task_id="confirm", job=job, confirm=how if isinstance(how, Confirm) else None, prices=prices, **access
    )


def _wait_task(summary: XComArg, access: dict[str, Any]) -> None:
    from airflow_s3batch.restore_sensor import S3BatchRestoreSensor

    # A restore takes hours: no worker is to wait for it.
    S3BatchRestoreSensor(task_id="wait", job=summary, deferrable=True, **access)
