"""A throw-away Airflow, an S3 server on loopback, and DAG runs in this process."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import warnings
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

# Before anything imports Airflow, which reads its configuration once.
_HOME = tempfile.mkdtemp(prefix="airflow-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME
_CONFIGURATION = """
[core]
load_examples = False
dags_are_paused_at_creation = False
"""
Path(_HOME, "airflow.cfg").write_text(_CONFIGURATION, encoding="utf-8")

import boto3  # noqa: E402
import pytest  # noqa: E402

from demo.s3 import EmbeddedS3  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import DAG

SECRET = "wJalrXUtnFEMI-not-a-real-secret"
DAY = datetime(2026, 1, 31, tzinfo=timezone.utc)


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    with EmbeddedS3() as server:
        yield server.url


class Lake:
    """A bucket of its own for a test, on the S3 server."""

    def __init__(self, url: str, bucket: str) -> None:
        self.bucket = bucket
        self.uri = f"s3://{bucket}"
        self.s3: Any = boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key=SECRET
        )
        self.s3.create_bucket(Bucket=bucket)

    def put(self, key: str, body: str = "x") -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body.encode())

    def get(self, key: str) -> str:
        return str(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read(), "utf-8")

    def keys(self, prefix: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for item in found.get("Contents", ())]

    def tags(self, key: str) -> dict[str, str]:
        found = self.s3.get_object_tagging(Bucket=self.bucket, Key=key)["TagSet"]
        return {tag["Key"]: tag["Value"] for tag in found}

    def manifest(self, name: str, *, objects: int, missing: int = 0) -> str:
        """Put objects, and a manifest that lists them and some that aren't there; return its URI."""
        keys = [f"data/{number}" for number in range(objects)]
        for key in keys:
            self.put(key)
        rows = [*keys, *(f"missing/{number}" for number in range(missing))]
        self.put(name, "".join(f"{self.bucket},{key}\n" for key in rows))
        return f"{self.uri}/{name}"


@pytest.fixture
def lake(s3_url: str, request: pytest.FixtureRequest, connect: Callable[..., None]) -> Lake:
    """A new bucket, and the connection ``aws_default`` to its server."""
    connect("aws_default", login="key", password=SECRET, endpoint_url=s3_url, region_name="us-east-1")
    return Lake(
        s3_url, "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")[:60].strip("-")
    )


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define an Airflow connection for as long as the test runs."""

    def define(name: str, *, login: str | None = None, password: str | None = None, **extra: Any) -> None:
        connection = {"conn_type": "aws", "login": login, "password": password, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))

    return define


@pytest.fixture(scope="session")
def airflow_database() -> None:
    with warnings.catch_warnings():
        # dag.test() serves Airflow's own API in this process; loading that is deprecated in parts.
        warnings.simplefilter("ignore")
        import_module("airflow.api_fastapi.execution_api.routes")
        import_module("fastapi.testclient")
    from airflow.utils.db import initdb

    initdb()
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()


class DagRun(NamedTuple):
    """What became of a DAG run."""

    state: str
    tasks: dict[str, list[str]]
    """The states of a task's instances, by map index."""
    names: dict[str, list[str | None]]
    """What the UI calls its mapped instances."""
    xcoms: dict[tuple[str, str], list[Any]]
    """The values under (task, key), by map index."""
    rendered: dict[str, list[dict[str, Any]]]
    """What the rendered-template view shows, by map index."""

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        (value,) = self.xcoms[task_id, key]
        return value


@pytest.fixture
def register(airflow_database: None) -> Callable[..., None]:
    """Put DAGs into Airflow's database, as its DAG processor does."""
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    def put(*dags: DAG) -> None:
        with create_session() as session:
            lazy = [LazyDeserializedDAG.from_dag(dag) for dag in dags]
            update_dag_parsing_results_in_db("dags-folder", None, lazy, {}, None, set(), session)

    return put


@pytest.fixture
def run_dag(register: Callable[..., None]) -> Callable[[DAG], DagRun]:
    """Run a DAG to its end, in this process."""

    def run(dag: DAG, **options: Any) -> DagRun:
        register(dag)
        return _outcome(dag.test(logical_date=DAY, **options))

    return run


def _outcome(run: Any) -> DagRun:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    tasks: dict[str, list[str]] = {}
    names: dict[str, list[str | None]] = {}
    xcoms: dict[tuple[str, str], list[Any]] = {}
    rendered: dict[str, list[dict[str, Any]]] = {}
    for instance in sorted(run.get_task_instances(), key=lambda instance: instance.map_index):
        tasks.setdefault(instance.task_id, []).append(str(instance.state))
        names.setdefault(instance.task_id, []).append(instance.rendered_map_index)
    with create_session() as session:
        of_run = {"dag_id": run.dag_id, "run_id": run.run_id}
        for xcom in session.scalars(select(XComModel).filter_by(**of_run).order_by(XComModel.map_index)):
            xcoms.setdefault((str(xcom.task_id), str(xcom.key)), []).append(XComModel.deserialize_value(xcom))
        fields = RenderedTaskInstanceFields
        for shown in session.scalars(select(fields).filter_by(**of_run).order_by(fields.map_index)):
            rendered.setdefault(str(shown.task_id), []).append(dict(shown.rendered_fields))
    return DagRun(str(run.state), tasks, names, xcoms, rendered)
