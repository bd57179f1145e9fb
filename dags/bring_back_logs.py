"""### Bring back what was deleted

Undoes `delete_expired_logs`: every object of its manifest loses the delete marker that hides it. Those that are there
already are left as they are, so that it can be triggered twice.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_s3batch import CsvManifest, S3BatchJobOperator, UndeleteObject

with DAG(
    "bring_back_logs",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={"manifest": Param("s3://lake/manifests/expired.csv", type="string", format="uri")},
):
    S3BatchJobOperator(
        task_id="undelete",
        manifest=CsvManifest("{{ params.manifest }}"),
        operation=UndeleteObject(),
        report="s3://lake/reports",
    )
