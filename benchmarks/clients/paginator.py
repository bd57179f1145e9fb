"""A bucket's keys as boto3's paginator gives them."""

from __future__ import annotations

import boto3
from botocore.config import Config

from benchmarks.clients.meter import Meter, settings


def main() -> None:
    """List the bucket once."""
    told = settings()
    client = boto3.client(
        "s3",
        endpoint_url=told["url"],
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(s3={"addressing_style": "path"}),
    )
    meter = Meter()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="lake")
    found = sum(len(page["Contents"]) for page in pages)
    if found != told["objects"]:
        raise SystemExit(f"{found} keys found of {told['objects']}")
    meter.report(found)


if __name__ == "__main__":
    main()
