"""What a DAG author writes: a boto3 client and a pool of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.clients.meter import Meter, settings

_DELETED_AT_ONCE = 1_000


def _delete(client: Any, keys: Sequence[str]) -> Any:
    return client.delete_objects(Bucket="lake", Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})


def _call(client: Any, operation: str) -> Callable[[str], Any]:
    if operation == "CopyObject":
        return lambda key: client.copy_object(
            Bucket="lake", Key=f"copy/{key}", CopySource={"Bucket": "lake", "Key": key}
        )
    tags = {"TagSet": [{"Key": "tier", "Value": "cold"}]}
    return lambda key: client.put_object_tagging(Bucket="lake", Key=key, Tagging=tags)


def _calls(client: Any, operation: str, keys: Sequence[str], pool: ThreadPoolExecutor) -> Iterable[Any]:
    if operation == "DeleteObjects":
        batches = [keys[start : start + _DELETED_AT_ONCE] for start in range(0, len(keys), _DELETED_AT_ONCE)]
        return pool.map(lambda batch: _delete(client, batch), batches)
    return pool.map(_call(client, operation), keys)


def main() -> None:
    """Call the client for every object."""
    told = settings()
    keys = [f"data/part={number // 1000}/file-{number}.parquet" for number in range(told["objects"])]
    meter = Meter()
    client = boto3.client(
        "s3",
        endpoint_url=told["url"],
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        verify=told["certificate"] or None,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=told["threads"]),
    )
    with ThreadPoolExecutor(told["threads"]) as pool:
        for _ in _calls(client, told["operation"], keys, pool):
            pass
    meter.report(told["objects"])


if __name__ == "__main__":
    main()
