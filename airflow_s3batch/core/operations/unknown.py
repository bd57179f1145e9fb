"""`UnknownOperation`: the operation of a job that is looked at, or stopped, where its class isn't known."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from airflow_s3batch.core.operations import operation_class, operation_from_aws
from airflow_s3batch.core.operations.base import Operation

__all__ = ["UnknownOperation", "known_or_not"]


class UnknownOperation(Operation):
    """What a job does whose operation is of a class that this process hasn't seen: in its own words, not to be run.

    Args:
        told: AWS's JobOperation.
    """

    told: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _check_name(cls, fields: Any) -> Any:
        return fields  # it has none of its own: nobody can ask for it

    def to_aws(self) -> dict[str, Any]:
        """The JobOperation that was told."""
        return self.told


def known_or_not(operation: Any) -> Operation:
    """Build an operation as `operation_from_aws` does; an `UnknownOperation` where its class isn't known here.

    Raises:
        InvalidInput: it isn't one member, or a parameter of a known one is wrong.
    """
    if isinstance(operation, dict) and len(operation) == 1 and operation_class(*operation) is None:
        return UnknownOperation(told=operation)
    return operation_from_aws(operation)
