"""Jobs run by a real Airflow: scheduler, LocalExecutor, triggerer, and the API that its UI uses."""

from __future__ import annotations

import itertools
import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from demo.audit import audit
from demo.lake import ARCHIVE, BUCKET

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from demo.lake import Lake
    from demo.stage import Stage

pytestmark = pytest.mark.e2e

SLOW = "slow_job"
EXAMPLES = ("clear_audit_tags", "copy_to_archive", "lock_down_public_objects", "restore_for_reprocessing")
RUN = "e2e"


@pytest.fixture(scope="module")
def airflow(running: Stage, s3: Any, lake: Lake) -> Airflow:
    """Airflow after a run of each DAG."""
    for row in lake.manifests()["audited.csv"]:
        s3.put_object_tagging(Bucket=row.bucket, Key=row.key, Tagging={"TagSet": [{"Key": "audit", "Value": "2026"}]})
    for row in lake.manifests()["public.csv"]:
        s3.put_object_acl(Bucket=row.bucket, Key=row.key, ACL="public-read")
    airflow = running.airflow
    airflow.unpause("review_reports")
    for dag_id in (SLOW, *EXAMPLES):
        airflow.unpause(dag_id)
        airflow.trigger(dag_id, RUN)
    for dag_id in (SLOW, *EXAMPLES):
        airflow.ended(dag_id, RUN)
    return airflow


def test_every_row_has_one_outcome_and_it_is_what_the_server_holds(airflow: Airflow, s3: Any, lake: Lake) -> None:
    summary = airflow.xcom(SLOW, RUN, "tag.report")

    wrong = [check for check in audit(s3, lake.cold(), {"tier": "cold", "run": RUN}, summary) if not check.good]

    assert airflow.state(SLOW, RUN) == "success"
    assert wrong == []


def test_partitions_run_in_parallel(airflow: Airflow) -> None:
    runs = [task for task in airflow.tasks(SLOW, RUN) if task["task_id"] == "tag.run"]

    overlaps = [
        one["start_date"] < other["end_date"] and other["start_date"] < one["end_date"]
        for one, other in itertools.combinations(runs, 2)
    ]

    assert len(runs) == 4
    assert any(overlaps)


def test_partitions_are_named_by_their_rows(airflow: Airflow) -> None:
    names = [task["rendered_map_index"] for task in airflow.tasks(SLOW, RUN) if task["task_id"] == "tag.run"]

    assert len(set(names)) == 4
    assert all(re.fullmatch(r"rows [\d,]+\D+[\d,]+", name) for name in names)


def test_log_of_a_partition_tells_its_progress(airflow: Airflow) -> None:
    log = "\n".join(airflow.log(SLOW, RUN, "tag.run", map_index=0))

    assert re.search(r"[\d,]+ of [\d,]+ objects \(\d+ %\), \d+ failed, [\d,]+ objects/s, .+ left", log)


def test_log_of_the_report_shows_the_summary(airflow: Airflow) -> None:
    log = "\n".join(airflow.log(SLOW, RUN, "tag.report"))

    assert "NoSuchBucket" in log
    assert airflow.xcom(SLOW, RUN, "tag.report")["report_uri"] in log


def test_sensor_waits_in_the_triggerer_until_the_job_is_complete(airflow: Airflow) -> None:
    ends = {task["task_id"]: task["end_date"] for task in airflow.tasks(SLOW, RUN) if task["map_index"] == -1}

    assert airflow.state(SLOW, RUN) == "success"
    assert ends["wait"] > max(task["end_date"] for task in airflow.tasks(SLOW, RUN) if task["task_id"] == "tag.run")


