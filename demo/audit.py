"""The audit of a finished job by other means than the package: boto3, csv and hashlib, against the server's state."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from demo.lake import Row

__all__ = ["Check", "audit", "client", "download"]

_AT_ONCE = 8


class Check(NamedTuple):
    """One thing looked at."""

    good: bool
    what: str


def client(url: str) -> Any:
    """A boto3 S3 client for the embedded server."""
    config = Config(s3={"addressing_style": "path"}, max_pool_connections=_AT_ONCE, proxies={})
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="demo-access",
        aws_secret_access_key="demo-secret",  # noqa: S106 - the server takes any
        config=config,
    )


def audit(s3: Any, rows: Sequence[Row], tags: Mapping[str, str], summary: Mapping[str, Any]) -> Iterator[Check]:
    """Compare a tagging job's summary, its completion report and the objects themselves with what must have come out.

    Args:
        s3: a client of the server.
        rows: the job's manifest.
        tags: what every object that succeeded must have.
        summary: the XCom of the task ``report``.
    """
    yield _counts(rows, summary)
    bucket, _, key = str(summary["report_uri"]).removeprefix("s3://").partition("/")
    manifest = _body(s3, bucket, key)
    results = {result["Key"]: _body(s3, bucket, result["Key"]) for result in json.loads(manifest)["Results"]}
    yield _checksums(manifest, _body(s3, bucket, f"{key}.md5"), results)
    yield _report(rows, results)
    yield _objects(s3, [row for row in rows if not row.code], tags)


def download(s3: Any, report_uri: str, folder: Path) -> None:
    """Save the folder of a job: its report, its checkpoints, everything."""
    bucket, _, key = report_uri.removeprefix("s3://").partition("/")
    prefix = key.rpartition("/")[0] + "/"
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page["Contents"]:
            path = folder / found["Key"].removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_body(s3, bucket, found["Key"]))


def _counts(rows: Sequence[Row], summary: Mapping[str, Any]) -> Check:
    codes = Counter(row.code for row in rows if row.code)
    failed = codes.total()
    wanted = {"total": len(rows), "succeeded": len(rows) - failed, "failed": failed, "failures_by_code": dict(codes)}
    found = {name: summary.get(name) for name in wanted}
    if found != wanted:
        return Check(good=False, what=f"the summary says {found}; it must be {wanted}")
    return Check(good=True, what=f"the summary counts {len(rows):,} objects, {failed} of them failed")


def _checksums(manifest: bytes, md5: bytes, results: Mapping[str, bytes]) -> Check:
    wrong = [] if md5.decode().strip() == _md5(manifest) else ["manifest.json.md5"]
    told = {result["Key"]: result["MD5Checksum"] for result in json.loads(manifest)["Results"]}
    wrong += [key for key, body in results.items() if told[key] != _md5(body)]
    if wrong:
        return Check(good=False, what=f"checksums don't match: {', '.join(wrong)}")
    return Check(good=True, what=f"the report's manifest and its {len(results)} files have the checksums it says")


def _report(rows: Sequence[Row], results: Mapping[str, bytes]) -> Check:
    found = Counter(
        (bucket, key, status, code)
        for body in results.values()
        for bucket, key, _, status, _, code, _ in csv.reader(io.StringIO(body.decode(), newline=""))
    )
    wanted = Counter((row.bucket, row.encoded_key, "failed" if row.code else "succeeded", row.code) for row in rows)
    if found != wanted:
        more, less = list(found - wanted)[:3], list(wanted - found)[:3]
        return Check(good=False, what=f"the report's rows are wrong; too many: {more}, missing: {less}")
    return Check(
        good=True, what=f"the report has exactly one row for each of the {len(rows):,}, with the right outcome"
    )


def _objects(s3: Any, rows: Sequence[Row], tags: Mapping[str, str]) -> Check:
    def wrong(row: Row) -> bool:
        found = s3.get_object_tagging(Bucket=row.bucket, Key=row.key)["TagSet"]
        return {tag["Key"]: tag["Value"] for tag in found} != tags

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        untagged = [row.key for row, is_wrong in zip(rows, pool.map(wrong, rows), strict=True) if is_wrong]
    if untagged:
        return Check(good=False, what=f"{len(untagged):,} objects have other tags, for example {untagged[:3]}")
    return Check(good=True, what=f"the server has the tags on each of the {len(rows):,} that succeeded")


def _body(s3: Any, bucket: str, key: str) -> bytes:
    body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
