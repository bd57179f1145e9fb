"""Suite *peers*: the same work by other means, on the same server."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.nginx import DATA, CannedS3
from benchmarks.sample import Case, Finished, finish, run_client
from benchmarks.tools import peers

__all__ = ["cases", "mapped_copies"]

_OBJECTS = 2000
_MAPPED = 40


def cases(server: CannedS3) -> list[Case]:
    """All of the suite but Airflow's own way."""
    programs = peers()
    found = [_boto3(server, threads, "PutObjectTagging") for threads in (8, 16, 32)]
    found.append(_boto3(server, 8, "CopyObject"))
    found.append(_boto3(server, 8, "PutObjectTagging", tls=True))
    told = {"url": server.http, "objects": _OBJECTS, "in_flight": 64}
    python = str(programs / "python")
    found.append(
        Case(
            "peers",
            "aiobotocore",
            "PutObjectTagging, 64 tasks",
            lambda: run_client("aiobotocore_tasks", told, python=python),
        )
    )
    found.append(Case("peers", "s5cmd run", "CopyObject, 64 workers", lambda: _s5cmd(server, str(programs / "s5cmd"))))
    found.append(Case("peers", "rclone copy", "CopyObject, 64 transfers", lambda: _rclone(server)))
    return found


def mapped_copies(server: CannedS3) -> Case:
    """The amazon provider's operator, one mapped task an object."""
    return Case("peers", "S3CopyObjectOperator.expand", "CopyObject, dag.test()", lambda: _mapped(server))


def _boto3(server: CannedS3, threads: int, operation: str, *, tls: bool = False) -> Case:
    told = {
        "url": server.https if tls else server.http,
        "certificate": str(server.certificate) if tls else "",
        "objects": _OBJECTS,
        "threads": threads,
        "operation": operation,
    }
    setting = f"{operation}, {threads} threads{', TLS' if tls else ''}"
    return Case("peers", "boto3", setting, lambda: run_client("boto3_threads", told))


def _told(done: Finished, objects: int) -> dict[str, Any]:
    return {"objects": objects, "cpu": done.cpu, "wall": done.wall, "rss_mb": done.rss_mb}


def _credentials() -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


def _s5cmd(server: CannedS3, program: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        commands = Path(folder) / "commands.txt"
        commands.write_text("".join(f"cp s3://{DATA}/data/{n} s3://{DATA}/copy/{n}\n" for n in range(_OBJECTS)))
        command = [program, "--endpoint-url", server.http, "--numworkers", "64", "--log", "error", "run", str(commands)]
        return _told(finish(command, environment=_credentials()), _OBJECTS)


def _rclone(server: CannedS3) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "names.txt"
        names.write_text("".join(f"data/{n}\n" for n in range(_OBJECTS)))
        remote = (
            f":s3,provider=Other,env_auth=true,region=us-east-1,endpoint='{server.http}',force_path_style=true:{DATA}"
        )
        command = ["rclone", "copy", f"{remote}/", f"{remote}/copy/", "--files-from-raw", str(names), "--no-traverse"]
        command += ["--transfers=64", "--checkers=64", "--ignore-times", "--config", f"{folder}/rclone.conf"]
        return _told(finish(command, environment=_credentials()), _OBJECTS)


def _mapped(server: CannedS3) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="airflow-bench-") as home:
        extra = {
            "endpoint_url": server.http,
            "region_name": "us-east-1",
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        }
        connection = {"conn_type": "aws", "login": "AKIDEXAMPLE", "password": "secret", "extra": extra}
        environment = {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": f"{home}/dags",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW_CONN_BENCH": json.dumps(connection),
        }
        finish([str(Path(sys.executable).parent / "airflow"), "db", "migrate"], environment=environment)
        return run_client("mapped_copies", {"objects": _MAPPED}, environment=environment)
