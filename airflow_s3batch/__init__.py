"""Amazon S3 Batch Operations, run by Apache Airflow.

The public names load when they are first used: a DAG file that imports them pays a few milliseconds, and boto3,
botocore and the engine load on the worker.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_s3batch.core.job import CompletionReport
    from airflow_s3batch.core.limits import Limits
    from airflow_s3batch.core.manifest import CsvManifest
    from airflow_s3batch.core.operations import (
        CopyObject,
        DeleteObjectTagging,
        Grant,
        PutObjectAcl,
        PutObjectTagging,
        RestoreObject,
    )
    from airflow_s3batch.hooks import S3BatchHook
    from airflow_s3batch.operators import S3BatchJobOperator, S3BatchPrepareOperator, S3BatchReportOperator
    from airflow_s3batch.sensors import S3BatchJobSensor
    from airflow_s3batch.task_group import S3BatchJob, s3_batch_job
    from airflow_s3batch.triggers import S3BatchJobTrigger

__all__ = [
    "CompletionReport",
    "CopyObject",
    "CsvManifest",
    "DeleteObjectTagging",
    "Grant",
    "Limits",
    "PutObjectAcl",
    "PutObjectTagging",
    "RestoreObject",
    "S3BatchHook",
    "S3BatchJob",
    "S3BatchJobOperator",
    "S3BatchJobSensor",
    "S3BatchJobTrigger",
    "S3BatchPrepareOperator",
    "S3BatchReportOperator",
    "s3_batch_job",
]

__version__ = "0.1.0"

_MODULES = {
    "CompletionReport": "core.job",
    "CopyObject": "core.operations",
    "CsvManifest": "core.manifest",
    "DeleteObjectTagging": "core.operations",
    "Grant": "core.operations",
    "Limits": "core.limits",
    "PutObjectAcl": "core.operations",
    "PutObjectTagging": "core.operations",
    "RestoreObject": "core.operations",
    "S3BatchHook": "hooks",
    "S3BatchJob": "task_group",
    "S3BatchJobOperator": "operators",
    "S3BatchJobSensor": "sensors",
    "S3BatchJobTrigger": "triggers",
    "S3BatchPrepareOperator": "operators",
    "S3BatchReportOperator": "operators",
    "s3_batch_job": "task_group",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
