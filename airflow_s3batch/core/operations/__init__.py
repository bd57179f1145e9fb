"""The operations: each is in `OPERATIONS` once its class is defined.

They load when they are first used: a DAG file pays for those it names, and a worker, which reads them from JSON, for
all.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.operations.base import OPERATIONS as _DEFINED
from airflow_s3batch.core.values import as_create_job_takes

if TYPE_CHECKING:
    from airflow_s3batch.core.operations.acl import Grant, PutObjectAcl
    from airflow_s3batch.core.operations.base import OPERATIONS as OPERATIONS
    from airflow_s3batch.core.operations.base import (
        BatchOperation,
        Operation,
        RequestOperation,
        StepsOperation,
    )
    from airflow_s3batch.core.operations.checksum import ComputeObjectChecksum
    from airflow_s3batch.core.operations.copy import CopyObject
    from airflow_s3batch.core.operations.delete import DeleteObjects
    from airflow_s3batch.core.operations.encryption import UpdateObjectEncryption
    from airflow_s3batch.core.operations.invoke_lambda import InvokeLambda
    from airflow_s3batch.core.operations.legal_hold import PutObjectLegalHold
    from airflow_s3batch.core.operations.merge_tags import MergeObjectTags
    from airflow_s3batch.core.operations.move import MoveObject
    from airflow_s3batch.core.operations.python_function import AsyncS3Object, PythonFunction, S3Object
    from airflow_s3batch.core.operations.restore import RestoreObject
    from airflow_s3batch.core.operations.retention import PutObjectRetention
    from airflow_s3batch.core.operations.tagging import DeleteObjectTagging, PutObjectTagging
    from airflow_s3batch.core.operations.undelete import UndeleteObject
    from airflow_s3batch.core.operations.verify import VerifyObject

__all__ = [
    "OPERATIONS",
    "AsyncS3Object",
    "BatchOperation",
    "ComputeObjectChecksum",
    "CopyObject",
    "DeleteObjectTagging",
    "DeleteObjects",
    "Grant",
    "InvokeLambda",
    "MergeObjectTags",
    "MoveObject",
    "Operation",
    "PutObjectAcl",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PythonFunction",
    "RequestOperation",
    "RestoreObject",
    "S3Object",
    "StepsOperation",
    "UndeleteObject",
    "UpdateObjectEncryption",
    "VerifyObject",
    "operation_from_aws",
]

_MODULES = {
    "AsyncS3Object": "python_function",
    "BatchOperation": "base",
    "ComputeObjectChecksum": "checksum",
    "CopyObject": "copy",
    "DeleteObjectTagging": "tagging",
    "DeleteObjects": "delete",
    "Grant": "acl",
    "InvokeLambda": "invoke_lambda",
    "MergeObjectTags": "merge_tags",
    "MoveObject": "move",
    "Operation": "base",
    "PutObjectAcl": "acl",
    "PutObjectLegalHold": "legal_hold",
    "PutObjectRetention": "retention",
    "PutObjectTagging": "tagging",
    "PythonFunction": "python_function",
    "RequestOperation": "base",
    "RestoreObject": "restore",
    "S3Object": "python_function",
    "StepsOperation": "base",
    "UndeleteObject": "undelete",
    "UpdateObjectEncryption": "encryption",
    "VerifyObject": "verify",
}


def __getattr__(name: str) -> Any:
    if name == "OPERATIONS":
        return _all()
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = found
    return found


def _all() -> dict[str, type[Operation]]:
    """`OPERATIONS`, with all of this package's in it."""
    for module in dict.fromkeys(_MODULES.values()):
        importlib.import_module(f"{__name__}.{module}")
    return _DEFINED


def operation_from_aws(operation: Any) -> Operation:
    """Build an operation from AWS's JobOperation (``{"S3PutObjectTagging": {...}}``), as strictly as its constructor.

    Raises:
        InvalidInput: it names no operation, several, or one that can't run here; or a parameter is wrong.
    """
    known = _all()
    if not isinstance(operation, dict) or len(operation) != 1:
        raise InvalidInput(f"an operation is one member of {', '.join(known)}; got {printable(repr(operation))}")
    ((name, arguments),) = operation.items()
    if name == "S3ReplicateObject":
        raise InvalidInput(
            "S3ReplicateObject: only Amazon's managed service can replicate by a bucket's rules; use CopyObject instead"
        )
    found = known.get(name)
    if found is None:
        raise InvalidInput(f"{printable(repr(name))} is not an operation; known are {', '.join(known)}")
    if not isinstance(arguments, dict):
        raise InvalidInput(f"{name}: {printable(repr(arguments))} is no JSON object of parameters")
    with as_create_job_takes(name):
        return found.from_arguments(arguments)
