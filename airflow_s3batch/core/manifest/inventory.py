"""`InventoryManifest`: what S3 Inventory wrote, as CSV, ORC or Parquet, in any number of files."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator, model_validator
from typing_extensions import Self

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ManifestInvalid, printable
from airflow_s3batch.core.location import S3Location, arn_of, uri_of
from airflow_s3batch.core.manifest.base import Manifest, Survey
from airflow_s3batch.core.manifest.columnar_file import ColumnarFile
from airflow_s3batch.core.manifest.csv_file import CsvFile
from airflow_s3batch.core.manifest.data_file import DataFile, batches_of, columns_of, entries_of, files_of, survey_of
from airflow_s3batch.core.manifest.delivery import Delivery, ListedFile, check_delivery, newest_delivery
from airflow_s3batch.core.manifest.layout import ColumnarLayout, CsvLayout
from airflow_s3batch.core.manifest.object import ETag, ManifestObject, VersionId
from airflow_s3batch.core.partition import Partition
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Flag, Text, known_arguments

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["InventoryManifest"]

_DOCUMENT_MOST = 64 * 1024 * 1024
"""Bytes of a manifest.json: some 300,000 files."""
_AT_ONCE = 16
"""Data files that are looked at at once."""


class InventoryManifest(Manifest):
    """An inventory that S3 wrote: ``InventoryManifest("s3://lake/source/all/2026-11-01T01-00Z/manifest.json")``.

    CSV, ORC or Parquet, with any of the optional columns; ORC and Parquet need ``pip install
    'airflow-provider-s3batch[parquet]'``. All rows, and the files' checksums, are checked before anything is touched.

    Args:
        uri: the inventory's manifest.json; or its folder ``s3://…/source-bucket/config-ID/``, with the slash, for the
            newest inventory in it when the job is prepared.
        etag: run only if the ETag of manifest.json is this one; its at the time of prepare if not given.
        version_id: this version of manifest.json; the current one if not given.
        latest_only: leave out versions that aren't the latest. An inventory of all versions lists them, and
            without this the job's operation is done on each.
        include_delete_markers: keep delete markers, which an inventory of all versions lists as well and which few
            operations can do anything with.
        verify_checksums: see that manifest.json and all files are what S3 Inventory wrote, by their MD5s.
        file_etags: noted by prepare: the data files' ETags, in order, empty for those whose ETag is their MD5.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html
    """

    aws_format: ClassVar[str] = "S3InventoryReport_CSV_20161130"
    """AWS's name for it, whose jobs take CSV alone; manifest.json tells the files' format."""

    uri: Text
    etag: ETag | None = None
    version_id: VersionId | None = None
    latest_only: Flag = False
    include_delete_markers: Flag = False
    verify_checksums: Flag = True
    file_etags: tuple[str, ...] = ()

    def __init__(
        self,
        uri: str,
        *,
        etag: str | None = None,
        version_id: str | None = None,
        latest_only: bool | str = False,
        include_delete_markers: bool | str = False,
        verify_checksums: bool | str = True,
        file_etags: Sequence[str] = (),
    ) -> None:
        super().__init__(
            uri=uri,
            etag=etag,
            version_id=version_id,
            latest_only=latest_only,
            include_delete_markers=include_delete_markers,
            verify_checksums=verify_checksums,
            file_etags=tuple(file_etags),
        )

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str) -> str:
        if not is_template(uri) and not f"/{S3Location.parse(uri).key}".endswith(("/manifest.json", "/")):
            way_out = "write s3://…/manifest.json, or the inventory's folder s3://…/source-bucket/config-ID/"
            raise InvalidInput(f"{printable(repr(uri))} is no inventory; {way_out}")
        return uri

    @model_validator(mode="after")
    def _check_pins(self) -> Self:
        if self.uri.endswith("/") and (self.etag or self.version_id or self.file_etags):
            raise InvalidInput("a folder's newest inventory has no etag or version_id yet; name its manifest.json")
        return self

    @property
    def location(self) -> S3Location:
        """The manifest.json, or the inventory's folder."""
        return S3Location.parse(self.uri)

    async def pin(self, s3: S3Calls) -> Self:
        """See `Manifest.pin`. A folder is a question, which `resolve` answers."""
        if self.uri.endswith("/"):
            return self
        location = self.location
        found = await ManifestObject.find(s3, location, self.etag, self.version_id)
        document = await _document(found, s3)
        if self.verify_checksums:
            await check_delivery(s3, location, hashlib.md5(document, usedforsecurity=False).hexdigest())
        delivery = Delivery.parse(location, document)
        etags = await self._file_etags(delivery.files, s3)
        return self.model_copy(update={"etag": found.etag, "version_id": found.version_id, "file_etags": etags})

    async def resolve(self, s3: S3Calls, place: S3Location, now: datetime) -> Manifest:  # noqa: ARG002 - nothing is written
        """See `Manifest.resolve`: of a folder, the newest inventory in it, pinned."""
        if not self.uri.endswith("/"):
            return self
        newest = await newest_delivery(s3, self.location)
        return await self.model_copy(update={"uri": newest.uri}).pin(s3)

    async def survey(self, s3: S3Calls, columns: Sequence[str] = ()) -> Survey:
        """See `Manifest.survey`."""
        return await survey_of(self.uri, await self._files(s3, columns), s3)

    async def find_columns(self, s3: S3Calls, wanted: Sequence[str]) -> tuple[str, ...]:
        """See `Manifest.find_columns`."""
        return await columns_of(self.uri, await self._files(s3), s3, wanted)

    async def read(
        self, s3: S3Calls, partition: Partition, columns: Sequence[str] = ()
    ) -> AsyncGenerator[list[Entry], None]:
        """See `Manifest.read`."""
        async with aclosing(entries_of(await self._files(s3, columns), s3, partition)) as entries:
            async for some in entries:
                yield some

    async def pinned_objects(self, s3: S3Calls, partition: Partition) -> Sequence[ManifestObject]:
        """See `Manifest.pinned_objects`: manifest.json, and the partition's data files."""
        delivery = await self._delivery(s3)
        files = files_of(list(enumerate(delivery.files)), partition)
        return [self._pinned, *(self._data_object(number, file) for number, file in files)]

    async def batches(self, s3: S3Calls) -> AsyncIterator[pa.RecordBatch]:
        """See `Manifest.batches`."""
        async with aclosing(batches_of(await self._files(s3), s3)) as batches:
            async for batch in batches:
                yield batch

    async def _file_etags(self, files: Sequence[ListedFile], s3: S3Calls) -> tuple[str, ...]:
        """Look at all data files; what isn't as listed is an error.

        A file's ETag is its MD5 unless it was uploaded in parts or is encrypted by KMS, and needs no note then.
        """
        if self.file_etags and len(self.file_etags) != len(files):
            raise ManifestInvalid(self.uri, f"it lists {len(files)} files, and file_etags has {len(self.file_etags)}")

        async def look(number: int) -> str:
            file = files[number]
            found = await ManifestObject.find(s3, file.location, self._file_etag(number, file), None)
            if found.size != file.size:
                raise ManifestInvalid(
                    file.location.uri, f"it has {found.size:,} bytes where manifest.json says {file.size:,}"
                )
            return "" if found.etag == file.md5 else found.etag

        etags = await each(look, range(len(files)), at_once=_AT_ONCE)
        return tuple(etags) if any(etags) else ()

    def _file_etag(self, number: int, file: ListedFile) -> str | None:
        """What the file's ETag has to be; None if it isn't known yet."""
        if self.file_etags:
            return self.file_etags[number] or file.md5
        return None

    @property
    def _pinned(self) -> ManifestObject:
        if self.etag is None:
            raise InvalidInput(f"{printable(self.uri)} has to be pinned before it is read")
        return ManifestObject(self.location, self.etag.strip('"'), self.version_id)

    async def _delivery(self, s3: S3Calls) -> Delivery:
        return Delivery.parse(self.location, await _document(await self._pinned.looked_at(s3), s3))

    def _data_object(self, number: int, file: ListedFile) -> ManifestObject:
        etag = self._file_etag(number, file) or file.md5
        return ManifestObject(file.location, etag, size=file.size, gzipped=file.location.key.endswith(".gz"))

    async def _files(self, s3: S3Calls, columns: Sequence[str] = ()) -> list[DataFile]:
        delivery = await self._delivery(s3)
        return [self._file(delivery, number, file, tuple(columns)) for number, file in enumerate(delivery.files)]

    def _file(self, delivery: Delivery, number: int, file: ListedFile, facts: tuple[str, ...]) -> DataFile:
        found = self._data_object(number, file)
        md5 = file.md5 if self.verify_checksums else None
        latest_only, markers = self.latest_only is True, self.include_delete_markers is True
        if delivery.file_format != "CSV":
            columns = ColumnarLayout(inventory=True, latest_only=latest_only, delete_markers=markers, facts=facts)
            return ColumnarFile(found, columns, delivery.file_format, md5=md5)
        if latest_only and "VersionId" in delivery.fields and "IsLatest" not in delivery.fields:
            raise ManifestInvalid(self.uri, "latest_only needs the field IsLatest, which this inventory lacks")
        layout = CsvLayout(
            delivery.fields, inventory=True, latest_only=latest_only, delete_markers=markers, facts=facts
        )
        return CsvFile(found, layout, md5=md5)

    def arguments(self) -> dict[str, Any]:
        """AWS's JobManifest, with our options in Spec and what prepare noted in Location.

        A URI that is still a template stands in ObjectArn whole.
        """
        spec: dict[str, Any] = {"Format": self.aws_format}
        if self.latest_only is not False:
            spec["LatestOnly"] = self.latest_only
        if self.include_delete_markers is not False:
            spec["IncludeDeleteMarkers"] = self.include_delete_markers
        if self.verify_checksums is not True:
            spec["VerifyChecksums"] = self.verify_checksums
        location: dict[str, Any] = {"ObjectArn": arn_of(self.uri)}
        if self.version_id is not None:
            location["ObjectVersionId"] = self.version_id
        if self.etag is not None:
            location["ETag"] = self.etag
        if self.file_etags:
            location["FileETags"] = list(self.file_etags)
        return {"Spec": spec, "Location": location}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's JobManifest."""
        known_arguments(cls.__name__, arguments, {"Spec", "Location"})
        spec, location = arguments["Spec"], arguments.get("Location") or {}
        known_arguments(cls.__name__, spec, {"Format", "LatestOnly", "IncludeDeleteMarkers", "VerifyChecksums"})
        known_arguments(cls.__name__, location, {"ObjectArn", "ObjectVersionId", "ETag", "FileETags"})
        return cls(
            uri_of(location.get("ObjectArn", "")),
            etag=location.get("ETag"),
            version_id=location.get("ObjectVersionId"),
            latest_only=spec.get("LatestOnly", False),
            include_delete_markers=spec.get("IncludeDeleteMarkers", False),
            verify_checksums=spec.get("VerifyChecksums", True),
            file_etags=location.get("FileETags", ()),
        )


async def _document(found: ManifestObject, s3: S3Calls) -> bytes:
    """The bytes of a manifest.json."""
    if found.size > _DOCUMENT_MOST:
        raise ManifestInvalid(found.location.uri, f"it has {found.size:,} bytes, which is too much for a manifest.json")
    return await found.whole(s3)
