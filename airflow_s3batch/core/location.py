"""`S3Location`: a bucket and a key or prefix, written ``s3://bucket/key``, and as AWS's ARN."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.rendering import is_template

__all__ = ["S3Location", "arn_of", "check_account", "check_bucket", "is_amazons", "is_bucket", "uri_of"]

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, plus what older buckets and
# S3-compatible stores allow (upper case, underscores). An access point's alias is such a name, too.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_BUCKET_ARN = re.compile(r"arn:[^:]+:s3:(?P<region>[^:]*):(?P<account>[^:]*):(?P<resource>.+)")


def is_amazons(endpoint_url: str | None) -> bool:
    """Whether Amazon's own S3 is behind an endpoint: by none that is given, or by one of Amazon's (a VPC endpoint)."""
    host = urlsplit(endpoint_url or "").hostname or ""
    return not host or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def is_bucket(name: str) -> bool:
    """Whether it can be a bucket's name."""
    return _BUCKET.fullmatch(name) is not None


def check_bucket(bucket: str) -> str:
    """Return the bucket's name.

    Raises:
        InvalidInput: it can't be a bucket's name.
    """
    if is_bucket(bucket):
        return bucket
    hint = ""
    if "/" in bucket:
        hint = "; write the name alone, without s3:// and slashes: a prefix has a parameter of its own"
    raise InvalidInput(
        f"{printable(repr(bucket))} is not a bucket name (3 to 255 letters, digits, '.', '-', '_'){hint}"
    )


def check_account(account: str) -> str:
    """Return the number of an AWS account, or the template of one.

    Raises:
        InvalidInput: it can't be such a number.
    """
    if is_template(account) or _ACCOUNT.fullmatch(account):
        return account
    raise InvalidInput(f"{printable(repr(account))} is not an AWS account; write its 12 digits")


class S3Location(NamedTuple):
    """A place in S3: a bucket, and a key or prefix (may be empty) without the slash between them."""

    bucket: str
    key: str
    account: str = ""
    """The account that has to own the bucket; empty for any. Neither URI nor ARN tells of it."""

    @classmethod
    def parse(cls, uri: str) -> S3Location:
        """Read ``s3://bucket/key`` (``s3a://`` and ``s3n://`` as well). The key is taken as it stands, undecoded.

        Raises:
            InvalidInput: it isn't such a URI.
        """
        scheme, found, rest = uri.partition("://")
        if not found or scheme not in {"s3", "s3a", "s3n"}:
            raise InvalidInput(f"{printable(repr(uri))} is not an S3 URI; write s3://bucket/key")
        bucket, _, key = rest.partition("/")
        return cls(check_bucket(bucket), key)

    @classmethod
    def from_arn(cls, arn: str) -> S3Location:
        """Read ``arn:aws:s3:::bucket`` or ``arn:aws:s3:::bucket/key``, of any partition (``aws-cn``).

        Raises:
            InvalidInput: it isn't such an ARN.
        """
        found = _BUCKET_ARN.fullmatch(arn)
        if found is None:
            raise InvalidInput(f"{printable(repr(arn))} is not an S3 ARN; write arn:aws:s3:::bucket/key")
        if found["account"]:
            raise InvalidInput(
                f"{printable(repr(arn))} is an access point's ARN; name the bucket, or the access point's alias"
            )
        bucket, _, key = found["resource"].partition("/")
        return cls(check_bucket(bucket), key)

    @property
    def in_bucket(self) -> dict[str, str]:
        """What a call about the bucket takes: ``Bucket`` and, where an account has to own it, ExpectedBucketOwner."""
        return {"Bucket": self.bucket, **({"ExpectedBucketOwner": self.account} if self.account else {})}

    @property
    def uri(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def arn(self) -> str:
        """``arn:aws:s3:::bucket/key``, or ``arn:aws:s3:::bucket`` without a key."""
        return f"arn:aws:s3:::{self.bucket}/{self.key}" if self.key else f"arn:aws:s3:::{self.bucket}"


def arn_of(uri: str) -> str:
    """The ARN of ``s3://bucket/key``; a template, of which nobody knows yet what it names, as it stands."""
    return uri if is_template(uri) else S3Location.parse(uri).arn


def uri_of(arn: str) -> str:
    """The URI of an ARN; what isn't one (a URI, or what `arn_of` left), as it stands."""
    return S3Location.from_arn(arn).uri if arn.startswith("arn:") else arn
