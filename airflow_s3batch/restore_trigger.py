"""`S3BatchRestoreTrigger`: waits in Airflow's triggerer until S3 has restored some objects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_s3batch.core.engine import S3
from airflow_s3batch.core.errors import S3BatchError
from airflow_s3batch.core.restored import Restores, still_ongoing
from airflow_s3batch.hooks import S3BatchHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["S3BatchRestoreTrigger"]


class S3BatchRestoreTrigger(BaseTrigger):
    """Waits until none of the objects that `S3BatchRestoreSensor` has found ongoing is any more.

    Its one event holds `so_far` and `began` as they were given; or it is ``{"error": ...}`` if one of the objects never
    will be restored, or S3 doesn't tell.

    Args:
        so_far: how far the sensor has looked: rows, restored, and the objects that were ongoing (bucket, key and
            version each).
        began: when the waiting began, in seconds of Unix time.
        poke_interval: seconds between two looks at them.
        aws_conn_id: the Airflow connection to S3.
        region_name: a region instead of the connection's.
        verify: whether to verify TLS certificates, or a file of CA certificates, instead of the connection's.
    """

    def __init__(
        self,
        *,
        so_far: dict[str, Any],
        began: float,
        poke_interval: float = 300.0,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.so_far = so_far
        self.began = began
        self.poke_interval = poke_interval
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what builds this trigger again."""
        return f"{__name__}.{type(self).__qualname__}", {
            "so_far": self.so_far,
            "began": self.began,
            "poke_interval": self.poke_interval,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the event, once S3 is done with all of them."""
        try:
            await self._restored()
        except S3BatchError as error:
            yield TriggerEvent({"error": str(error)})
        else:
            yield TriggerEvent({"so_far": self.so_far, "began": self.began})

    async def _restored(self) -> None:
        hook = S3BatchHook(self.aws_conn_id, region_name=self.region_name, verify=self.verify)
        # In asgiref's thread, not asyncio's: only from there Airflow's own calls find their way back to this loop.
        access = await sync_to_async(hook.access)()
        ongoing = Restores.from_json(self.so_far).ongoing
        async with S3(access) as s3:
            while ongoing:
                await asyncio.sleep(self.poke_interval)
                ongoing = await still_ongoing(ongoing, s3)
