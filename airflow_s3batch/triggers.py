"""Waiting in Airflow's triggerer: `S3BatchJobTrigger` for a job's end, `S3BatchResumeTrigger` while it is paused.

`S3BatchTurnTrigger` lets a more urgent job go first.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_s3batch.connected import ConnectedTrigger
from airflow_s3batch.core.control.turn import takes_its_turn
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import S3BatchError
from airflow_s3batch.core.folder.status import JobState
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import CompletionReport, JobStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from typing_extensions import Unpack

    from airflow_s3batch.connected import Connection

__all__ = ["S3BatchJobTrigger", "S3BatchResumeTrigger", "S3BatchTurnTrigger"]

_SETTLED = 5.0
"""Seconds in which Airflow's scheduler takes note that a task was deferred; one that goes on before may be failed."""


class S3BatchJobTrigger(ConnectedTrigger):
    """Waits until a job is Complete, Failed or Cancelled.

    Its one event has the `job_id`, and as ``state`` where the job stands, in the words of AWS's DescribeJob; or an
    ``error`` if that can't be read.

    Args:
        job_id: the job.
        report: where its folder is: AWS's JobReport, as `CompletionReport.to_aws` gives it.
        poke_interval: seconds between two looks at the job's folder.
        connection: aws_conn_id, region_name and verify: the Airflow connection to S3, as the operators take it.
    """

    def __init__(
        self, *, job_id: str, report: dict[str, Any], poke_interval: float = 30.0, **connection: Unpack[Connection]
    ) -> None:
        super().__init__(**connection)
        self.job_id = job_id
        self.report = report
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what builds this trigger again."""
        name, connection = super().serialize()
        waiting = {"job_id": self.job_id, "report": self.report, "poke_interval": self.poke_interval}
        return name, {**waiting, **connection}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the event, once the job has ended."""
        try:
            told: dict[str, Any] = {"state": await self._awaited()}
        except S3BatchError as error:
            told = {"error": str(error)}
        yield TriggerEvent({"job_id": self.job_id, **told})

    def is_over(self, state: JobState | None) -> bool:
        """Whether the waiting is over when the job stands there (None: nowhere yet)."""
        return state is not None and state.status.ended

    async def _awaited(self) -> dict[str, Any]:
        async with S3(await self.open_access()) as s3:
            folder = JobFolder(s3, CompletionReport.from_aws(self.report).place, self.job_id)
            # Nothing in this process could set an event: somebody else writes the state, to S3.
            while not self.is_over(state := await folder.read_state()):  # noqa: ASYNC110
                await asyncio.sleep(self.poke_interval)
        return {} if state is None else state.to_aws()


class S3BatchResumeTrigger(S3BatchJobTrigger):
    """Waits while a job is Pausing or Paused, for a task that has given up its slot; `S3BatchJobOperator` uses it.

    Arguments and event are those of `S3BatchJobTrigger`.
    """

    def __init__(self, *, poke_interval: float = _SETTLED, **options: Any) -> None:
        super().__init__(poke_interval=poke_interval, **options)

    def is_over(self, state: JobState | None) -> bool:
        """Whether the job may go on, or isn't to."""
        return state is None or state.status not in {JobStatus.PAUSING, JobStatus.PAUSED}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the event, not before the scheduler knows that the task was deferred."""
        await asyncio.sleep(_SETTLED)
        async for event in super().run():
            yield event


class S3BatchTurnTrigger(S3BatchResumeTrigger):
    """Waits while another job, of a higher priority, is on its turn; `S3BatchJobOperator` uses it.

    Args:
        job_id: the other job.
        until: Unix seconds; then the waiting is over, however the other stands.
        options: what `S3BatchJobTrigger` takes.
    """

    def __init__(self, *, until: float, **options: Any) -> None:
        super().__init__(**options)
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what builds this trigger again."""
        name, options = super().serialize()
        return name, {**options, "until": self.until}

    def is_over(self, state: JobState | None) -> bool:
        """Whether the other job has no turn any more, or has had it for long enough."""
        return not takes_its_turn(state) or time.time() >= self.until
