"""A bucket's keys as `ListObjects` finds and writes them: what it writes stays in memory."""

from __future__ import annotations

from typing import Any

from airflow_s3batch.core import engine
from airflow_s3batch.core.engine import S3, Credentials, S3Access
from airflow_s3batch.core.folder.status import utc_now
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest import ListObjects
from airflow_s3batch.testing import MemoryS3
from benchmarks.clients.meter import Meter, settings


class _ListedThere(MemoryS3):
    """Buckets are listed on a server."""

    def __init__(self, s3: S3) -> None:
        super().__init__("reports")
        self._s3 = s3
        self.listed = 0

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        if action == "ListObjectsV2":
            self.listed += 1
            return await self._s3.call(action, **parameters)
        return await super().call(action, **parameters)


async def _list(url: str, objects: int) -> None:
    access = S3Access(
        credentials=lambda: Credentials("AKIDEXAMPLE", "secret"), endpoint_url=url, addressing_style="path"
    )
    async with S3(access) as there:
        s3 = _ListedThere(there)
        meter = Meter()
        resolved = await ListObjects("lake").resolve(s3, S3Location("reports", "job-1/generated-manifest/"), utc_now())
        took = meter.lap()
        found = (await resolved.survey(s3)).rows
    if found != objects:
        raise SystemExit(f"{found} keys found of {objects}")
    meter.report(objects, took=took, requests=s3.listed)


if __name__ == "__main__":
    told = settings()
    engine.run(_list(told["url"], told["objects"]))
