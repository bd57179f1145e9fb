"""`S3BatchJobTrigger`: waits in Airflow's triggerer until a job has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import S3BatchError
from airflow_s3batch.core.job import CompletionReport
from airflow_s3batch.core.store import JobFolder
from airflow_s3batch.hooks import S3BatchHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["S3BatchJobTrigger"]


class S3BatchJobTrigger(BaseTrigger):
    """Waits until a job is Complete, Failed or Cancelled.

    Its one event is ``{"state": ...}``, the job's state in the words of AWS's DescribeJob, or ``{"error": ...}`` if
    that can't be read.

    Args:
        job_id: the job.
        report: where its folder is: AWS's JobReport, as `CompletionReport.to_aws` gives it.
        poke_interval: seconds between two looks at the job's folder.
        aws_conn_id: the Airflow connection to S3.
        region_name: a region instead of the connection's.
        verify: whether to verify TLS certificates, or a file of CA certificates, instead of the connection's.
    """

    def __init__(
        self,
        *,
        job_id: str,
        report: dict[str, Any],
        poke_interval: float = 30.0,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_id = job_id
        self.report = report
        self.poke_interval = poke_interval
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what builds this trigger again."""
        return f"{__name__}.{type(self).__qualname__}", {
            "job_id": self.job_id,
            "report": self.report,
            "poke_interval": self.poke_interval,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the event, once the job has ended."""
        try:
            told: dict[str, Any] = {"state": await self._ended()}
        except S3BatchError as error:
            told = {"error": str(error)}
        yield TriggerEvent(told)

    async def _ended(self) -> dict[str, Any]:
        hook = S3BatchHook(self.aws_conn_id, region_name=self.region_name, verify=self.verify)
        # In asgiref's thread, not asyncio's: only from there Airflow's own calls find their way back to this loop.
        access = await sync_to_async(hook.access)()
        async with S3(access) as s3:
            folder = JobFolder(s3, CompletionReport.from_aws(self.report).place, self.job_id)
            # Nothing in this process could set an event: somebody else writes the state, to S3.
            while (state := await folder.read_state()) is None or not state.status.ended:  # noqa: ASYNC110
                await asyncio.sleep(self.poke_interval)
        return state.to_aws()
