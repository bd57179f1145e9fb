"""`S3BatchRestoreSensor`: waits until the objects of a RestoreObject job can be read."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.configuration import conf
from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_s3batch.asked import check_flags
from airflow_s3batch.core.errors import InvalidInput, ReportError, S3BatchError, printable
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.restored import Restores, look_again
from airflow_s3batch.core.wording import counted
from airflow_s3batch.task import S3BatchTask

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from airflow.sdk import Context, XComArg

    from airflow_s3batch.core.engine import S3

__all__ = ["S3BatchRestoreSensor"]


class S3BatchRestoreSensor(S3BatchTask, BaseSensorOperator):
    """Wait until every object whose restore a job has asked for can be read, so that the next job can read it.

    The job is complete when S3 has taken the requests; the objects are there minutes to days later. Objects that the
    job couldn't ask for aren't waited for, save those whose restore was under way already. Fails when an object never
    will be restored: when it is gone, or archived without a restore under way (its copy has expired again, say).

    Returns the job's summary with ``restored``, the number of these objects.

    Args:
        job: the job's summary, what its report returns (templated): ``job.output`` of the task group. Or where its
            completion report is, ``s3://bucket/prefix/job-<id>/manifest.json``, ours or AWS's.
        plus_is_space: whether a ``+`` in the report's keys means a space. It does in a report of AWS's about a job that
            had an inventory as its manifest, and nothing in such a report says so.
        poke_interval: seconds between two looks.
        timeout: seconds after which it fails, a week by default.
        deferrable: wait in the triggerer, without a worker's slot; by default Airflow's
            ``[operators] default_deferrable``. Instead of ``mode="reschedule"``, which is refused.
        aws_conn_id: the Airflow connection to S3 (templated).
        region_name: a region instead of the connection's (templated).
        verify: whether to verify TLS certificates, or a file of CA certificates, instead of the connection's.
    """

    template_fields: Sequence[str] = ("job", *S3BatchTask.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"job": "json"}

    def __init__(
        self,
        *,
        job: dict[str, Any] | str | XComArg,
        plus_is_space: bool = False,
        poke_interval: timedelta | float = 300.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        check_flags(plus_is_space=plus_is_space, deferrable=deferrable)
        super().__init__(poke_interval=poke_interval, **{"multiple_outputs": True, **kwargs})
        if self.reschedule and not deferrable:  # which default_args may have asked for as well
            raise InvalidInput(
                "mode='reschedule' forgets at every look which objects can be read already, and would ask S3 for all "
                "of them again; write deferrable=True, which gives the worker's slot back as well, or mode='poke'"
            )
        self.job = job
        self.plus_is_space = plus_is_space
        self.deferrable = deferrable
        self._so_far = Restores()

    def execute(self, context: Context) -> Any:
        """Wait on the worker, or look and hand over to the triggerer while S3 isn't done."""
        if not self.deferrable:
            return super().execute(context)
        return self._go_on(Restores(), time.time())

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Look further after the trigger's event.

        Raises:
            S3BatchError: an object never will be restored, or S3 doesn't tell.
        """
        if "error" in event:
            self.show_report(self.open_access(), self._summary()["report_uri"])
            raise S3BatchError(f"waiting for restores: {event['error']}")
        return self._go_on(Restores.from_json(event["so_far"]), event["began"])

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002
        """Look once.

        Raises:
            S3BatchError: an object never will be restored.
            InvalidInput: the report doesn't tell which objects were asked for.
        """
        self._so_far = self._look(self._so_far)
        return PokeReturnValue(is_done=self._so_far.ended, xcom_value=self._result(self._so_far))

    def _go_on(self, so_far: Restores, began: float) -> dict[str, Any]:
        so_far = self._look(so_far)
        if so_far.ended:
            return self._result(so_far)
        from airflow_s3batch.restore_trigger import S3BatchRestoreTrigger

        trigger = S3BatchRestoreTrigger(
            so_far=so_far.to_json(),
            began=began,
            poke_interval=self.poke_interval,
            **self.connection,
        )
        left = max(0.0, began + self.timeout - time.time())
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=left))

    def _look(self, so_far: Restores) -> Restores:
        access, summary = self.open_access(), self._summary()
        uri: str = summary["report_uri"]

        async def work(s3: S3, _: asyncio.Event) -> Restores:
            return await look_again(
                uri, s3, so_far, expected=summary.get("succeeded"), plus_is_space=self.plus_is_space
            )

        try:
            so_far = self.in_s3(access, Limits(), work)
        except ReportError:
            raise
        except S3BatchError:  # the report is there, and names the objects that are waited for in vain
            self.show_report(access, uri)
            raise
        self.show_report(access, uri)
        told = (counted(so_far.restored, "object"), f"{len(so_far.ongoing):,}", counted(so_far.rows, "row"))
        self.log.info("%s can be read, %s being restored, after %s of the report", *told)
        return so_far

    def _summary(self) -> dict[str, Any]:
        if isinstance(self.job, str):
            return {"report_uri": self.job}
        if isinstance(self.job, dict) and isinstance(self.job.get("report_uri"), str):
            return self.job
        raise InvalidInput(
            "job must be a job's summary, with report_uri, or the s3:// URI of its completion report; "
            f"got {printable(repr(self.job))}"
        )

    def _result(self, so_far: Restores) -> dict[str, Any]:
        return {**self._summary(), "restored": so_far.restored}
