"""`ConnectedTrigger`: a trigger that looks into S3, by the same Airflow connection as the task that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger
from asgiref.sync import sync_to_async
from typing_extensions import TypedDict

from airflow_s3batch.hooks import S3BatchHook

if TYPE_CHECKING:
    from airflow_s3batch.core.engine import S3Access

__all__ = ["ConnectedTrigger", "Connection"]


class Connection(TypedDict, total=False):
    """How S3 is reached; what isn't given is as for `ConnectedTrigger`."""

    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None


class ConnectedTrigger(BaseTrigger):
    """A trigger that looks into S3.

    Args:
        aws_conn_id: the Airflow connection to S3.
        region_name: a region instead of the connection's.
        verify: whether to verify TLS certificates, or a file of CA certificates, instead of the connection's.
    """

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and what builds this trigger again."""
        connection = {"aws_conn_id": self.aws_conn_id, "region_name": self.region_name, "verify": self.verify}
        return f"{type(self).__module__}.{type(self).__qualname__}", connection

    async def open_access(self) -> S3Access:
        """S3 as the connection gives it.

        Raises:
            AirflowNotFoundException: the connection doesn't exist.
            InvalidInput: it has no credentials.
        """
        hook = S3BatchHook(self.aws_conn_id, region_name=self.region_name, verify=self.verify)
        # In asgiref's thread, not asyncio's: only from there Airflow's own calls find their way back to this loop.
        return await sync_to_async(hook.access)()
