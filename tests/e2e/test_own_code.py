"""An author's own operation and functions, run by processes that know them from the DAG file alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from demo.lake import Lake
    from demo.stage import Stage

pytestmark = pytest.mark.e2e

RUN = "own"
DAGS = ("own_operation", "own_functions")


@pytest.fixture(scope="module")
def airflow(running: Stage) -> Airflow:
    airflow = running.airflow
    for dag_id in DAGS:
        airflow.unpause(dag_id)
        airflow.trigger(dag_id, RUN)
    for dag_id in DAGS:
        airflow.ended(dag_id, RUN)
    return airflow


def test_operation_of_a_dag_file_is_run_by_mapped_tasks(airflow: Airflow, lake: Lake) -> None:
    summary: Any = airflow.xcom("own_operation", RUN, "weigh.report")
    runs = [task for task in airflow.tasks("own_operation", RUN) if task["task_id"] == "weigh.run"]

    assert airflow.state("own_operation", RUN) == "success"
    assert len(runs) > 1
    assert (summary["operation"], summary["status"]) == ("E2eWeigh", "Complete")
    assert summary["total"] == len(lake.manifests()["audited.csv"]) == summary["succeeded"] + summary["failed"]


def test_functions_of_a_dag_file_are_run_by_mapped_tasks(airflow: Airflow) -> None:
    counted = [airflow.xcom("own_functions", RUN, f"{name}.report")["succeeded"] for name in ("weigh", "weigh_too")]

    assert airflow.state("own_functions", RUN) == "success"
    assert counted[0] == counted[1] > 0
    assert airflow.xcom("own_functions", RUN, "add") == sum(counted)
