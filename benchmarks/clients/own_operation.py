"""An operation as a user writes one, with a call an object."""

from __future__ import annotations

from typing import ClassVar

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.operations import StepsOperation
from airflow_s3batch.core.rows import Entry

__all__ = ["Look"]


class Look(StepsOperation):
    """HeadObject, and the ETag as the result message."""

    aws_name: ClassVar[str] = "BenchmarkLook"

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Look at one object."""
        found = await s3.call("HeadObject", Bucket=entry.bucket, Key=entry.key)
        return str(found["ETag"])
