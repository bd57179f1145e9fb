"""### Remove the tags of a finished audit

A small job needs no task group: one `S3BatchJobOperator` checks the manifest, runs the operation and writes the
report in one task.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_s3batch import CsvManifest, DeleteObjectTagging, S3BatchJobOperator

with DAG(
    "clear_audit_tags",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={"manifest": Param("s3://lake/manifests/audited.csv", type="string", format="uri")},
):
    S3BatchJobOperator(
        task_id="clear_tags",
        manifest=CsvManifest("{{ params.manifest }}"),
        operation=DeleteObjectTagging(),
        report="s3://lake/reports",
    )
