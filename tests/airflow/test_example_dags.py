"""The DAGs in ``dags/`` that need no scheduler, on the lake of the demo: what they did, and what they report of it."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import pytest

from demo.audit import audit, client
from demo.lake import ARCHIVE, BUCKET, LOGS, Lake
from demo.processes import Processes
from demo.stage import connection
from tests.airflow.person import answering, from_airflow_3_3

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:  # where it was up to Airflow 3.1
    from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import DAG

    from tests.airflow.conftest import DagRun

    Run = Callable[..., DagRun]

FOLDER = Path(__file__).parent.parent.parent / "dags"
LAKE = Lake(1_000)


class Row(NamedTuple):
    """What a report says of an object."""

    status: str
    code: str
    message: str


DONE = Row("succeeded", "", "Successful")


@pytest.fixture(scope="module")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """In a process of its own: what the tests' own server holds is everybody's, and these buckets have fixed names."""
    with Processes(tmp_path_factory.mktemp("s3")) as processes:
        processes.start("s3", [sys.executable, "-m", "demo.s3", "--objects", str(LAKE.size)], os.environ)
        yield processes.first_line("s3", seconds=60)


@pytest.fixture
def s3(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection(s3_url)))
    return client(s3_url)


def dags_of(name: str) -> dict[str, DAG]:
    """The DAGs of a file, as Airflow finds them."""
    bag = DagBag(FOLDER / f"{name}.py")
    assert bag.import_errors == {}
    return dict(bag.dags)


def listed(manifest: str) -> list[str]:
    return [row.key for row in LAKE.manifests()[f"{manifest}.csv"]]


def body_of(s3: Any, bucket: str, key: str) -> bytes:
    body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def objects_in(s3: Any, bucket: str, prefix: str = "") -> dict[str, str]:
    """The storage classes by key."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {found["Key"]: found["StorageClass"] for page in pages for found in page.get("Contents", ())}


def reported(s3: Any, summary: dict[str, Any]) -> dict[str, Row]:
    """What the job's completion report says of each object, by key; each is in it once."""
    bucket, _, key = summary["report_uri"].removeprefix("s3://").partition("/")
    results = json.loads(body_of(s3, bucket, key))["Results"]
    bodies = [body_of(s3, result["Bucket"], result["Key"]).decode() for result in results]
    rows = [row for body in bodies for row in csv.reader(io.StringIO(body))]
    found = {unquote(key): Row(status, code, message) for _, key, _, status, _, code, message in rows}
    assert len(found) == len(rows) == summary["total"]
    return found


def test_cold_objects_are_tagged_and_every_row_is_accounted_for(s3: Any, run_dag: Run) -> None:
    run = run_dag(dags_of("tag_cold_objects")["tag_cold_objects"])

    assert run.state == "success"
    (prepare,) = run.rendered["tag_cold.prepare"]
    tags = {tag["Key"]: tag["Value"] for tag in prepare["operation"]["S3PutObjectTagging"]["TagSet"]}
    checks = audit(s3, LAKE.cold(), tags, run.xcom("tag_cold.report"))
    assert [check for check in checks if not check.good] == []
    assert (tags["tier"], sorted(tags)) == ("cold", ["run", "tier"])


@from_airflow_3_3
def test_dataset_goes_to_the_deep_archive_once_somebody_agrees(s3: Any, run_dag: Run) -> None:
    with answering("ask_before_archiving", "Approve") as person:
        run = run_dag(dags_of("ask_before_archiving")["ask_before_archiving"])

    keys = listed("archive")
    assert run.state == "success"
    assert person.subject == f"S3PutObjectCopy on {len(keys)} objects?"
    assert objects_in(s3, ARCHIVE, "deep/") == {f"deep/{key}": "DEEP_ARCHIVE" for key in keys}
    assert reported(s3, run.xcom("archive.report")) == dict.fromkeys(keys, DONE)


@from_airflow_3_3
def test_nothing_is_deleted_if_somebody_refuses(s3: Any, run_dag: Run) -> None:
    before = objects_in(s3, LOGS)
    with answering("delete_expired_logs", "Reject"):
        run = run_dag(dags_of("delete_expired_logs")["delete_expired_logs"])

    assert run.state == "failed"
    assert objects_in(s3, LOGS) == before
    assert "delete.report" not in {task_id for task_id, _ in run.xcoms}


