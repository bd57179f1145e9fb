"""`Job`: a run of the DAG ``killed_job`` on a real Airflow, on a lake of its own, and what the server says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults import audit

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from tests.faults.recording_s3 import Record

__all__ = ["CHECKPOINT_ROWS", "IN_FLIGHT", "KILLED", "PATIENCE", "WATCHED", "Job"]

KILLED, WATCHED = "killed_job", "watched_job"
"""The DAG with retries without end, and the one with none."""
IN_FLIGHT, CHECKPOINT_ROWS = 64, 10_000
"""The first as the DAG has it, the second is the package's default."""
PATIENCE = 600.0
"""Seconds for a run to end once nothing is killed any more."""


class Job:
    """A run of the DAG on a lake of its own."""

    def __init__(self, airflow: Airflow, record: Record, name: str, rows: int, dag: str = KILLED) -> None:
        self.lake = audit.Lake(name, rows)
        self._dag = dag
        self._airflow = airflow
        self._record = record
        record.put("jobs", f"{name}.csv", self.lake.manifest())
        self.trigger()

    def trigger(self) -> None:
        self._airflow.trigger(self._dag, self.lake.bucket, lake=self.lake.bucket)

    def state(self) -> str:
        return self._airflow.state(self._dag, self.lake.bucket)

    def clear(self, task_id: str, map_index: int = -1, *, downstream: bool = False) -> None:
        """Do as the button Clear of Airflow's UI."""
        task = [task_id, map_index] if map_index >= 0 else task_id
        self._airflow.post(
            f"dags/{self._dag}/clearTaskInstances",
            dry_run=False,
            dag_run_id=self.lake.bucket,
            task_ids=[task],
            include_downstream=downstream,
            reset_dag_runs=True,
            only_failed=False,
        )

    def wait(self, wanted: str = "success") -> None:
        def ended() -> str | None:
            state = self.state()
            return state if state in {"success", "failed"} else None

        assert self._airflow.wait(f"the run on {self.lake.bucket}", ended, PATIENCE) == wanted

    def folder(self) -> str:
        job = self._airflow.xcom(self._dag, self.lake.bucket, "tag.prepare", "job")
        return f"reports/job-{job['job_id']}/"

    def evidence(self) -> audit.Evidence:
        return audit.Evidence.take(self._record, self.lake, "jobs", self.folder())
