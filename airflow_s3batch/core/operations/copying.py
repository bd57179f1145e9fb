"""`Copying`: what CopyObject and MoveObject have in common, which is all that can be said about a copy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypedDict
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, Field, field_validator, model_validator
from typing_extensions import Self, Unpack

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.operations.acl import CannedAcl, Grant, grant_headers, grants_of, kept_grants
from airflow_s3batch.core.operations.base import with_version
from airflow_s3batch.core.operations.retention import require_future
from airflow_s3batch.core.operations.tagging import check_tags, tag_set, tags_of
from airflow_s3batch.core.operations.target_key import Targeted
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.values import Flag, Moment, Text, WholeNumber, known_arguments, one_of

__all__ = ["CopyOptions", "Copying"]

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
    "event_hold": ("ObjectLockEventHold", "ObjectLockEventHold"),
    "annotations": ("AnnotationDirective", "AnnotationDirective"),
    "modified_since": ("ModifiedSinceConstraint", "CopySourceIfModifiedSince"),
    "unmodified_since": ("UnModifiedSinceConstraint", "CopySourceIfUnmodifiedSince"),
    "redirect_location": ("RedirectLocation", "WebsiteRedirectLocation"),
}
# Our parameter, its place in AWS's S3ObjectLockRetentionEventHoldDuration with the most that may stand there, and its
# name in the S3 API: https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_S3CopyObjectOperation.html
_HELD = {
    "event_hold_days": ("Days", 36_500, "ObjectLockEventHoldDurationDays"),
    "event_hold_years": ("Years", 100, "ObjectLockEventHoldDurationYears"),
}
_CHOSEN = {"keep_acl": "KeepAcl", "requester_pays": "RequesterPays"}
_NAMES = (
    {aws for aws, _ in _PLAIN.values()}
    | {"MetadataDirective", "NewObjectMetadata", "NewObjectTagging"}
    | {*_CHOSEN.values(), "AccessControlGrants", "ObjectLockEventHoldDuration", "Overwrite"}
)


class CopyOptions(TypedDict, total=False):
    """What can be said about copies besides their bucket; the words are explained in CopyObject."""

    target_prefix: str
    target_key: str
    strip_prefix: str
    key_pattern: str
    storage_class: str | None
    metadata: Mapping[str, str] | None
    cache_control: str | None
    content_disposition: str | None
    content_encoding: str | None
    content_language: str | None
    content_type: str | None
    expires: datetime | str | None
    tags: Mapping[str, str] | None
    annotations: str | None
    encryption: str | None
    kms_key_id: str | None
    bucket_key_enabled: bool | str | None
    lock_mode: str | None
    lock_retain_until: datetime | str | None
    legal_hold: str | None
    event_hold: str | None
    event_hold_days: int | str | None
    event_hold_years: int | str | None
    canned_acl: str | None
    grants: Sequence[Grant]
    keep_acl: bool | str
    checksum_algorithm: str | None
    modified_since: datetime | str | None
    unmodified_since: datetime | str | None
    redirect_location: str | None
    requester_pays: bool | str
    overwrite: bool | str


class Copying(Targeted):
    """An operation that copies every object, all its parameters, and the request they make."""

    storage_class: StorageClass | None = None
    metadata: dict[str, Text] | None = None
    cache_control: Header | None = None
    content_disposition: Header | None = None
    content_encoding: Header | None = None
    content_language: Header | None = None
    content_type: Header | None = None
    expires: Moment | None = None
    tags: dict[Text, Text] | None = None
    annotations: Annotated[Text, one_of("COPY", "EXCLUDE")] | None = None
    encryption: Annotated[Text, one_of("AES256", "KMS")] | None = None
    kms_key_id: Annotated[Text, Field(min_length=1, max_length=2000), AfterValidator(_for_header)] | None = None
    bucket_key_enabled: Flag | None = None
    lock_mode: Annotated[Text, one_of("COMPLIANCE", "GOVERNANCE")] | None = None
    lock_retain_until: Moment | None = None
    legal_hold: Annotated[Text, one_of("ON", "OFF")] | None = None
    event_hold: Annotated[Text, one_of("ON", "OFF")] | None = None
    event_hold_days: WholeNumber | None = None
    event_hold_years: WholeNumber | None = None
    canned_acl: CannedAcl | None = None
    grants: tuple[Grant, ...] = ()
    keep_acl: Flag = False
    checksum_algorithm: ChecksumAlgorithm | None = None
    modified_since: Moment | None = None
    unmodified_since: Moment | None = None
    redirect_location: Annotated[Text, Field(min_length=1, max_length=2048), AfterValidator(_for_header)] | None = None
    requester_pays: Flag = False
    overwrite: Flag = True

    def __init__(self, target_bucket: str, **options: Unpack[CopyOptions]) -> None:
        super().__init__(target_bucket=target_bucket, **options)

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
        if len({name.lower() for name in metadata or {}}) < len(metadata or {}):
            raise InvalidInput("two names differ in upper and lower case only, which headers don't")
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
        for ours, (_, most, _) in _HELD.items():
            if isinstance(number := getattr(self, ours), int) and not 1 <= number <= most:
                raise InvalidInput(f"{ours}: {number} is not between 1 and {most:,}")
        if self.event_hold_days is not None and self.event_hold_years is not None:
            raise InvalidInput("give event_hold_days or event_hold_years, not both")
        if sum(map(bool, (self.canned_acl, self.grants, self.keep_acl))) > 1:
            raise InvalidInput("give one of canned_acl, grants and keep_acl")
        grant_headers(self.grants)
        return self

    def check_job(self, rows: int, buckets: Sequence[str], now: datetime) -> None:
        """See that not all copies have the same key, and that they can be locked.

        Raises:
            InvalidInput: they have, or the date has passed.
        """
        super().check_job(rows, buckets, now)
        require_future("lock_retain_until", self.lock_retain_until, now)

    def copy_request(self, bucket: str, key: str, version: str | None, target_key: str) -> dict[str, Any]:
        """CopyObject's parameters for one object."""
        parameters: dict[str, Any] = {
            "Bucket": self.bucket_in_requests,
            "Key": target_key,
            "CopySource": with_version({"Bucket": bucket, "Key": key}, version),
        }
        parameters |= {s3: getattr(self, ours) for ours, (_, s3) in _PLAIN.items() if getattr(self, ours) is not None}
        parameters |= {s3: getattr(self, ours) for ours, (_, _, s3) in _HELD.items() if getattr(self, ours) is not None}
        content = {s3: getattr(self, ours) for ours, (_, s3) in _CONTENT.items() if getattr(self, ours) is not None}
        if content or self.metadata is not None:
            parameters |= content | {"MetadataDirective": "REPLACE", "Metadata": self.metadata or {}}
        if self.tags is not None:
            parameters |= {"TaggingDirective": "REPLACE", "Tagging": urlencode(self.tags, quote_via=quote)}
        if self.encryption is not None:
            parameters["ServerSideEncryption"] = "aws:kms" if self.encryption == "KMS" else self.encryption
        if self.requester_pays:
            parameters["RequestPayer"] = "requester"
        if not self.overwrite:
            parameters["IfNoneMatch"] = "*"
        return parameters | grant_headers(self.grants)

    def acl_requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:
        """What `acl_kept` asks S3."""
        return [("GetObjectAcl", self._about(bucket, key, version))] if self.keep_acl else []

    async def acl_kept(self, bucket: str, key: str, version: str | None, s3: S3Calls) -> dict[str, str]:
        """CopyObject's parameters for the source's ACL, with `keep_acl`; else none.

        Raises:
            S3Error: S3 doesn't tell the ACL.
        """
        return await kept_grants(self._about(bucket, key, version), s3) if self.keep_acl else {}

    def _about(self, bucket: str, key: str, version: str | None) -> dict[str, Any]:
        payer = {"RequestPayer": "requester"} if self.requester_pays else {}
        return with_version({"Bucket": bucket, "Key": key, **payer}, version)

    def arguments(self) -> dict[str, Any]:
        """AWS's S3CopyObjectOperation, and what is ours: TargetKey, StripKeyPrefix, KeyPattern, KeepAcl, Overwrite."""
        arguments = self.target_arguments()
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
        held = {aws: getattr(self, ours) for ours, (aws, _, _) in _HELD.items() if getattr(self, ours) is not None}
        if held:
            arguments["ObjectLockEventHoldDuration"] = held
        if self.grants:
            arguments["AccessControlGrants"] = [grant.to_aws() for grant in self.grants]
        arguments |= {aws: getattr(self, ours) for ours, aws in _CHOSEN.items() if getattr(self, ours)}
        if self.overwrite != self._overwrites_untold():
            arguments["Overwrite"] = self.overwrite
        return arguments

    @classmethod
    def _overwrites_untold(cls) -> bool:
        return bool(cls.model_fields["overwrite"].default)

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from what `arguments` gives."""
        known_arguments(cls.__name__, arguments, _NAMES | cls.target_names())
        new = arguments.get("NewObjectMetadata") or {}
        known_arguments(cls.__name__, new, {aws for aws, _ in _CONTENT.values()} | {"UserMetadata", "SSEAlgorithm"})
        tagging = arguments.get("NewObjectTagging")
        held = arguments.get("ObjectLockEventHoldDuration") or {}
        known_arguments(cls.__name__, held, {aws for aws, _, _ in _HELD.values()})
        fields: dict[str, Any] = cls.target_fields(arguments)
        fields |= {ours: arguments.get(aws) for ours, (aws, _) in _PLAIN.items()}
        fields |= {ours: new.get(aws) for ours, (aws, _) in _CONTENT.items()}
        fields |= {ours: held.get(aws) for ours, (aws, _, _) in _HELD.items()}
        return cls(
            **fields,
            metadata=_user_metadata(cls.__name__, arguments.get("MetadataDirective"), new),
            tags=None if tagging is None else tags_of(cls.__name__, tagging),
            encryption=new.get("SSEAlgorithm"),
            grants=grants_of(cls.__name__, arguments.get("AccessControlGrants") or ()),
            **{ours: arguments.get(aws, False) for ours, aws in _CHOSEN.items()},
            overwrite=arguments.get("Overwrite", cls._overwrites_untold()),
        )


def _user_metadata(name: str, directive: object, new: Mapping[str, Any]) -> Any:
    """The user metadata that AWS's directive and NewObjectMetadata ask for; None for the source's.

    Raises:
        InvalidInput: they contradict each other, or there is no such directive.
    """
    replaces = bool(new.keys() - {"SSEAlgorithm"})
    if directive not in (None, "COPY", "REPLACE"):  # no set: a list, say, has no hash
        raise InvalidInput(f"{name}: MetadataDirective {printable(repr(directive))} is neither COPY nor REPLACE")
    if directive == "COPY" and replaces:
        raise InvalidInput(f"{name}: MetadataDirective COPY takes no NewObjectMetadata; use REPLACE")
    return {} if directive == "REPLACE" and not replaces else new.get("UserMetadata")
