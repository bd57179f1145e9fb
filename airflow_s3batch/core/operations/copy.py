"""CopyObject: one server-side copy an object; several requests only where it is too large for one."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from typing_extensions import Unpack

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import S3Error
from airflow_s3batch.core.operations.base import RequestOperation
from airflow_s3batch.core.operations.copying import Copying, CopyOptions
from airflow_s3batch.core.operations.multipart import copied, copied_in_parts
from airflow_s3batch.core.rows import Entry

__all__ = ["CopyObject"]

log = logging.getLogger(__name__)

_CHANGING = {"MetadataDirective", "StorageClass", "WebsiteRedirectLocation", "ServerSideEncryption"}
"""What makes S3 take a copy of an object onto itself: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""


class CopyObject(Copying, RequestOperation):
    """Copy every object to a bucket: ``CopyObject("archive", target_prefix="2026/", storage_class="GLACIER_IR")``.

    An object keeps its key, behind `target_prefix`, unless `target_key` says otherwise. What isn't given is copied
    (metadata, tags) or is the target bucket's default (class, encryption, lock); ACLs are copied with `keep_acl` only.
    An object of up to 5 GB is one request; a larger one is copied by a multipart upload.

    Args:
        target_bucket: name, ARN, or access point ARN of the bucket.
        target_prefix: put before every key as it is: end it with a slash to get a folder.
        target_key: instead, the copies' keys: a text with places in braces, ``archive/{folder}{name}``; there are
            ``{key}``, ``{folder}`` (with its slash), ``{name}``, ``{bucket}``, ``{version}``, `key_pattern`'s groups.
        strip_prefix: taken off every key before; an object whose key doesn't begin with it fails (KeyNotMatched).
        key_pattern: a regular expression that matches whole keys, less `strip_prefix`; its groups are places of
            `target_key` (``{1}``, ``{year}``). An object whose key it doesn't match fails (KeyNotMatched).
        storage_class: the copies' class, as AWS names it.
        metadata: new user metadata, replacing all of the source's (2 KB of ASCII); ``{}`` removes it.
        cache_control, content_disposition, content_encoding, content_language, content_type, expires: new headers;
            like `metadata`, any of them replaces all metadata of the source.
        tags: new tags; ``{}`` for none; None copies the source's.
        annotations: ``COPY`` or ``EXCLUDE`` the objects' annotations (AWS's AnnotationDirective).
        encryption: ``AES256`` or ``KMS``; `kms_key_id` and `bucket_key_enabled` go with KMS.
        lock_mode, lock_retain_until: ``GOVERNANCE`` or ``COMPLIANCE``, until then (both or neither).
        legal_hold: ``ON`` or ``OFF``.
        event_hold: ``ON`` or ``OFF``.
        event_hold_days, event_hold_years: how long the copies stay locked after that, by one of the two.
        canned_acl, grants: the copies' ACL, one or the other.
        keep_acl: instead, each copy gets its source's ACL, which takes a request more an object.
        checksum_algorithm: which checksum S3 computes for the copies.
        modified_since, unmodified_since: copy only objects changed since, or not since; others fail
            (PreconditionFailed).
        redirect_location: where a website's requests for the copies are sent.
        requester_pays: we agree to pay for reading the source.
        overwrite: False leaves what is at a target key as it is; the object fails (PreconditionFailed).

    Dates are aware datetimes or ISO 8601 text.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-copy-object.html
    """

    aws_name: ClassVar[str] = "S3PutObjectCopy"
    error_in_body: ClassVar[bool] = True

    def __init__(self, target_bucket: str, **options: Unpack[CopyOptions]) -> None:
        super().__init__(target_bucket, **options)

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """One CopyObject."""
        return "CopyObject", self.copy_request(bucket, key, version, self.target_in_request(bucket, key))

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:
        """One CopyObject; with `keep_acl` a GetObjectAcl before."""
        return [*self.acl_requests(bucket, key, version), self.request(bucket, key, version)]

    @property
    def in_steps(self) -> bool:
        """With `keep_acl`."""
        return bool(self.keep_acl)

    async def look(self, bucket: str, s3: S3Calls) -> None:
        """See that the target's bucket is there; warn where objects of this one would be copied onto themselves as is.

        That may be meant: S3 takes such copies of older versions, and in buckets whose default encryption was set.

        Raises:
            InvalidInput: it isn't.
        """
        if self._changes_nothing_in(bucket):
            log.warning(
                "target_bucket: objects of %s are copied onto themselves, and nothing about them changes, which S3 "
                "refuses (InvalidRequest) but for older versions and in buckets whose default encryption was set; say "
                "what to change (storage_class, metadata, encryption, redirect_location), or name other keys",
                bucket,
            )
        await super().look(bucket, s3)

    def _changes_nothing_in(self, bucket: str) -> bool:
        onto_itself = self.keeps_keys and bucket == self.bucket_in_requests
        return onto_itself and _CHANGING.isdisjoint(self.copy_request(bucket, "", None, ""))

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Read the source's ACL, and copy with it."""
        _, bucket, key, version, _ = entry
        copy = self.copy_request(bucket, key, version, self.target_for(entry))
        _, message = await copied(entry.row, copy | await self.acl_kept(bucket, key, version, s3), s3)
        return message

    async def rescue(self, entry: Entry, error: S3Error, s3: S3Calls) -> str | None:
        """Copy in parts what S3 has refused as too large for one request."""
        copy = self.copy_request(entry.bucket, entry.key, entry.version, self.target_for(entry))
        return await copied_in_parts(entry.row, copy, error, s3)
