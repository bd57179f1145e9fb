"""MoveObject: copy, verify, delete; and never delete what hasn't been verified."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from typing_extensions import Unpack

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ObjectFailed, S3BatchError, S3Error, printable
from airflow_s3batch.core.operations.base import RUNNING_SINCE, StepsOperation, with_version
from airflow_s3batch.core.operations.copying import Copying, CopyOptions
from airflow_s3batch.core.operations.multipart import copied
from airflow_s3batch.core.operations.verify import COLUMNS, compare, head, listed
from airflow_s3batch.core.operations.versioning import told_loss
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Flag

__all__ = ["MoveObject"]

_ACCESS_POINT_ALIAS = "-s3alias"
_PRECONDITION_FAILED, _NOT_FOUND, _NOT_IMPLEMENTED = 412, 404, 501
_METADATA = (
    "Metadata",
    "ContentType",
    "ContentEncoding",
    "ContentDisposition",
    "ContentLanguage",
    "CacheControl",
)
"""What HeadObject tells of an object's metadata, which a copy has from its source."""
_CLOCKS_APART = timedelta(minutes=15)
"""As far as S3 lets a worker's clock be from its own:
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html"""


class MoveObject(Copying, StepsOperation):
    """Move every object to a bucket, or to another key: ``MoveObject("lake", strip_prefix="tmp/")``.

    Each object is copied as CopyObject does it, the copy is compared with the object, and then the object is deleted:
    the version that the manifest names, or the current one (which leaves a delete marker in a bucket with versions). An
    object that changes meanwhile fails, and isn't deleted. So does one with something else at its target key
    (TargetExists), unless `overwrite` is True.

    Args: those of CopyObject, with the same meaning; but `overwrite` is False.
    """

    aws_name: ClassVar[str] = "S3MoveObject"

    columns_needed: ClassVar[bool] = False

    overwrite: Flag = False

    def __init__(self, target_bucket: str, **options: Unpack[CopyOptions]) -> None:
        super().__init__(target_bucket, **options)

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:
        """HeadObject, CopyObject, HeadObject of the copy, DeleteObject; with `keep_acl` a GetObjectAcl before."""
        source = with_version({"Bucket": bucket, "Key": key}, version)
        copy = self.copy_request(bucket, key, version, self.target_in_request(bucket, key))
        target = {"Bucket": copy["Bucket"], "Key": copy["Key"]}
        return [
            ("HeadObject", source),
            *self.acl_requests(bucket, key, version),
            ("CopyObject", copy),
            ("HeadObject", target),
            ("DeleteObject", source),
        ]

    @property
    def manifest_columns(self) -> tuple[str, ...]:
        """What the manifest says of a source that is gone, if it does."""
        return COLUMNS

    async def look(self, bucket: str, s3: S3Calls) -> None:
        """See that the target's bucket is there, and that objects of this one aren't moved onto themselves.

        Raises:
            InvalidInput: it isn't, or they would be.
        """
        if self.keeps_keys and self._may_be(bucket):
            raise InvalidInput(
                f"target_bucket: objects of {bucket} would be moved onto themselves; name another bucket (not by an "
                "access point, which may lead back), or other keys by target_prefix, target_key or strip_prefix"
            )
        await super().look(bucket, s3)

    async def tell_loss(self, buckets: Sequence[str], s3: S3Calls, *, versions: bool) -> str:
        """The originals, where no versions are kept; versions that rows name."""
        if not versions:
            return await told_loss(buckets, s3, objects="the originals")
        return "rows name versions: once they are copied, those versions are gone for good"

    def _may_be(self, bucket: str) -> bool:
        """Whether the target may be this bucket. Where an access point leads, its name doesn't say."""
        target = self.bucket_in_requests
        return bucket == target or any(
            name.startswith("arn:") or name.endswith(_ACCESS_POINT_ALIAS) for name in (bucket, target)
        )

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Copy, verify, delete."""
        target_key = self.target_for(entry)
        if target_key == entry.key and self._may_be(entry.bucket):
            raise ObjectFailed("InvalidRequest", "the object would be moved onto itself; nothing was done")
        move = _Move(self, entry, target_key, s3)
        if not await move.found():
            return "Moved before: the source is gone, and the target is there"
        how = await move.copy()
        await move.verify()
        await move.delete()
        return how


def _target_exists(why: str) -> ObjectFailed:
    return ObjectFailed("TargetExists", f"another object is at the target: {why}; nothing was done", 412)


class _Move:
    """One object on its way."""

    def __init__(self, operation: MoveObject, entry: Entry, target_key: str, s3: S3Calls) -> None:
        self._s3 = s3
        self._operation = operation
        self._entry = entry
        self._request = operation.copy_request(entry.bucket, entry.key, entry.version, target_key)
        self._payer = {name: self._request[name] for name in ("RequestPayer",) if name in self._request}
        self._source: dict[str, Any] = {}
        self._copied: dict[str, Any] = {}

    async def found(self) -> bool:
        """Look at the source, and pin it; False if it has been moved before, by a worker killed before it could say so.

        Raises:
            ObjectFailed: it isn't there, and nothing shows that it was moved (NoSuchKey, NoSuchVersion); or it isn't as
                the conditions ask for (PreconditionFailed).
        """
        _, bucket, key, version, _ = self._entry
        # Here, since CopySourceIfMatch overrules them: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
        conditions = {name: self._request.get(f"CopySource{name}") for name in ("IfModifiedSince", "IfUnmodifiedSince")}
        given = {name: value for name, value in conditions.items() if value is not None}
        try:
            self._source = await head(self._s3, "source", bucket, key, version, **given, **self._payer)
        except ObjectFailed as missing:
            against = await self._against_moved_before()
            if against is None:
                return False
            raise ObjectFailed(missing.code, f"{missing.message}{against}", missing.http_status) from None
        except S3Error as error:
            if error.code not in {"NotModified", "PreconditionFailed"}:
                raise
            raise ObjectFailed("PreconditionFailed", "not modified as the conditions ask for", 412) from None
        return True

    async def _against_moved_before(self) -> str | None:
        """What tells against this job's having put the source at the target; None if nothing does."""
        target, since = self._request, RUNNING_SINCE.get()
        try:
            there = await head(self._s3, "target", target["Bucket"], target["Key"], None, **self._payer)
        except ObjectFailed:
            return ""
        if since is None or there["LastModified"] < since - _CLOCKS_APART:
            return ", and what is at the target was there before this job"
        try:
            compare(listed(self._entry), there, ("manifest", "target"))
        except ObjectFailed as error:
            return f", and what is at the target is something else: {error.message}"
        return None

    async def copy(self) -> str:
        """Copy what was found, and nothing else; return the result message."""
        _, bucket, key, version, _ = self._entry
        request = {**self._request, "CopySourceIfMatch": self._source["ETag"]}
        request |= await self._operation.acl_kept(bucket, key, version, self._s3)
        try:
            self._copied, message = await copied(self._entry.row, request, self._s3)
        except S3Error as error:
            if error.status != _PRECONDITION_FAILED:
                raise
            if not await self._was_copied_before():
                raise ObjectFailed(error.code, "the source changed; nothing was done", error.status) from None
            return ""
        return message

    async def _was_copied_before(self) -> bool:
        """Whether the source's like is at the target, by a worker killed before it could delete the source.

        Raises:
            ObjectFailed: something else is there (TargetExists).
        """
        target = self._request
        if "IfNoneMatch" not in target:
            return False
        try:
            there = await head(self._s3, "target", target["Bucket"], target["Key"], None, **self._payer)
        except ObjectFailed:
            return False
        try:
            shown = compare(self._source, there)
        except ObjectFailed as error:
            raise _target_exists(error.message) from None
        if shown is None:
            raise _target_exists("as large as the source, but nothing shows that it is the same")
        copied_too = () if "MetadataDirective" in target else _METADATA
        if other := [name for name in copied_too if self._source.get(name) != there.get(name)]:
            raise _target_exists(f"its content is the source's, but not its {other[0]}")
        return True

    async def verify(self) -> None:
        """See that the copy is there, and is the source's like.

        Raises:
            ObjectFailed: it isn't; the source stays.
        """
        target = self._request
        version = self._copied.get("VersionId")
        try:
            there = await head(self._s3, "target", target["Bucket"], target["Key"], version, **self._payer)
            compare(self._source, there)
        except ObjectFailed as error:
            kept = f"{error.message}; the source was kept"
            raise ObjectFailed(error.code, kept, error.http_status) from None
        etag = self._copied.get("CopyObjectResult", {}).get("ETag", there["ETag"])
        if etag != there["ETag"]:
            changed = (
                f"the copy's ETag was {printable(etag)} and now is {printable(there['ETag'])}; the source was kept"
            )
            raise ObjectFailed("ETagMismatch", changed)

    async def delete(self) -> None:
        """Delete the source: exactly the version that was copied."""
        _, bucket, key, version, _ = self._entry
        source = with_version({"Bucket": bucket, "Key": key}, version) | self._payer
        if version not in {None, "null"}:  # those never change; the null version is replaced by the next PUT
            await self._s3.call("DeleteObject", **source)
            return
        etag = self._source["ETag"]
        try:
            await self._s3.call("DeleteObject", **source, IfMatch=etag)
        except S3Error as error:
            if error.status == _NOT_FOUND:  # gone already is as good
                return
            # A store without conditional deletes, or a null version that isn't current, and S3 compares what is.
            if error.status != _NOT_IMPLEMENTED and not (error.status == _PRECONDITION_FAILED and version == "null"):
                raise self._changed(error) from None
            await self._look_and_delete(source, etag)

    async def _look_and_delete(self, source: dict[str, Any], etag: str) -> None:
        """Delete what is still as it was copied, as fast as two requests are."""
        try:
            await self._s3.call("HeadObject", **source, IfMatch=etag)
        except S3Error as error:
            raise self._changed(error) from None
        await self._s3.call("DeleteObject", **source)

    def _changed(self, error: S3Error) -> S3BatchError:
        if error.status != _PRECONDITION_FAILED:
            return error
        return ObjectFailed("PreconditionFailed", "the source changed after it was copied; it was kept", error.status)