def test_button_leads_to_the_report_from_the_tasks_that_saw_it(airflow: Airflow) -> None:
    places = [("tag.prepare", -1), ("tag.run", 0), ("tag.report", -1), ("wait", -1)]

    links = [
        airflow.get(f"dags/{SLOW}/dagRuns/{RUN}/taskInstances/{task_id}/links", map_index=index)["extra_links"]
        for task_id, index in places
    ]

    of_prepare, of_run, of_report, of_sensor = (link.get("Completion report") for link in links)
    assert (of_prepare, of_run) == (None, None)
    assert of_report == of_sensor
    with urllib.request.urlopen(of_report) as report:
        assert json.load(report)["Format"] == "Report_CSV_20180820"


def test_rendered_view_shows_the_job(airflow: Airflow) -> None:
    prepare = airflow.get(f"dags/{SLOW}/dagRuns/{RUN}/taskInstances/tag.prepare")

    shown = json.dumps(prepare["rendered_fields"])

    assert "s3://lake/manifests/cold.csv" in shown or "arn:aws:s3:::lake/manifests/cold.csv" in shown
    assert RUN in shown
    assert "run_id" not in shown


def test_other_dags_are_run_by_the_report_and_see_its_summary(airflow: Airflow) -> None:
    def reviewed() -> list[str]:
        runs = airflow.get("dags/review_reports/dagRuns", limit=100)["dag_runs"]
        done = [run["dag_run_id"] for run in runs if run["state"] == "success"]
        return [uri for run_id in done for uri in airflow.xcom("review_reports", run_id, "review")]

    wanted = airflow.xcom(SLOW, RUN, "tag.report")["report_uri"]

    assert airflow.wait("the review of the report", lambda: wanted in reviewed(), 300)


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_example_ends_well(airflow: Airflow, dag_id: str) -> None:
    assert airflow.state(dag_id, RUN) == "success"


def test_audit_tags_are_gone(airflow: Airflow, s3: Any, lake: Lake) -> None:
    tags = [s3.get_object_tagging(Bucket=row.bucket, Key=row.key)["TagSet"] for row in lake.manifests()["audited.csv"]]

    assert not any(tags)


def test_archive_holds_a_copy_of_each_object(airflow: Airflow, s3: Any, lake: Lake) -> None:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=ARCHIVE, Prefix="events-2026-01/")
    found = {item["Key"]: item["StorageClass"] for page in pages for item in page["Contents"]}

    assert found == {f"events-2026-01/{row.key}": "GLACIER_IR" for row in lake.manifests()["archive.csv"]}


def test_public_objects_are_private(airflow: Airflow, s3: Any, lake: Lake) -> None:
    grants = [
        grant
        for row in lake.manifests()["public.csv"]
        for grant in s3.get_object_acl(Bucket=row.bucket, Key=row.key)["Grants"]
    ]

    assert [grant for grant in grants if "URI" in grant["Grantee"]] == []


def test_archived_objects_are_restored_and_others_reported(airflow: Airflow, s3: Any, lake: Lake) -> None:
    rows = lake.manifests()["restore.csv"]

    restored = [row for row in rows if "Restore" in s3.head_object(Bucket=BUCKET, Key=row.key)]
    summary = airflow.xcom("restore_for_reprocessing", RUN, "restore.report")

    assert restored == [row for row in rows if not row.code]
    assert summary["failures_by_code"] == {"InvalidObjectState": 1}


def test_missing_manifest_fails_the_run_before_anything_is_touched(airflow: Airflow, s3: Any) -> None:
    airflow.trigger("copy_to_archive", "no-manifest", manifest="s3://lake/manifests/nowhere.csv", dataset="nothing")

    state = airflow.ended("copy_to_archive", "no-manifest")
    log = "\n".join(airflow.log("copy_to_archive", "no-manifest", "copy.prepare"))
    copied = s3.list_objects_v2(Bucket=ARCHIVE, Prefix="nothing/")["KeyCount"]

    assert state == "failed"
    assert "s3://lake/manifests/nowhere.csv" in log
    assert copied == 0


def test_airflow_lists_the_provider(airflow: Airflow) -> None:
    listed = airflow.command("providers", "list", "--output", "json")

    assert "airflow-provider-s3batch" in {provider["package_name"] for provider in json.loads(listed)}
