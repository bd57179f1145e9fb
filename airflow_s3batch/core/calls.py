"""`S3Calls`: what the core needs of S3, as a promise: so that it depends on that and not on the engine."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["S3Calls"]


class S3Calls(Protocol):
    """One call at a time to the S3 API, as `airflow_s3batch.core.engine.S3` and the tests' fakes give it."""

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """Call an action (``"GetObject"``) with boto3's parameters; return boto3's answer, ``Body`` as bytes.

        Retried where S3 is at fault.

        Raises:
            S3Error: S3 refused it; `Unreachable` when no usable answer came.
            InvalidInput: a parameter isn't what botocore's model says.
        """
        ...
