"""`EncryptionFilter`: how an object has to be encrypted, AWS's ``ObjectEncryptionFilter``.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_ObjectEncryptionFilter.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import model_validator
from typing_extensions import Self

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.values import Flag, Text, Value, known_arguments, one_of

__all__ = ["EncryptionFilter", "encryption_filters", "encryption_of"]

_KINDS = ("SSES3", "SSEKMS", "DSSEKMS", "SSEC", "NOTSSE")
_OF_A_KEY = ("SSEKMS", "DSSEKMS")
_WORDS = {None: "NOTSSE", "AES256": "SSES3", "aws:kms": "SSEKMS", "aws:kms:dsse": "DSSEKMS"}
"""ServerSideEncryption of HEAD, in AWS's words for filters."""


class EncryptionFilter(Value):
    """Objects that are encrypted so.

    Args:
        kind: SSES3, SSEKMS, DSSEKMS, SSEC or NOTSSE.
        kms_key: with SSEKMS or DSSEKMS, the ARN of the key.
        bucket_key: with SSEKMS, whether a bucket key is used.
    """

    kind: Annotated[Text, one_of(*_KINDS)]
    kms_key: Text | None = None
    bucket_key: Flag | None = None

    def __init__(self, kind: str, *, kms_key: str | None = None, bucket_key: bool | str | None = None) -> None:
        super().__init__(kind=kind, kms_key=kms_key, bucket_key=bucket_key)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.kms_key is not None and not _may_be(self.kind, *_OF_A_KEY):
            raise InvalidInput(f"a KMS key goes with {' or '.join(_OF_A_KEY)}, not {self.kind}")
        if self.bucket_key is not None and not _may_be(self.kind, "SSEKMS"):
            raise InvalidInput(f"a bucket key goes with SSEKMS, not {self.kind}")
        return self

    def passes(self, head: Mapping[str, Any]) -> bool:
        """Whether an object is encrypted so, by what HEAD answers."""
        if encryption_of(head) != self.kind:
            return False
        if self.kms_key is not None and head.get("SSEKMSKeyId") != self.kms_key:
            return False
        return self.bucket_key is None or head.get("BucketKeyEnabled", False) is self.bucket_key

    def to_aws(self) -> dict[str, Any]:
        """AWS's ObjectEncryptionFilter: ``{"SSEKMS": {"KmsKeyArn": …, "BucketKeyEnabled": …}}``."""
        about = {"KmsKeyArn": self.kms_key, "BucketKeyEnabled": self.bucket_key}
        return {self.kind: {name: value for name, value in about.items() if value is not None}}

    @property
    def as_written(self) -> str | dict[str, Any]:
        """The kind alone where that tells all; AWS's filter otherwise."""
        return self.to_aws() if self.kms_key is not None or self.bucket_key is not None else self.kind

    @classmethod
    def from_aws(cls, told: Mapping[str, Any]) -> Self:
        """Build it from AWS's ObjectEncryptionFilter.

        Raises:
            InvalidInput: it holds more or less than one kind, or an unknown member.
        """
        if len(told) != 1:
            raise InvalidInput(f"an encryption filter holds one kind, as {{'SSEKMS': {{}}}}; got {printable(told)}")
        ((kind, about),) = told.items()
        about = known_arguments(f"encryption filter {printable(kind)}", about or {}, {"KmsKeyArn", "BucketKeyEnabled"})
        return cls(kind, kms_key=about.get("KmsKeyArn"), bucket_key=about.get("BucketKeyEnabled"))


def encryption_filters(
    given: object, *, kms_key: str | None = None, bucket_key: bool | str | None = None
) -> tuple[EncryptionFilter, ...]:
    """What an author writes: a kind, or AWS's filter, or several of them.

    The key and the bucket key are about the kinds by name that can have them, of which there must be one then.

    Raises:
        InvalidInput: it is no encryption, or none with such a key.
    """
    several = given if isinstance(given, (list, tuple, set, frozenset)) else () if given is None else (given,)
    if not several and given is not None and given != ():
        raise InvalidInput("ListObjects: encryption: an empty list fits no object; leave it out if it asks for nothing")
    filters = tuple(_filter(one, kms_key=kms_key, bucket_key=bucket_key) for one in several)
    if kms_key is not None and not any(one.kms_key for one in filters):
        raise InvalidInput("ListObjects: kms_key goes with encryption='SSEKMS' or 'DSSEKMS'")
    if bucket_key is not None and all(one.bucket_key is None for one in filters):
        raise InvalidInput("ListObjects: bucket_key goes with encryption='SSEKMS'")
    return filters


def _filter(given: object, *, kms_key: str | None, bucket_key: bool | str | None) -> EncryptionFilter:
    if isinstance(given, EncryptionFilter):
        return given
    if isinstance(given, Mapping):
        return EncryptionFilter.from_aws(given)
    kind = str(given)
    return EncryptionFilter(
        cast("str", given),
        kms_key=kms_key if _may_be(kind, *_OF_A_KEY) else None,
        bucket_key=bucket_key if _may_be(kind, "SSEKMS") else None,
    )


def _may_be(kind: str, *kinds: str) -> bool:
    """Whether it is one of these, or a template."""
    return kind.upper() in kinds or is_template(kind)


def encryption_of(head: Mapping[str, Any]) -> str:
    """How an object is encrypted, in AWS's words for filters, by what HEAD answers; empty if nobody knows."""
    if "SSECustomerAlgorithm" in head:
        return "SSEC"
    return _WORDS.get(head.get("ServerSideEncryption"), "")
