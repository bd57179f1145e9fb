"""Suite *delete*: 1,000 objects a request, by a job and by boto3."""

from __future__ import annotations

from benchmarks import run_partition
from benchmarks.nginx import CannedS3
from benchmarks.sample import Case, run_client

__all__ = ["cases"]

_OBJECTS = 1_000_000
_BOTO3_OBJECTS = 200_000
_THREADS = 8


def cases(server: CannedS3) -> list[Case]:
    """All of the suite."""
    jobs = [run_partition.case(server, _OBJECTS, operation="DeleteObjects", tls=tls) for tls in (False, True)]
    return [*(job._replace(suite="delete") for job in jobs), _boto3(server)]


def _boto3(server: CannedS3) -> Case:
    told = {
        "url": server.http,
        "certificate": "",
        "objects": _BOTO3_OBJECTS,
        "threads": _THREADS,
        "operation": "DeleteObjects",
    }
    setting = f"delete_objects, HTTP, {_THREADS} threads, {_BOTO3_OBJECTS:,} objects"
    return Case("delete", "boto3", setting, lambda: run_client("boto3_threads", told))
