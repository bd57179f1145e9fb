"""`S3BatchJobSensor`: waits for a job, whoever runs it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.configuration import conf
from airflow.sdk import BaseSensorOperator, PokeReturnValue, XComArg

from airflow_s3batch.asked import as_report, check_flags, check_text
from airflow_s3batch.core.errors import JobFailed, S3BatchError, printable
from airflow_s3batch.core.folder.status import JobState
from airflow_s3batch.core.job import CompletionReport, JobStatus
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.task import S3BatchTask

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_s3batch.core.engine import S3

__all__ = ["S3BatchJobSensor"]


class S3BatchJobSensor(S3BatchTask, BaseSensorOperator):
    """Wait until a job is Complete, wherever it runs: another DAG, another Airflow, a script.

    Fails when the job is Failed or Cancelled, with the reasons. A job that nobody has prepared yet is waited for.
    Returns the job's state in the words of AWS's DescribeJob.

    Args:
        job_id: the job (templated).
        report: the location given to the job as its report, ``s3://bucket/prefix`` or a CompletionReport (templated).
        poke_interval: seconds between two looks.
        deferrable: wait in the triggerer, without a worker's slot; by default Airflow's
            ``[operators] default_deferrable``.
        aws_conn_id: the Airflow connection to S3 (templated).
        region_name: a region instead of the connection's (templated).
        verify: whether to verify TLS certificates, or a file of CA certificates, instead of the connection's.
    """

    template_fields: Sequence[str] = ("job_id", "report", *S3BatchTask.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"report": "json"}

    def __init__(
        self,
        *,
        job_id: str | XComArg,
        report: CompletionReport | str | dict[str, Any] | XComArg,
        poke_interval: timedelta | float = 30.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        check_text("job_id", job_id)
        check_flags(deferrable=deferrable)
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.job_id = job_id
        self.report: CompletionReport | dict[str, Any] = as_report(report)
        self.deferrable = deferrable
        self.depend_on(self.report)

    def execute(self, context: Context) -> Any:
        """Wait on the worker, or hand over to the triggerer if the job hasn't ended."""
        if not self.deferrable:
            return super().execute(context)
        state = self.poke(context)
        if state:
            return state.xcom_value
        from airflow_s3batch.triggers import S3BatchJobTrigger

        trigger = S3BatchJobTrigger(
            job_id=str(self.job_id),
            report=as_report(self.report).to_aws(),
            poke_interval=self.poke_interval,
            **self.connection,
        )
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Go on after the trigger's event.

        Raises:
            JobFailed: the job is Failed or Cancelled.
            S3BatchError: the job's state couldn't be read.
        """
        if "error" in event:
            raise S3BatchError(f"waiting for job {self.job_id}: {event['error']}")
        state = JobState.from_aws(event["state"])
        self.show_report(self.open_access(), state.report_uri)
        _require_success(state)
        return state.to_aws()

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002
        """Look at the job once.

        Raises:
            JobFailed: the job is Failed or Cancelled.
            InvalidInput: the job's id is none.
        """
        from airflow_s3batch.core.folder.store import JobFolder

        check_text("job_id", self.job_id)  # a task may have returned something else
        access, place = self.open_access(), as_report(self.report).place

        async def work(s3: S3, _: asyncio.Event) -> tuple[JobState | None, str]:
            folder = JobFolder(s3, place, str(self.job_id))
            return await folder.read_state(), folder.uri

        state, folder = self.in_s3(access, Limits(), work)
        if state is None or not state.status.ended:
            stands = f"not there yet: {printable(folder)} is empty" if state is None else state.status.value
            self.log.info("Job %s is %s", self.job_id, stands)
            return PokeReturnValue(is_done=False)
        self.show_report(access, state.report_uri)
        _require_success(state)
        return PokeReturnValue(is_done=True, xcom_value=state.to_aws())


def _require_success(state: JobState) -> None:
    if state.status is not JobStatus.COMPLETE:
        raise JobFailed(state.job_id, state.failures or [(state.status.value, state.reason or "no reason is recorded")])
