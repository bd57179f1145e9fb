"""`S3Calls` and `RawCalls`: what the core needs of S3, as promises: it depends on them, not on the engine."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["RawCalls", "S3Calls"]


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


class RawCalls(S3Calls, Protocol):
    """Also calls whose bodies the caller writes and reads himself, where botocore would take most of the time."""

    async def post(self, action: str, body: bytes, /, **parameters: Any) -> bytes:
        """Call an action (``"DeleteObjects"``) with this body; return the answer's body as it stands.

        A request that isn't answered in time is not sent again: the caller may want to ask for less.

        Args:
            action: the S3 API action.
            body: what to send, and its Content-MD5 with it.
            parameters: boto3's, with a sample of what is in the body: botocore compiles them, once a shape.

        Raises:
            S3Error: S3 refused it; `Unreachable` when no usable answer came (its code is RequestTimeout: not in time).
            InvalidInput: a parameter isn't what botocore's model says.
        """
        ...