@from_airflow_3_3
def test_expired_logs_are_hidden_and_brought_back(s3: Any, run_dag: Run) -> None:
    # Some of them: moto looks at all versions of a bucket for each object that is brought back.
    some, before = LAKE.manifests()["expired.csv"][:12], objects_in(s3, LOGS)
    s3.put_object(Bucket=BUCKET, Key="manifests/some.csv", Body="".join(row.text for row in some).encode())
    keys, conf = [row.key for row in some], {"manifest": f"s3://{BUCKET}/manifests/some.csv"}
    with answering("delete_expired_logs", "Approve"):
        deleted = run_dag(dags_of("delete_expired_logs")["delete_expired_logs"], run_conf=conf)
    left = objects_in(s3, LOGS)
    back = run_dag(dags_of("bring_back_logs")["bring_back_logs"], run_conf=conf)

    assert (deleted.state, back.state) == ("success", "success")
    assert left.keys() == before.keys() - set(keys)
    assert objects_in(s3, LOGS) == before
    assert reported(s3, deleted.xcom("delete.report")).keys() == set(keys)
    for summary in (deleted.xcom("delete.report"), back.xcom("undelete")):
        assert {row.status for row in reported(s3, summary).values()} == {"succeeded"}


def test_files_that_are_empty_or_too_large_are_told(s3: Any, run_dag: Run) -> None:
    empty, large, *others = keys = listed("audited")
    s3.put_object(Bucket=BUCKET, Key=empty, Body=b"")
    s3.put_object(Bucket=BUCKET, Key=large, Body=b"x" * 101)

    run = run_dag(dags_of("check_files")["check_files"], run_conf={"most_bytes": 100})

    summary = run.xcom("check.report")
    sizes = {key: len(key.encode()) for key in others}  # what the lake puts into each
    assert run.state == "success"
    assert run.xcom("tell") == f"2 of {len(keys)} files are not as they should be: {summary['report_uri']}"
    assert reported(s3, summary) == {
        empty: Row("failed", "ValueError", "0 bytes"),
        large: Row("failed", "ValueError", "101 bytes"),
        **{key: Row("succeeded", "", f"{size} bytes") for key, size in sizes.items()},
    }


def test_dataset_arrives_in_its_new_layout(s3: Any, run_dag: Run) -> None:
    run = run_dag(dags_of("migrate_dataset")["migrate_dataset"])

    moved = {}
    for key in listed("migration"):
        _, year, month, rest = key.split("/")
        moved[key] = f"events/year={year}/month={month}/{rest}"
    assert run.state == "success"
    assert objects_in(s3, ARCHIVE, "events/").keys() == set(moved.values())
    assert all(body_of(s3, ARCHIVE, there) == body_of(s3, BUCKET, here) for here, there in moved.items())
    for step in ("copy.report", "verify.report"):
        rows = reported(s3, run.xcom(step))
        assert {key: row.status for key, row in rows.items()} == dict.fromkeys(moved, "succeeded")


def test_what_was_rehearsed_is_performed(s3: Any, run_dag: Run) -> None:
    def tagged() -> int:
        sets = [s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"] for key in keys]
        return sets.count([{"Key": "owner", "Value": "data-office"}])

    keys, dags = listed("public"), dags_of("rehearse_and_perform")
    rehearsed = run_dag(dags["rehearse_retagging"])
    told, before = rehearsed.xcom("retag.prepare", "estimate"), tagged()
    performed = run_dag(dags["perform_retagging"], run_conf={"job_id": told["job_id"]})

    summary = performed.xcom("retag.report")
    assert (rehearsed.state, performed.state) == ("success", "success")
    assert (told["objects"], told["requests"][0]["times"], before) == (len(keys), len(keys), 0)
    assert summary["job_id"] == told["job_id"]
    assert reported(s3, summary) == dict.fromkeys(keys, DONE)
    assert tagged() == len(keys)
