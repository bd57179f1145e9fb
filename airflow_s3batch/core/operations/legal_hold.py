"""PutObjectLegalHold: put every object under a legal hold, or release it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.operations.base import RequestOperation, with_version
from airflow_s3batch.core.operations.retention import require_object_lock
from airflow_s3batch.core.values import Text, known_arguments, one_of

__all__ = ["PutObjectLegalHold"]


class PutObjectLegalHold(RequestOperation):
    """Put every object under a legal hold: ``PutObjectLegalHold("ON")``; release it: ``"OFF"``.

    Args:
        status: ON or OFF.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-legal-hold.html
    """

    aws_name: ClassVar[str] = "S3PutObjectLegalHold"

    status: Annotated[Text, one_of("ON", "OFF")]

    def __init__(self, status: str) -> None:
        super().__init__(status=status)

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """One PutObjectLegalHold."""
        parameters: dict[str, Any] = {"Bucket": bucket, "Key": key, **self.arguments()}
        return "PutObjectLegalHold", with_version(parameters, version)

    async def look(self, bucket: str, s3: S3Calls) -> None:
        """See that the bucket has Object Lock; raises as `require_object_lock`."""
        await require_object_lock(bucket, s3)

    def arguments(self) -> dict[str, Any]:
        """AWS's S3SetObjectLegalHoldOperation."""
        return {"LegalHold": {"Status": self.status}}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's S3SetObjectLegalHoldOperation."""
        known_arguments(cls.__name__, arguments, {"LegalHold"})
        hold = known_arguments(cls.__name__, arguments.get("LegalHold") or {}, {"Status"})
        if "Status" not in hold:
            raise InvalidInput(f'{cls.__name__}: write {{"LegalHold": {{"Status": "ON"}}}}, or "OFF"')
        return cls(hold["Status"])
