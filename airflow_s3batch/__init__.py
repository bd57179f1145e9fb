"""Amazon S3 Batch Operations, run by Apache Airflow.

The public names load when they are first used: a DAG file that imports them pays a few milliseconds, and boto3,
botocore and the engine load on the worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_s3batch.core.lazy import loaded_lazily

if TYPE_CHECKING:
    from airflow_s3batch.confirm import Confirm, S3BatchConfirmOperator
    from airflow_s3batch.core.errors import ObjectFailed
    from airflow_s3batch.core.job import CompletionReport
    from airflow_s3batch.core.limits import FailureThreshold, Limits
    from airflow_s3batch.core.manifest import (
        CsvManifest,
        FailedObjects,
        FilteredManifest,
        InventoryManifest,
        ListObjects,
        Objects,
        ParquetManifest,
    )
    from airflow_s3batch.core.operations import (
        AsyncS3Object,
        BatchOperation,
        ComputeObjectChecksum,
        CopyObject,
        DeleteObjects,
        DeleteObjectTagging,
        Grant,
        InvokeLambda,
        MergeObjectTags,
        MoveObject,
        PutObjectAcl,
        PutObjectLegalHold,
        PutObjectRetention,
        PutObjectTagging,
        RequestOperation,
        RestoreObject,
        S3Object,
        StepsOperation,
        UndeleteObject,
        UpdateObjectEncryption,
        VerifyObject,
    )
    from airflow_s3batch.hooks import S3BatchHook
    from airflow_s3batch.operators import S3BatchJobOperator, S3BatchPrepareOperator, S3BatchReportOperator
    from airflow_s3batch.restore_sensor import S3BatchRestoreSensor
    from airflow_s3batch.restore_trigger import S3BatchRestoreTrigger
    from airflow_s3batch.sensors import S3BatchJobSensor
    from airflow_s3batch.task_group import S3BatchJob, s3_batch_job
    from airflow_s3batch.triggers import S3BatchJobTrigger

__all__ = [
    "AsyncS3Object",
    "BatchOperation",
    "CompletionReport",
    "ComputeObjectChecksum",
    "Confirm",
    "CopyObject",
    "CsvManifest",
    "DeleteObjectTagging",
    "DeleteObjects",
    "FailedObjects",
    "FailureThreshold",
    "FilteredManifest",
    "Grant",
    "InventoryManifest",
    "InvokeLambda",
    "Limits",
    "ListObjects",
    "MergeObjectTags",
    "MoveObject",
    "ObjectFailed",
    "Objects",
    "ParquetManifest",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "RequestOperation",
    "RestoreObject",
    "S3BatchConfirmOperator",
    "S3BatchHook",
    "S3BatchJob",
    "S3BatchJobOperator",
    "S3BatchJobSensor",
    "S3BatchJobTrigger",
    "S3BatchPrepareOperator",
    "S3BatchReportOperator",
    "S3BatchRestoreSensor",
    "S3BatchRestoreTrigger",
    "S3Object",
    "StepsOperation",
    "UndeleteObject",
    "UpdateObjectEncryption",
    "VerifyObject",
    "s3_batch_job",
]

__version__ = "0.1.0"

_MODULES = {
    "AsyncS3Object": "core.operations",
    "BatchOperation": "core.operations",
    "CompletionReport": "core.job",
    "Confirm": "confirm",
    "ComputeObjectChecksum": "core.operations",
    "CopyObject": "core.operations",
    "CsvManifest": "core.manifest",
    "DeleteObjectTagging": "core.operations",
    "DeleteObjects": "core.operations",
    "FailedObjects": "core.manifest",
    "FailureThreshold": "core.limits",
    "FilteredManifest": "core.manifest",
    "Grant": "core.operations",
    "InventoryManifest": "core.manifest",
    "Limits": "core.limits",
    "ListObjects": "core.manifest",
    "InvokeLambda": "core.operations",
    "MergeObjectTags": "core.operations",
    "MoveObject": "core.operations",
    "ObjectFailed": "core.errors",
    "Objects": "core.manifest",
    "ParquetManifest": "core.manifest",
    "PutObjectAcl": "core.operations",
    "PutObjectLegalHold": "core.operations",
    "PutObjectRetention": "core.operations",
    "PutObjectTagging": "core.operations",
    "RequestOperation": "core.operations",
    "RestoreObject": "core.operations",
    "S3BatchConfirmOperator": "confirm",
    "S3BatchHook": "hooks",
    "S3BatchJob": "task_group",
    "S3BatchJobOperator": "operators",
    "S3BatchJobSensor": "sensors",
    "S3BatchJobTrigger": "triggers",
    "S3BatchPrepareOperator": "operators",
    "S3BatchReportOperator": "operators",
    "S3BatchRestoreSensor": "restore_sensor",
    "S3BatchRestoreTrigger": "restore_trigger",
    "S3Object": "core.operations",
    "StepsOperation": "core.operations",
    "UndeleteObject": "core.operations",
    "UpdateObjectEncryption": "core.operations",
    "VerifyObject": "core.operations",
    "s3_batch_job": "task_group",
}


__getattr__ = loaded_lazily(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
