"""### Delete what has expired, and keep a way back

`markers_only=True` makes sure that nothing is deleted for good: the job refuses buckets that don't keep versions, and
rows that name one. What is deleted is hidden behind delete markers, for a lifecycle rule to remove later. Until then
`bring_back_logs` undoes it.

Somebody is asked first, in Airflow's *Required Actions*, and sees how many objects it is about, and some of their keys.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_s3batch import Confirm, CsvManifest, DeleteObjects, s3_batch_job

with DAG(
    "delete_expired_logs",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={"manifest": Param("s3://lake/manifests/expired.csv", type="string", format="uri")},
):
    s3_batch_job(
        group_id="delete",
        manifest=CsvManifest("{{ params.manifest }}"),
        operation=DeleteObjects(markers_only=True),
        report="s3://lake/reports",
        confirm=Confirm(timeout=timedelta(days=1)),
    )
