"""CopyObject: one server-side copy an object, of up to 5 GB."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, Field, field_validator, model_validator
from typing_extensions import Self

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.location import S3Location, check_bucket, is_template
from airflow_s3batch.core.operations.acl import CannedAcl, Grant, grant_headers
from airflow_s3batch.core.operations.base import Operation
from airflow_s3batch.core.operations.tagging import check_tags, tag_set, tags_of
from airflow_s3batch.core.values import Flag, Moment, Text, known_arguments, one_of

__all__ = ["CopyObject"]

_METADATA_BYTES = 2 * 1024  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
_METADATA_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _for_header(text: str) -> str:
    if is_template(text) or (text.isascii() and text.isprintable()):
        return text
    raise InvalidInput(f"{printable(repr(text))} is not printable ASCII, which is all that a header can carry")


Header = Annotated[Text, Field(min_length=1, max_length=1024), AfterValidator(_for_header)]
StorageClass = Annotated[
    Text,
    one_of("STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"),
]
ChecksumAlgorithm = Annotated[
    Text,
    one_of("CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"),
]

# Our parameter, its place in AWS's NewObjectMetadata, and its name in the S3 API.
_CONTENT = {
    "cache_control": ("CacheControl", "CacheControl"),
    "content_disposition": ("ContentDisposition", "ContentDisposition"),
    "content_encoding": ("ContentEncoding", "ContentEncoding"),
    "content_language": ("ContentLanguage", "ContentLanguage"),
    "content_type": ("ContentType", "ContentType"),
    "expires": ("HttpExpiresDate", "Expires"),
}
# Our parameter, its place in AWS's S3CopyObjectOperation, and its name in the S3 API.
_PLAIN = {
    "storage_class": ("StorageClass", "StorageClass"),
    "canned_acl": ("CannedAccessControlList", "ACL"),
    "kms_key_id": ("SSEAwsKmsKeyId", "SSEKMSKeyId"),
    "bucket_key_enabled": ("BucketKeyEnabled", "BucketKeyEnabled"),
    "checksum_algorithm": ("ChecksumAlgorithm", "ChecksumAlgorithm"),
    "lock_mode": ("ObjectLockMode", "ObjectLockMode"),
    "lock_retain_until": ("ObjectLockRetainUntilDate", "ObjectLockRetainUntilDate"),
    "legal_hold": ("ObjectLockLegalHoldStatus", "ObjectLockLegalHoldStatus"),
    "modified_since": ("ModifiedSinceConstraint", "CopySourceIfModifiedSince"),
    "unmodified_since": ("UnModifiedSinceConstraint", "CopySourceIfUnmodifiedSince"),
    "redirect_location": ("RedirectLocation", "WebsiteRedirectLocation"),
}
_NAMES = (
    {aws for aws, _ in _PLAIN.values()}
    | {"TargetResource", "TargetKeyPrefix", "MetadataDirective", "NewObjectMetadata", "NewObjectTagging"}
    | {"AccessControlGrants", "RequesterPays"}
)


class CopyObject(Operation):
    """Copy every object to a bucket: ``CopyObject("archive", target_prefix="2026/", storage_class="GLACIER_IR")``.

    An object keeps its key, behind `target_prefix`. Objects over 5 GB fail (InvalidRequest). What isn't given is copied
    (metadata, tags) or is the target bucket's default (class, encryption, lock); ACLs aren't copied.

    Args:
        target_bucket: name, ARN, or access point ARN of the bucket.
        target_prefix: put before every key as it is: end it with a slash to get a folder.
        storage_class: the copies' class, as AWS names it.
        metadata: new user metadata, replacing all of the source's (2 KB of ASCII); ``{}`` removes it.
        cache_control, content_disposition, content_encoding, content_language, content_type, expires: new headers;
            like `metadata`, any of them replaces all metadata of the source.
        tags: new tags; ``{}`` for none; None copies the source's.
        encryption: ``AES256`` or ``KMS``; `kms_key_id` and `bucket_key_enabled` go with KMS.
        lock_mode, lock_retain_until: ``GOVERNANCE`` or ``COMPLIANCE``, until then (both or neither).
        legal_hold: ``ON`` or ``OFF``.
        canned_acl, grants: the copies' ACL, one or the other.
        checksum_algorithm: which checksum S3 computes for the copies.
        modified_since, unmodified_since: copy only objects changed since, or not since; others fail
            (PreconditionFailed).
        redirect_location: where a website's requests for the copies are sent.
        requester_pays: we agree to pay for reading the source.

    Dates are aware datetimes or ISO 8601 text.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-copy-object.html
    """

    aws_name: ClassVar[str] = "S3PutObjectCopy"
    error_in_body: ClassVar[bool] = True

    target_bucket: Text
    target_prefix: Annotated[Text, Field(max_length=1024)] = ""
    storage_class: StorageClass | None = None
    metadata: dict[str, Text] | None = None
    cache_control: Header | None = None
    content_disposition: Header | None = None
    content_encoding: Header | None = None
    content_language: Header | None = None
    content_type: Header | None = None
    expires: Moment | None = None
    tags: dict[Text, Text] | None = None
    encryption: Annotated[Text, one_of("AES256", "KMS")] | None = None
    kms_key_id: Annotated[Text, Field(min_length=1, max_length=2000), AfterValidator(_for_header)] | None = None
    bucket_key_enabled: Flag | None = None
    lock_mode: Annotated[Text, one_of("COMPLIANCE", "GOVERNANCE")] | None = None
    lock_retain_until: Moment | None = None
    legal_hold: Annotated[Text, one_of("ON", "OFF")] | None = None
    canned_acl: CannedAcl | None = None
    grants: tuple[Grant, ...] = ()
    checksum_algorithm: ChecksumAlgorithm | None = None
    modified_since: Moment | None = None
    unmodified_since: Moment | None = None
    redirect_location: Annotated[Text, Field(min_length=1, max_length=2048), AfterValidator(_for_header)] | None = None
    requester_pays: Flag = False

    def __init__(
        self,
        target_bucket: str,
        *,
        target_prefix: str = "",
        storage_class: str | None = None,
        metadata: Mapping[str, str] | None = None,
        cache_control: str | None = None,
        content_disposition: str | None = None,
        content_encoding: str | None = None,
        content_language: str | None = None,
        content_type: str | None = None,
        expires: datetime | str | None = None,
        tags: Mapping[str, str] | None = None,
        encryption: str | None = None,
        kms_key_id: str | None = None,
        bucket_key_enabled: bool | str | None = None,
        lock_mode: str | None = None,
        lock_retain_until: datetime | str | None = None,
        legal_hold: str | None = None,
        canned_acl: str | None = None,
        grants: Sequence[Grant] = (),
        checksum_algorithm: str | None = None,
        modified_since: datetime | str | None = None,
        unmodified_since: datetime | str | None = None,
        redirect_location: str | None = None,
        requester_pays: bool | str = False,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in type(self).model_fields}
        super().__init__(**{**given, "grants": tuple(grants)})

    @field_validator("target_bucket")
    @classmethod
    def _check_target(cls, target: str) -> str:
        if is_template(target):
            return target
        name = target.removeprefix("arn:aws:s3:::")
        if not name.startswith("arn:"):
            return check_bucket(name)
        if ":accesspoint" not in name and S3Location.from_arn(name).key:
            raise InvalidInput(f"{printable(repr(name))} names an object; name its bucket, and use target_prefix")
        return name

    @field_validator("redirect_location")
    @classmethod
    def _check_redirect(cls, location: str | None) -> str | None:
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-page-redirect.html
        if location is None or is_template(location) or location.startswith(("/", "http://", "https://")):
            return location
        raise InvalidInput(f"{printable(repr(location))} begins with none of /, http:// and https://")

    @field_validator("metadata")
    @classmethod
    def _check_metadata(cls, metadata: dict[str, str] | None) -> dict[str, str] | None:
        for name, value in (metadata or {}).items():
            if not is_template(name) and not _METADATA_NAME.fullmatch(name):
                raise InvalidInput(f"{printable(repr(name))} is no name of user metadata (a header's name)")
            _for_header(value)
        size = sum(len(name) + len(value) for name, value in (metadata or {}).items())
        if size > _METADATA_BYTES:
            raise InvalidInput(f"{size} bytes of names and values; S3 takes {_METADATA_BYTES}")
        return metadata

    @field_validator("tags")
    @classmethod
    def _check_tags(cls, tags: dict[str, str] | None) -> dict[str, str] | None:
        return None if tags is None else check_tags(tags)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.encryption == "AES256" and (self.kms_key_id or self.bucket_key_enabled is not None):
            raise InvalidInput("kms_key_id and bucket_key_enabled go with encryption='KMS', not AES256")
        if self.kms_key_id and self.encryption is None:
            raise InvalidInput("kms_key_id needs encryption='KMS'")
        if (self.lock_mode is None) != (self.lock_retain_until is None):
            raise InvalidInput("lock_mode and lock_retain_until go together")
        if self.canned_acl and self.grants:
            raise InvalidInput("give either canned_acl or grants")
        grant_headers(self.grants)
        return self

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """One CopyObject."""
        source = {"Bucket": bucket, "Key": key}
        parameters: dict[str, Any] = {
            "Bucket": self._target(),
            "Key": f"{self.target_prefix}{key}",
            "CopySource": source if version is None else {**source, "VersionId": version},
        }
        parameters |= {s3: getattr(self, ours) for ours, (_, s3) in _PLAIN.items() if getattr(self, ours) is not None}
        content = {s3: getattr(self, ours) for ours, (_, s3) in _CONTENT.items() if getattr(self, ours) is not None}
        if content or self.metadata is not None:
            parameters |= content | {"MetadataDirective": "REPLACE", "Metadata": self.metadata or {}}
        if self.tags is not None:
            parameters |= {"TaggingDirective": "REPLACE", "Tagging": urlencode(self.tags, quote_via=quote)}
        if self.encryption is not None:
            parameters["ServerSideEncryption"] = "aws:kms" if self.encryption == "KMS" else self.encryption
        if self.requester_pays:
            parameters["RequestPayer"] = "requester"
        return "CopyObject", parameters | grant_headers(self.grants)

    def _target(self) -> str:
        """The target as the S3 API takes it: a bucket's name, or an access point's ARN."""
        if not self.target_bucket.startswith("arn:") or ":accesspoint" in self.target_bucket:
            return self.target_bucket
        return S3Location.from_arn(self.target_bucket).bucket

    def arguments(self) -> dict[str, Any]:
        """AWS's S3CopyObjectOperation."""
        target = self.target_bucket
        arn = target if target.startswith("arn:") or is_template(target) else f"arn:aws:s3:::{target}"
        arguments: dict[str, Any] = {"TargetResource": arn}
        if self.target_prefix:
            arguments["TargetKeyPrefix"] = self.target_prefix
        arguments |= {aws: getattr(self, ours) for ours, (aws, _) in _PLAIN.items() if getattr(self, ours) is not None}
        new = {aws: getattr(self, ours) for ours, (aws, _) in _CONTENT.items() if getattr(self, ours) is not None}
        if new or self.metadata is not None:
            arguments["MetadataDirective"] = "REPLACE"
        if self.metadata is not None:
            new["UserMetadata"] = self.metadata
        if self.encryption is not None:
            new["SSEAlgorithm"] = self.encryption
        if new:
            arguments["NewObjectMetadata"] = new
        if self.tags is not None:
            arguments["NewObjectTagging"] = tag_set(self.tags)
        if self.grants:
            arguments["AccessControlGrants"] = [grant.to_aws() for grant in self.grants]
        if self.requester_pays:
            arguments["RequesterPays"] = True
        return arguments

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's S3CopyObjectOperation."""
        known_arguments(cls.__name__, arguments, _NAMES)
        new = arguments.get("NewObjectMetadata") or {}
        known_arguments(cls.__name__, new, {aws for aws, _ in _CONTENT.values()} | {"UserMetadata", "SSEAlgorithm"})
        tagging = arguments.get("NewObjectTagging")
        metadata = new.get("UserMetadata")
        if arguments.get("MetadataDirective") == "COPY" and new.keys() - {"SSEAlgorithm"}:
            raise InvalidInput("CopyObject: MetadataDirective COPY takes no NewObjectMetadata; use REPLACE")
        if arguments.get("MetadataDirective") == "REPLACE" and not new.keys() - {"SSEAlgorithm"}:
            metadata = {}
        return cls(
            arguments.get("TargetResource", ""),
            target_prefix=arguments.get("TargetKeyPrefix", ""),
            metadata=metadata,
            tags=None if tagging is None else tags_of(cls.__name__, tagging),
            encryption=new.get("SSEAlgorithm"),
            grants=[Grant.from_aws(grant) for grant in arguments.get("AccessControlGrants") or ()],
            requester_pays=arguments.get("RequesterPays", False),
            **{ours: arguments.get(aws) for ours, (aws, _) in _PLAIN.items()},
            **{ours: new.get(aws) for ours, (aws, _) in _CONTENT.items()},
        )
