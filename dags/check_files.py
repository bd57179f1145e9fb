"""### Look into every file with code of our own

A function is the operation: it gets every object of the manifest, in as many mapped tasks as it takes. What it returns
is the message of the object's row in the report; what it raises is a failed row.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_s3batch import CsvManifest, S3Object

with DAG(
    "check_files",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={
        "manifest": Param("s3://lake/manifests/audited.csv", type="string", format="uri"),
        "most_bytes": Param(1_000_000, type="integer", minimum=1),
    },
):

    @task.s3_batch(manifest=CsvManifest("{{ params.manifest }}"), report="s3://lake/reports", threads=16)
    def check(obj: S3Object, params: Any = None) -> str:
        """Refuse files that are empty or too large."""
        size = len(obj.read())
        if not 1 <= size <= params["most_bytes"]:
            raise ValueError(f"{size} bytes")
        return f"{size} bytes"

    @task
    def tell(summary: dict[str, Any]) -> str:
        """Say it in a sentence."""
        return f"{summary['failed']} of {summary['total']} files are not as they should be: {summary['report_uri']}"

    tell(check())
