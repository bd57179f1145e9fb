"""`S3Engine`: what prepare and run need of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.operations import Operation
from airflow_s3batch.core.rows import Entry, Outcome

__all__ = ["S3Engine"]


class S3Engine(S3Calls, Protocol):
    """Calls, and one operation on very many objects."""

    def check(self, operation: Operation, bucket: str) -> None:
        """Try whether the operation can be sent to objects of this bucket; send nothing.

        Raises:
            InvalidInput: it can't.
        """
        ...

    def run(
        self,
        entries: AsyncIterator[list[Entry]],
        operation: Operation,
        *,
        stop: asyncio.Event | None = None,
        allowance: Allowance | None = None,
    ) -> AsyncGenerator[list[Outcome], None]:
        """Do the operation on every entry; yield outcomes in lists, in any order, exactly one an entry.

        No more requests a second are sent than `allowance` says at the time; None for the limits the engine has.
        Once `stop` is set no further entry is begun; what is in flight may still end, and its outcomes come.

        Raises:
            Unreachable: S3 is away; entries without an outcome have not been done.
        """
        ...
