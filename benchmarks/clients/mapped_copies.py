"""The amazon provider's `S3CopyObjectOperator`, mapped: one Airflow task an object, run by ``dag.test()``.

It needs an Airflow home of its own, in ``AIRFLOW_HOME``.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

from airflow.providers.amazon.aws.operators.s3 import S3CopyObjectOperator
from airflow.sdk import DAG

from benchmarks.clients.meter import Meter, settings

__all__ = ["dag"]


def dag(objects: int) -> DAG:
    """A DAG that copies so many objects."""
    with DAG(f"copy_{objects}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as made:
        pairs = [{"source_bucket_key": f"data/{n}", "dest_bucket_key": f"copy/{n}"} for n in range(objects)]
        S3CopyObjectOperator.partial(
            task_id="copy", aws_conn_id="bench", source_bucket_name="lake", dest_bucket_name="lake"
        ).expand_kwargs(pairs)
    return made


def _put_into_dags_folder(sizes: list[int]) -> None:
    """Airflow runs only what it finds there."""
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir()
    lines = ["from benchmarks.clients.mapped_copies import dag  # of Airflow"]
    lines += [f"copy_{objects} = dag({objects})" for objects in sizes]
    (folder / "copies.py").write_text("\n".join(lines))


def main() -> None:
    """Run the DAG with a few objects and with more: what one more costs is the difference."""
    told = settings()
    once, few, many = 2, told["objects"] // 5, told["objects"]
    made = {objects: dag(objects) for objects in (once, few, many)}
    _put_into_dags_folder(list(made))
    made[once].test()  # whatever is only done once
    meter, laps = Meter(), []
    for objects in (few, many):
        meter.lap()
        run = made[objects].test()
        laps.append(meter.lap())
        if str(run.state) != "success":
            raise SystemExit(f"the DAG run ended as {run.state}")
    (few_cpu, few_wall), (many_cpu, many_wall) = laps
    meter.report(many - few, took=(many_cpu - few_cpu, many_wall - few_wall))


if __name__ == "__main__":
    main()
