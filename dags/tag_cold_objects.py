"""### Tag what nobody reads any more

Every object of the manifest gets the tag `tier=cold`; a lifecycle rule on that tag then moves it to a cheaper storage
class. The manifest is a CSV in the format of Amazon S3 Batch Operations (`bucket,key` a line, keys URL-encoded),
written by whatever knows what is cold. The job replaces an object's whole tag set.

The task group has three steps: `prepare` checks the whole manifest before anything is touched, `run` works on its
partitions in parallel, `report` writes the completion report and puts its summary into the log and the XCom.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_s3batch import CsvManifest, Limits, PutObjectTagging, s3_batch_job

with DAG(
    "tag_cold_objects",
    schedule=None,
    doc_md=__doc__,
    tags=["s3batch"],
    params={"manifest": Param("s3://lake/manifests/cold.csv", type="string", format="uri")},
):
    s3_batch_job(
        group_id="tag_cold",
        manifest=CsvManifest("{{ params.manifest }}"),
        operation=PutObjectTagging({"tier": "cold", "run": "{{ run_id }}"}),
        report="s3://lake/reports",
        limits=Limits(in_flight=64),
        # Small, so that some thousands of objects spread over four mapped tasks. A real lake does well without it.
        rows_per_partition=2_500,
    )
