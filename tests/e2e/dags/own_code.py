"""Code of an author's: an operation as a class in the DAG file, and functions as operations."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.sdk import DAG, task

from airflow_s3batch import AsyncS3Object, CsvManifest, S3Object, StepsOperation, s3_batch_job
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.rows import Entry

MANIFEST, REPORT = CsvManifest("s3://lake/manifests/audited.csv"), "s3://lake/reports"


class Weigh(StepsOperation):
    """Tell how many bytes an object has."""

    aws_name: ClassVar[str] = "E2eWeigh"

    unit: str

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        head = await s3.call("HeadObject", Bucket=entry.bucket, Key=entry.key)
        return f"{head['ContentLength']} {self.unit}"


with DAG("own_operation", schedule=None):
    s3_batch_job("weigh", manifest=MANIFEST, operation=Weigh(unit="bytes"), report=REPORT, rows_per_partition=20)

with DAG("own_functions", schedule=None):

    @task
    def choose_unit() -> str:
        return "bytes"

    @task.s3_batch(manifest=MANIFEST, report=REPORT, threads=8, rows_per_partition=20)
    def weigh(obj: S3Object, unit: str, ds: str | None = None) -> str:
        """Tell how many bytes an object has."""
        return f"{len(obj.read())} {unit} on {ds}"

    @task.s3_batch(manifest=MANIFEST, report=REPORT)
    async def weigh_too(obj: AsyncS3Object) -> str:
        return f"{len(await obj.read())} bytes"

    @task
    def add(one: Any, other: Any) -> int:
        return int(one["succeeded"] + other["succeeded"])

    add(weigh(choose_unit()), weigh_too())  # type: ignore[arg-type, call-arg, misc] # TaskFlow
