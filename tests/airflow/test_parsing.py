"""What a DAG file costs and becomes when Airflow parses it: again and again, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import airflow_s3batch

if TYPE_CHECKING:
    from pathlib import Path

DAG_FILE = """
from airflow.sdk import DAG

from airflow_s3batch import CopyObject, CsvManifest, Limits, PutObjectTagging, S3BatchJobOperator, s3_batch_job

with DAG("lake", schedule="@daily") as dag:
    s3_batch_job(
        group_id="tag",
        manifest=CsvManifest("s3://lake/manifests/{{ ds }}.csv"),
        operation=PutObjectTagging({"tier": "cold", "team": "{{ params.team }}", "a": "1", "b": "2"}),
        report="s3://lake/reports",
        limits=Limits(in_flight=64),
    )
    S3BatchJobOperator(
        task_id="copy",
        manifest=CsvManifest("s3://lake/manifests/small.csv"),
        operation=CopyObject("archive", tags={"x": "1", "y": "2"}, metadata={"m": "1", "n": "2"}),
        report="s3://lake/reports/{{ ds }}",
    )
"""
HEAVY = ["boto3", "botocore", "httptools", "uvloop", "airflow.providers.amazon.aws"]


def parse(tmp_path: Path, then: str, **environment: str) -> str:
    """Parse the DAG file in a new interpreter, do something more there, and return what it printed last."""
    (tmp_path / "lake_dag.py").write_text(DAG_FILE)
    # Byte code goes where it can be found again: parsing a second time is what happens all day.
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "PYTHONPYCACHEPREFIX": str(tmp_path / "pycache"),
        **environment,
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", f"import airflow.sdk, sys\nfrom airflow.sdk import DAG\n{then}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines()[-1]


def test_parsing_loads_neither_boto3_nor_the_engine(tmp_path: Path) -> None:
    loaded = parse(tmp_path, f"import json, lake_dag\nprint(json.dumps([m for m in {HEAVY} if m in sys.modules]))")

    assert json.loads(loaded) == []


def test_operation_in_aws_words_loads_no_other(tmp_path: Path) -> None:
    loaded = parse(
        tmp_path,
        "import json\nfrom airflow_s3batch import Objects, S3BatchPrepareOperator\n"
        "operation = {'S3PutObjectTagging': {'TagSet': []}}\n"
        "S3BatchPrepareOperator(task_id='p', manifest=Objects(['s3://a-b/c']), operation=operation, report='s3://a-b')\n"
        "operations = 'airflow_s3batch.core.operations.'\n"
        "print(json.dumps([m.removeprefix(operations) for m in sys.modules if m.startswith(operations)]))",
    )

    assert "tagging" in json.loads(loaded)
    assert not {"copy", "move", "verify", "python_function"} & set(json.loads(loaded))


def test_import_adds_less_than_a_third_of_what_the_amazon_providers_operators_add(tmp_path: Path) -> None:
    # Side by side, since machines differ. Frozen, as in Airflow's DAG processor: else a collection of all of Airflow's
    # objects may fall in between.
    measure = (
        "import gc, time; gc.collect(); gc.freeze(); began = time.process_time()\n"
        "from airflow_s3batch import CsvManifest, PutObjectTagging, s3_batch_job\n"
        "ours = time.process_time() - began\n"
        "from airflow.providers.amazon.aws.operators.s3 import S3CopyObjectOperator\n"
        "print(ours / (time.process_time() - began - ours))"
    )
    parse(tmp_path, measure)

    assert min(float(parse(tmp_path, measure)) for _ in range(2)) < 1 / 3


def test_serialized_dag_is_the_same_at_every_parse(tmp_path: Path) -> None:
    serialize = (
        "import lake_dag\n"
        "from airflow.models.serialized_dag import SerializedDagModel\n"
        "from airflow.serialization import serialized_objects as so\n"
        "to_dict = getattr(so, 'DagSerialization', so.SerializedDAG).to_dict\n"
        "print(SerializedDagModel.hash(to_dict(lake_dag.dag)))"
    )

    assert parse(tmp_path, serialize, PYTHONHASHSEED="1") == parse(tmp_path, serialize, PYTHONHASHSEED="2")


@pytest.mark.parametrize("name", airflow_s3batch.__all__)
def test_public_name_loads_and_is_documented(name: str) -> None:
    found = getattr(airflow_s3batch, name)

    assert found.__name__ == {"s3_batch_job": "S3BatchJob"}.get(name, name)
    assert found.__doc__
    assert name in dir(airflow_s3batch)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'CsvManifesto'"):
        _ = airflow_s3batch.CsvManifesto
