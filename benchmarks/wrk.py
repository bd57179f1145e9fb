"""`wrk` as the yardstick: a C program that sends one prebuilt request over and over, and reads the answers."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from airflow_s3batch.core.engine.access import Credentials, S3Access
from airflow_s3batch.core.engine.compile import Compiler
from airflow_s3batch.core.engine.signing import Signer
from benchmarks.nginx import DATA
from benchmarks.sample import finish

__all__ = ["prebuilt", "wrk"]

_DONE = re.compile(r"(\d+) requests in ([\d.]+)(ms|s)")


def prebuilt(url: str) -> bytes:
    """A signed PutObjectTagging, as the engine sends it."""
    compiler = Compiler(S3Access(endpoint_url=url, addressing_style="path"), "bench")
    tags = {"TagSet": [{"Key": "tier", "Value": "cold"}]}
    compiled = compiler.compile(
        "PutObjectTagging", {"Bucket": DATA, "Key": "data/part=17/file-17000.parquet", "Tagging": tags}
    )
    return Signer(compiled, Credentials("AKIDEXAMPLE", "secret")).wire()


def wrk(url: str, in_flight: int, seconds: int) -> dict[str, Any]:
    """Send the prebuilt request from one thread for so many seconds; objects, cpu, wall and rss_mb.

    Raises:
        RuntimeError: the server refused any of them.
    """
    head, _, body = prebuilt(url).decode("latin-1").partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(": ", 1) for line in lines)
    headers = {name: value for name, value in pairs if name not in {"host", "content-length"}}  # wrk writes its own
    # Set like this, wrk builds the request once; a `request` function would be called for each.
    script = [f"wrk.method = [[{method}]]", f"wrk.body = [[{body}]]"]
    script += [f"wrk.headers[ [[{name}]] ] = [[{value}]]" for name, value in headers.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "request.lua"
        path.write_text("\n".join(script))
        done = finish(["wrk", "-t1", f"-c{in_flight}", f"-d{seconds}s", "-s", str(path), f"{url}{target}"])
    found = _DONE.search(done.output)
    if found is None or "Non-2xx" in done.output:
        raise RuntimeError(f"wrk failed:\n{done.output}")
    wall = float(found[2]) / (1000 if found[3] == "ms" else 1)
    return {"objects": int(found[1]), "cpu": done.cpu, "wall": wall, "rss_mb": done.rss_mb}
