"""`ScriptedEngine`: an S3 in memory whose requests end as a test says, in any order, and which breaks when told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Literal

from airflow_s3batch.core.errors import Unreachable
from airflow_s3batch.core.job import CompletionReport, Job, JobSpec
from airflow_s3batch.core.limits import Allowance, Limits
from airflow_s3batch.core.manifest import CsvManifest
from airflow_s3batch.core.operations import Operation, PutObjectTagging
from airflow_s3batch.core.prepare import prepare
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.testing import MemoryS3
from tests.core.simulated import now

Scope = Literal["AllTasks", "FailedTasksOnly"]
OWNER = ("dag", "run", "group")
LIMITS = Limits(in_flight=8)


def succeeds(entry: Entry) -> Outcome:
    return Outcome(entry, succeeded=True, http_status=200, code="", message="Successful")


def fails(entry: Entry, code: str = "NoSuchKey", message: str = "The specified key does not exist.") -> Outcome:
    return Outcome(entry, succeeded=False, http_status=404, code=code, message=message)


class ScriptedEngine(MemoryS3):
    """Buckets ``lake`` (manifests, reports) and ``data`` (objects); every request to an object ends as `script` says.

    Args:
        script: the outcome of an entry; what it raises, the run raises.
        seed: of the order in which outcomes come.
    """

    def __init__(self, script: Callable[[Entry], Outcome] = succeeds, *, seed: int = 0, **options: Any) -> None:
        super().__init__("lake", "data", **{"now": now, **options})
        self.script = script
        self.requests: list[int] = []
        """The rows that were done, in order."""
        self.operations: list[Operation] = []
        self.allowances: list[Allowance | None] = []
        """The operation of each run."""
        self.most_fed = 0
        """The most entries that were fed without having an outcome."""
        self.broken_after: int | None = None
        """From now on so many calls are answered, and then none."""
        self.arrives = True
        """Whether the last call before that is carried out although its answer is lost."""
        self._random = random.Random(seed)
        self._checked: list[str] = []

    @property
    def checked(self) -> list[str]:
        """The buckets that the operation was checked for."""
        return self._checked

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self.broken_after is not None:
            self.broken_after -= 1
            if self.broken_after == 0 and self.arrives:
                await super().call(action, **parameters)
            if self.broken_after <= 0:
                raise Unreachable(action, "s3://lake/", status=0, code="ConnectTimeout", message="nobody there")
        return await super().call(action, **parameters)

    def check(self, operation: Operation, bucket: str) -> None:
        operation.requests(bucket, "key", None)
        self._checked.append(bucket)

    async def run(
        self,
        entries: AsyncIterator[list[Entry]],
        operation: Operation,
        *,
        stop: asyncio.Event | None = None,
        allowance: Allowance | None = None,
    ) -> AsyncGenerator[list[Outcome], None]:
        self.operations.append(operation)
        self.allowances.append(allowance)
        waiting: list[Entry] = []
        async for some in entries:
            if stop is not None and stop.is_set():
                return
            waiting += some
            self.most_fed = max(self.most_fed, len(waiting))
            self._random.shuffle(waiting)
            keep = self._random.randrange(LIMITS.in_flight)
            now, waiting = waiting[keep:], waiting[:keep]
            if now:
                yield [self._do(entry) for entry in now]
            await asyncio.sleep(0)
        if waiting:
            yield [self._do(entry) for entry in waiting]

    def _do(self, entry: Entry) -> Outcome:
        self.requests.append(entry.row)
        return self.script(entry)


def spec(scope: Scope = "AllTasks", **fields: Any) -> JobSpec:
    told = {"manifest": CsvManifest("s3://lake/manifest.csv"), "limits": LIMITS, **fields}
    return JobSpec(
        operation=PutObjectTagging({"tier": "cold"}),
        report=CompletionReport("s3://lake/reports", scope=scope),
        **told,
    )


async def prepared(s3: ScriptedEngine, rows: int = 100, *, partitions: int = 1, scope: Scope = "AllTasks") -> Job:
    """A job over so many rows, in so many partitions."""
    s3.put("lake", "manifest.csv", "".join(f"data,key-{row:05}\n" for row in range(1, rows + 1)))
    return await prepare(spec(scope), s3, owner=OWNER, rows_per_partition=-(-rows // partitions))
