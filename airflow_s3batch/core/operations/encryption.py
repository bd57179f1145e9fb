"""UpdateObjectEncryption: encrypt every object by another KMS key, where it lies."""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, S3Error, printable
from airflow_s3batch.core.operations.base import RequestOperation, with_version
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.values import Flag, Text, known_arguments

__all__ = ["UpdateObjectEncryption"]

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_S3UpdateObjectEncryptionSSEKMS.html
_UNKNOWN_HERE = {405, 501}
_KEY_ARN = re.compile(r"arn:aws[a-zA-Z0-9-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+")


def _check_key(arn: str) -> str:
    if is_template(arn) or _KEY_ARN.fullmatch(arn):
        return arn
    wanted = "arn:aws:kms:<region>:<account>:key/<id>, in full (no alias, no bare id)"
    raise InvalidInput(f"{printable(repr(arn))} is not the ARN of a KMS key; write {wanted}")


class UpdateObjectEncryption(RequestOperation):
    """Encrypt every object by this KMS key: ``UpdateObjectEncryption("arn:aws:kms:eu-west-1:123456789012:key/1234")``.

    In place and at once: no data moves, archived objects aren't restored, and class, dates, ETag and metadata stay.
    Objects must be encrypted by SSE-S3 or SSE-KMS, and not be under Object Lock.

    Args:
        kms_key_arn: the full ARN of the key, of the bucket's account.
        bucket_key: use an S3 Bucket Key, which makes fewer requests to KMS.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-update-encryption.html
    """

    aws_name: ClassVar[str] = "S3UpdateObjectEncryption"

    kms_key_arn: Annotated[Text, AfterValidator(_check_key)]
    bucket_key: Flag = False

    def __init__(self, kms_key_arn: str, *, bucket_key: bool | str = False) -> None:
        super().__init__(kms_key_arn=kms_key_arn, bucket_key=bucket_key)

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """One UpdateObjectEncryption."""
        parameters: dict[str, Any] = {"Bucket": bucket, "Key": key, **self.arguments()}
        return "UpdateObjectEncryption", with_version(parameters, version)

    async def look(self, bucket: str, s3: S3Calls) -> None:
        """See that the store knows the call, by an object that isn't there: others take it for a PutObject.

        Those would overwrite every object with the request.

        Raises:
            InvalidInput: it doesn't know it. What it has put in the place of no object is deleted again.
        """
        name = f"no-object-{secrets.token_hex(16)}"
        action, parameters = self.request(bucket, name, None)
        try:
            await s3.call(action, **parameters)
        except S3Error as error:
            if error.status not in _UNKNOWN_HERE:  # there is no such object, or its own row will tell
                return
        else:
            await s3.call("DeleteObject", Bucket=bucket, Key=name)
        raise InvalidInput(
            f"the store of bucket {printable(bucket)} doesn't know UpdateObjectEncryption, and may overwrite objects "
            "by it; copy them onto themselves instead, by CopyObject with encryption='KMS'"
        )

    def arguments(self) -> dict[str, Any]:
        """AWS's S3UpdateObjectEncryptionOperation."""
        return {"ObjectEncryption": {"SSEKMS": {"KMSKeyArn": self.kms_key_arn, "BucketKeyEnabled": self.bucket_key}}}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's S3UpdateObjectEncryptionOperation."""
        known_arguments(cls.__name__, arguments, {"ObjectEncryption"})
        encryption = known_arguments(cls.__name__, arguments.get("ObjectEncryption") or {}, {"SSEKMS"})
        kms = known_arguments(cls.__name__, encryption.get("SSEKMS") or {}, {"KMSKeyArn", "BucketKeyEnabled"})
        if "KMSKeyArn" not in kms:
            raise InvalidInput(f"{cls.__name__}: ObjectEncryption.SSEKMS.KMSKeyArn is missing")
        return cls(kms["KMSKeyArn"], bucket_key=kms.get("BucketKeyEnabled", False))
