"""The operations: each is in `OPERATIONS` once its class is defined.

They load when they are first used: a DAG file pays for those it names, and so does a worker, which reads them from
JSON.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.lazy import loaded_lazily
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


_load = loaded_lazily(__name__, _MODULES)

_AWS_NAMES = {
    "LambdaInvoke": "invoke_lambda",
    "S3BatchPython": "python_function",
    "S3ComputeObjectChecksum": "checksum",
    "S3DeleteObjectTagging": "tagging",
    "S3DeleteObjects": "delete",
    "S3InitiateRestoreObject": "restore",
    "S3MergeObjectTags": "merge_tags",
    "S3MoveObject": "move",
    "S3PutObjectAcl": "acl",
    "S3PutObjectCopy": "copy",
    "S3PutObjectLegalHold": "legal_hold",
    "S3PutObjectRetention": "retention",
    "S3PutObjectTagging": "tagging",
    "S3UndeleteObject": "undelete",
    "S3UpdateObjectEncryption": "encryption",
    "S3VerifyObject": "verify",
}
"""Which module an operation of JSON is in."""


def __getattr__(name: str) -> Any:
    return _all() if name == "OPERATIONS" else _load(name)


def _all() -> dict[str, type[Operation]]:
    """`OPERATIONS`, with all of this package's in it."""
    for module in dict.fromkeys(_MODULES.values()):
        importlib.import_module(f"{__name__}.{module}")
    return _DEFINED


def operation_class(name: str) -> type[Operation] | None:
    """The operation of this name. One of the table comes with its own module alone: all of them take 0.1 s to load."""
    if name in _AWS_NAMES:
        importlib.import_module(f"{__name__}.{_AWS_NAMES[name]}")
        return _DEFINED[name]
    return _all().get(name)


def operation_from_aws(operation: Any) -> Operation:
    """Build an operation from AWS's JobOperation (``{"S3PutObjectTagging": {...}}``), as strictly as its constructor.

    Raises:
        InvalidInput: it names no operation, several, or one that can't run here; or a parameter is wrong.
    """
    if not isinstance(operation, dict) or len(operation) != 1:
        raise InvalidInput(f"an operation is one member of {', '.join(_all())}; got {printable(repr(operation))}")
    ((name, arguments),) = operation.items()
    if name == "S3ReplicateObject":
        raise InvalidInput(
            "S3ReplicateObject: only Amazon's managed service can replicate by a bucket's rules; use CopyObject instead"
        )
    found = operation_class(name)
    if found is None:
        raise InvalidInput(f"{printable(repr(name))} is not an operation; {_meant(str(name), _all())}")
    if not isinstance(arguments, dict):
        raise InvalidInput(f"{name}: {printable(repr(arguments))} is no JSON object of parameters")
    with as_create_job_takes(name):
        return found.from_arguments(arguments)


def _meant(name: str, known: dict[str, type[Operation]]) -> str:
    """What was meant by a name that is near one of AWS's, or near that of a class; or all that there are."""
    names = {near: aws for aws, it in known.items() for near in (it.__name__, f"S3{it.__name__}", aws)}
    meant = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    return (
        f"did you mean {names[meant[0]]}?"
        if meant
        else f"known are {', '.join(known)}, and classes of your own once they are imported"
    )
