"""### Bring last decade's data back for a week

Objects in archive classes can't be read before they are restored. This asks S3 to restore each object of the
manifest, with the cheap and slow tier, for as many days as the reprocessing needs. The job is complete when S3 has
taken all the requests; the objects themselves can be read some hours later. Those that were never archived end as
failed rows of the report.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_s3batch import CsvManifest, RestoreObject, s3_batch_job

with DAG(
    "restore_for_reprocessing",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={
        "manifest": Param("s3://lake/manifests/restore.csv", type="string", format="uri"),
        "days": Param(7, type="integer", minimum=1, maximum=90),
    },
):
    s3_batch_job(
        group_id="restore",
        manifest=CsvManifest("{{ params.manifest }}"),
        operation=RestoreObject(days="{{ params.days }}", tier="BULK"),
        report="s3://lake/reports",
    )
