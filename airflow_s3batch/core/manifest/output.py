"""Where a generated manifest is written, if not to the job's folder: AWS's ``S3ManifestOutputLocation``.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_S3ManifestOutputLocation.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.location import S3Location, check_account
from airflow_s3batch.core.values import known_arguments

__all__ = ["output_of"]

_MEMBERS = {"Bucket", "ManifestPrefix", "ManifestEncryption", "ManifestFormat", "ExpectedManifestBucketOwner"}


def output_of(output: dict[str, Any], place: S3Location) -> tuple[S3Location, Mapping[str, str]]:
    """The folder that it names, instead of the job's `place`; and what its encryption and owner are to PutObject.

    Raises:
        InvalidInput: a member is unknown or wrong.
    """
    known_arguments("ManifestOutputLocation", output, _MEMBERS)
    bucket = S3Location.from_arn(output.get("Bucket", "")).bucket
    job, _, folder = place.key.rstrip("/").rpartition("/")
    parts = (output.get("ManifestPrefix", "").strip("/"), job.rpartition("/")[2], folder)
    put = _encrypted(output.get("ManifestEncryption") or {})
    if "ExpectedManifestBucketOwner" in output:
        put["ExpectedBucketOwner"] = check_account(output["ExpectedManifestBucketOwner"])
    return S3Location(bucket, "".join(f"{part}/" for part in parts if part)), put


def _encrypted(encryption: dict[str, Any]) -> dict[str, str]:
    known_arguments("ManifestEncryption", encryption, {"SSES3", "SSEKMS"})
    if "SSEKMS" in encryption:
        key = encryption["SSEKMS"].get("KeyId")
        if not key:
            raise InvalidInput(f"ManifestEncryption.SSEKMS needs a KeyId; got {printable(encryption)}")
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    return {"ServerSideEncryption": "AES256"} if "SSES3" in encryption else {}
