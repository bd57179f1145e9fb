"""`S3BatchRestoreTrigger`: waits in Airflow's triggerer until S3 has restored some objects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_s3batch.connected import ConnectedTrigger
from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import S3BatchError
from airflow_s3batch.core.restored import Restores, still_ongoing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from typing_extensions import Unpack

    from airflow_s3batch.connected import Connection

__all__ = ["S3BatchRestoreTrigger"]


class S3BatchRestoreTrigger(ConnectedTrigger):
    """Waits until none of the objects that `S3BatchRestoreSensor` has found ongoing is any more.

    Its one event holds `so_far` and `began` as they were given; or it is ``{"error": ...}`` if one of the objects never
    will be restored, or S3 doesn't tell.

    Args:
        so_far: how far the sensor has looked: rows, restored, and the objects that were ongoing (bucket, key and
            version each).
        began: when the waiting began, in seconds of Unix time.
        poke_interval: seconds between two looks at them.
        connection: aws_conn_id, region_name and verify: the Airflow connection to S3, as the operators take it.
    """

    def __init__(
        self, *, so_far: dict[str, Any], began: float, poke_interval: float = 300.0, **connection: Unpack[Connection]
    ) -> None:
        super().__init__(**connection)
        self.so_far = so_far
        self.began = began
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what builds this trigger again."""
        name, connection = super().serialize()
        waiting = {"so_far": self.so_far, "began": self.began, "poke_interval": self.poke_interval}
        return name, {**waiting, **connection}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the event, once S3 is done with all of them."""
        try:
            await self._restored()
        except S3BatchError as error:
            yield TriggerEvent({"error": str(error)})
        else:
            yield TriggerEvent({"so_far": self.so_far, "began": self.began})

    async def _restored(self) -> None:
        ongoing = Restores.from_json(self.so_far).ongoing
        async with S3(await self.open_access()) as s3:
            while ongoing:
                await asyncio.sleep(self.poke_interval)
                ongoing = await still_ongoing(ongoing, s3)
