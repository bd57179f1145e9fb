"""The operations, and the one table that joins them."""

from __future__ import annotations

from typing import Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.operations.acl import Grant, PutObjectAcl
from airflow_s3batch.core.operations.base import Operation
from airflow_s3batch.core.operations.copy import CopyObject
from airflow_s3batch.core.operations.restore import RestoreObject
from airflow_s3batch.core.operations.tagging import DeleteObjectTagging, PutObjectTagging

__all__ = [
    "OPERATIONS",
    "CopyObject",
    "DeleteObjectTagging",
    "Grant",
    "Operation",
    "PutObjectAcl",
    "PutObjectTagging",
    "RestoreObject",
    "operation_from_aws",
]

OPERATIONS: dict[str, type[Operation]] = {
    operation.aws_name: operation
    for operation in (PutObjectTagging, DeleteObjectTagging, PutObjectAcl, CopyObject, RestoreObject)
}
"""Every operation by its member of AWS's JobOperation. A new one is a class and a place in this table."""


def operation_from_aws(operation: Any) -> Operation:
    """Build an operation from AWS's JobOperation (``{"S3PutObjectTagging": {...}}``), as strictly as its constructor.

    Raises:
        InvalidInput: it names no operation, several, or one that can't run here; or a parameter is wrong.
    """
    if not isinstance(operation, dict) or len(operation) != 1:
        raise InvalidInput(f"an operation is one member of {', '.join(OPERATIONS)}; got {printable(repr(operation))}")
    ((name, arguments),) = operation.items()
    if name == "S3ReplicateObject":
        raise InvalidInput(
            "S3ReplicateObject: only Amazon's managed service can replicate by a bucket's rules; use CopyObject instead"
        )
    known = OPERATIONS.get(name)
    if known is None:
        raise InvalidInput(f"{printable(repr(name))} is not an operation; known are {', '.join(OPERATIONS)}")
    return known.from_arguments(arguments or {})
