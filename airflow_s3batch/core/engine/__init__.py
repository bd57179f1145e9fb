"""The request engine: botocore compiles an operation once, a lean asyncio client sends it for every object."""

from __future__ import annotations

from airflow_s3batch.core.engine.access import Credentials, S3Access
from airflow_s3batch.core.engine.client import S3
from airflow_s3batch.core.engine.loop import run

__all__ = ["S3", "Credentials", "S3Access", "run"]
