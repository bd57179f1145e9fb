"""Suite *run_partition*: the whole path, from a manifest's rows in S3 to result files and checkpoints in S3."""

from __future__ import annotations

import secrets
from typing import Any

from benchmarks.nginx import DATA, JOBS, CannedS3
from benchmarks.sample import Case, run_client

__all__ = ["case", "cases", "large_case", "manifest_key", "put_manifest", "settings"]

_OFTENER = 3
"""Times a round for a job of a fifth of a second, in which a moment's noise shows."""


def manifest_key(rows: int) -> str:
    """The key of the manifest of so many rows."""
    return f"manifests/{rows}.csv"


def put_manifest(server: CannedS3, rows: int) -> None:
    """Put a manifest of so many rows into the bucket of jobs, unless it is there."""
    if server.has(manifest_key(rows)):
        return
    lines = (f"{DATA},data/part%3D{row // 1000}/file-{row}.parquet\n" for row in range(rows))
    server.put(manifest_key(rows), "".join(lines).encode())


def cases(server: CannedS3) -> list[Case]:
    """All of the suite but the large one."""
    return [
        *[case(server, 10_000)] * _OFTENER,
        case(server, 100_000),
        case(server, 100_000, in_flight=64),
        case(server, 100_000, in_flight=1000),
        case(server, 100_000, operation="CopyObject"),
        case(server, 20_000, operation="HeadObject of one's own"),
        case(server, 100_000, loop="asyncio"),
        case(server, 100_000, tls=True),
        case(server, 100_000, tls=True, loop="asyncio"),
    ]


def large_case(server: CannedS3) -> Case:
    """The one that needs no second round to be sure of: it takes minutes."""
    return case(server, 5_000_000)


def case(
    server: CannedS3,
    rows: int,
    *,
    in_flight: int = 256,
    operation: str = "PutObjectTagging",
    loop: str = "uvloop",
    tls: bool = False,
) -> Case:
    """One job of so many rows."""
    told = settings(server, rows, in_flight=in_flight, operation=operation, loop=loop, tls=tls)

    def run() -> dict[str, Any]:
        put_manifest(server, rows)
        report = f"reports/{secrets.token_hex(4)}"
        measured = run_client("run_partition", {**told, "report": report})
        _check(server, report, rows)
        return measured

    setting = f"{operation}, {'TLS' if tls else 'HTTP'}, {in_flight} in flight, {loop}, {rows:,} objects"
    return Case("run_partition", "airflow_s3batch", setting, run)


def settings(server: CannedS3, rows: int, *, in_flight: int, operation: str, loop: str, tls: bool) -> dict[str, Any]:
    """What `clients/run_partition.py` wants to know."""
    return {
        "url": server.https if tls else server.http,
        "certificate": str(server.certificate) if tls else "",
        "manifest": manifest_key(rows),
        "objects": rows,
        "in_flight": in_flight,
        "operation": operation,
        "loop": loop,
    }


def _check(server: CannedS3, report: str, rows: int) -> None:
    """Make sure that the work was done: as many rows in the result files as in the manifest."""
    files = [path for path in server.stored(report) if path.suffix == ".csv"]
    told = sum(path.read_bytes().count(b"\n") for path in files)
    if told != rows:
        raise RuntimeError(f"{told} rows in the {JOBS}/{report}/ result files, not {rows}")
    for path in files:
        path.unlink()
