"""### Rehearse a change of many objects, then do exactly that

`rehearse_retagging` prepares the job and tells what it would do: how many objects, which ones for example, how many
requests, what they cost. Nothing is touched. When it looks right, trigger `perform_retagging` with the job's id,
from the log or the XCom `estimate` of the rehearsal: what was found is what is run.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_s3batch import CsvManifest, PutObjectTagging, s3_batch_job

REPORTS = "s3://lake/reports"

with DAG(
    "rehearse_retagging",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={"manifest": Param("s3://lake/manifests/public.csv", type="string", format="uri")},
):
    s3_batch_job(
        group_id="retag",
        manifest=CsvManifest("{{ params.manifest }}"),
        operation=PutObjectTagging({"owner": "data-office"}),
        report=REPORTS,
        dry_run=True,
    )

with DAG(
    "perform_retagging",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={"job_id": Param(type="string", pattern="^[a-zA-Z0-9_-]{5,36}$")},
):
    s3_batch_job(group_id="retag", job_id="{{ params.job_id }}", report=REPORTS)
