"""`Job`: a run of one of the suite's DAGs on a real Airflow, on a lake of its own, and what the server says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.faults import audit

if TYPE_CHECKING:
    from demo.airflow import Airflow
    from tests.faults.recording_s3 import Record

__all__ = ["CHECKPOINT_ROWS", "CLEARED", "DAGS", "IN_FLIGHT", "KILLED", "PATIENCE", "TIMED", "WATCHED", "Job"]

KILLED, CLEARED, TIMED, WATCHED = "killed_job", "cleared_job", "timed_job", "watched_job"
"""The DAGs: of large partitions; of small ones; of tasks that have 15 s each time; and of tasks without retries."""
DAGS = (KILLED, CLEARED, TIMED, WATCHED)
IN_FLIGHT, CHECKPOINT_ROWS = 64, 10_000
"""The first as the DAG has it, the second is the package's default."""
PATIENCE = 900.0
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

    def tasks(self) -> list[dict[str, Any]]:
        """The run's task instances, mapped ones each."""
        return self._airflow.tasks(self._dag, self.lake.bucket)

    def log(self, task_id: str, map_index: int) -> list[str]:
        """The log of a mapped task's first attempt."""
        return self._airflow.log(self._dag, self.lake.bucket, task_id, map_index=map_index)

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

    def clear_failed(self) -> None:
        """Do as a person who clears what has failed, and all that waited for it."""
        self._airflow.post(
            f"dags/{self._dag}/clearTaskInstances",
            dry_run=False,
            dag_run_id=self.lake.bucket,
            include_downstream=True,
            reset_dag_runs=True,
            only_failed=True,
        )

    def wait(self, wanted: str = "success") -> None:
        assert self.ended() == wanted

    def ended(self) -> str:
        """Wait until the run has ended; return its state."""
        return self._airflow.ended(self._dag, self.lake.bucket, PATIENCE)

    def folder(self) -> str:
        job = self._airflow.xcom(self._dag, self.lake.bucket, "tag.prepare", "job")
        return f"reports/{self.lake.bucket}/job-{job['job_id']}/"

    def evidence(self) -> audit.Evidence:
        return audit.Evidence.take(self._record, self.lake, "jobs", self.folder())
