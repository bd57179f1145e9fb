"""### Bring last decade's data back, and copy it to where it is reprocessed

Objects in archive classes can't be read before they are restored. This asks S3 to restore each object of the
manifest, with the cheap and slow tier, for as many days as the reprocessing needs, and waits some hours, in the
triggerer, until all of them can be read. Then it copies them under the reprocessing's prefix. Objects that were never
archived end as failed rows of the first report, and are copied nevertheless.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_s3batch import CopyObject, CsvManifest, RestoreObject, s3_batch_job

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
    manifest = CsvManifest("{{ params.manifest }}")
    restore = s3_batch_job(
        group_id="restore",
        manifest=manifest,
        operation=RestoreObject(days="{{ params.days }}", tier="BULK", wait=True),
        report="s3://lake/reports",
    )
    copy = s3_batch_job(
        group_id="copy",
        manifest=manifest,
        operation=CopyObject("lake", target_prefix="reprocessing/", storage_class="STANDARD"),
        report="s3://lake/reports",
    )
    restore >> copy
