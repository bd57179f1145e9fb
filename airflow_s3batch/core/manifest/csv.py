"""`CsvManifest`: a CSV file that lists objects, AWS's ``S3BatchOperations_CSV_20180820`` and somewhat beyond."""

from __future__ import annotations

import csv
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator, model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ManifestInvalid, printable
from airflow_s3batch.core.location import S3Location, arn_of, uri_of
from airflow_s3batch.core.manifest.base import Manifest, Survey
from airflow_s3batch.core.manifest.csv_file import CsvFile
from airflow_s3batch.core.manifest.data_file import batches_of, columns_of, entries_of, survey_of
from airflow_s3batch.core.manifest.layout import CsvLayout
from airflow_s3batch.core.manifest.naming import (
    as_bucket_of_all,
    bucket_of_all,
    check_bucket_or_column,
    column_at,
    found_column,
)
from airflow_s3batch.core.manifest.object import ETag, ManifestObject, VersionId
from airflow_s3batch.core.partition import Partition
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Flag, Text, known_arguments

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CsvManifest"]

_NAMES_TAKEN = frozenset({"Bucket", "Key", "VersionId", "bucket", "key", "version_id"})

CsvField = Literal["Ignore", "Bucket", "Key", "VersionId"]


class CsvManifest(Manifest):
    """A CSV file in S3 that lists objects: ``CsvManifest("s3://lake/manifests/today.csv")``.

    One row an object, UTF-8, the same columns in every row, keys percent-encoded
    (``quote(key, safe="/")``). A ``+`` in a key means a plus sign: write a space as ``%20``. Plain text or gzip. All
    rows are checked before anything is touched.

    Args:
        uri: ``s3://bucket/key`` of the file.
        fields: what the columns are, in order: ``Bucket``, ``Key``, ``VersionId``, ``Ignore``.
            If not given: Bucket and Key.
        header: the first row names the columns; they are found by their names then, unless `fields` says what they are.
        bucket: with a header, the bucket column's name (``Bucket`` or ``bucket`` if not given); or ``s3://name``, the
            bucket of all rows.
        key: with a header, the key column's name (``Key`` or ``key`` if not given).
        version: with a header, the version column's name (``VersionId`` or ``version_id``, where there is one).
        etag: run only if the file's ETag is this one; the file's at the time of prepare if not given.
        version_id: this version of the file; the current one if not given.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-create-job.html#specify-batchjob-manifest
    """

    aws_format: ClassVar[str] = "S3BatchOperations_CSV_20180820"

    uri: Text
    fields: tuple[CsvField, ...] | None = ("Bucket", "Key")
    header: Flag = False
    bucket: Text | None = None
    key: Text | None = None
    version: Text | None = None
    etag: ETag | None = None
    version_id: VersionId | None = None

    def __init__(
        self,
        uri: str,
        *,
        fields: Sequence[str] | None = None,
        header: bool | str = False,
        bucket: str | None = None,
        key: str | None = None,
        version: str | None = None,
        etag: str | None = None,
        version_id: str | None = None,
    ) -> None:
        if isinstance(fields, str):
            columns = [name.strip() for name in fields.split(",")]
            raise InvalidInput(f"CsvManifest: fields={printable(repr(fields))} is one text; write {printable(columns)}")
        if fields is None and header in (False, "False", "false"):
            fields = ("Key",) if bucket is not None else ("Bucket", "Key")
        super().__init__(
            uri=uri,
            fields=None if fields is None else tuple(fields),
            header=header,
            bucket=bucket,
            key=key,
            version=version,
            etag=etag,
            version_id=version_id,
        )

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str) -> str:
        if not is_template(uri) and not S3Location.parse(uri).key:
            raise InvalidInput(f"{printable(repr(uri))} names no file; write s3://bucket/key")
        return uri

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, fields: tuple[CsvField, ...] | None) -> tuple[CsvField, ...] | None:
        for name in ("Bucket", "Key", "VersionId"):
            if (fields or ()).count(name) > 1:
                raise InvalidInput(f"{name} can be one column only; name the others Ignore")
        return fields

    @field_validator("bucket")
    @classmethod
    def _check_bucket(cls, bucket: str | None) -> str | None:
        return check_bucket_or_column(bucket)

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        if self.fields is None:
            return self
        everywhere = self.bucket is not None and (is_template(self.bucket) or bucket_of_all(self.bucket) is not None)
        named = {"bucket": None if everywhere else self.bucket, "key": self.key, "version": self.version}
        for name, column in named.items():
            if column is not None:
                wrong = f"{name}={printable(repr(column))} names a column: say header=True, and leave fields out"
                raise InvalidInput(f"{wrong}{as_bucket_of_all(column) if name == 'bucket' else ''}")
        for name in ("Key",) if everywhere else ("Bucket", "Key"):
            if name not in self.fields:
                raise InvalidInput(f"Required fields are missing in the schema: {name}")
        if everywhere and "Bucket" in self.fields:
            raise InvalidInput("bucket and the field Bucket both tell the bucket; name the column Ignore")
        return self

    @property
    def location(self) -> S3Location:
        """The file."""
        return S3Location.parse(self.uri)

    async def pin(self, s3: S3Calls) -> Self:
        """See `Manifest.pin`; columns that a header names have then been found."""
        found = await ManifestObject.find(s3, self.location, self.etag, self.version_id)
        fields: Sequence[str] | None = self.fields
        bucket = self.bucket
        if fields is None:
            fields = self._found_in(await self._header(found, s3))
            bucket = bucket if bucket_of_all(bucket) else None
        return type(self)(
            self.uri,
            fields=fields,
            header=self.header,
            bucket=bucket,
            etag=found.etag,
            version_id=found.version_id,
        )

    async def survey(self, s3: S3Calls, columns: Sequence[str] = ()) -> Survey:
        """See `Manifest.survey`."""
        return await survey_of(self.uri, [await self._file(s3, columns)], s3)

    async def find_columns(self, s3: S3Calls, wanted: Sequence[str]) -> tuple[str, ...]:
        """See `Manifest.find_columns`."""
        return await columns_of(self.uri, [CsvFile(self._pinned, await self._named_layout(s3))], s3, wanted)

    async def read(
        self, s3: S3Calls, partition: Partition, columns: Sequence[str] = ()
    ) -> AsyncGenerator[list[Entry], None]:
        """See `Manifest.read`."""
        async with aclosing(entries_of([await self._file(s3, columns)], s3, partition)) as entries:
            async for some in entries:
                yield some

    async def pinned_objects(self, s3: S3Calls, partition: Partition) -> Sequence[ManifestObject]:  # noqa: ARG002 - one file
        """See `Manifest.pinned_objects`."""
        return [self._pinned]

    async def batches(self, s3: S3Calls) -> AsyncIterator[pa.RecordBatch]:
        """See `Manifest.batches`."""
        async with aclosing(batches_of([CsvFile(self._pinned, await self._named_layout(s3))], s3)) as batches:
            async for batch in batches:
                yield batch

    @property
    def _pinned(self) -> ManifestObject:
        if self.etag is None or self.fields is None:
            raise InvalidInput(f"{printable(self.uri)} has to be pinned before it is read")
        return ManifestObject(self.location, self.etag.strip('"'), self.version_id)

    async def _file(self, s3: S3Calls, columns: Sequence[str]) -> CsvFile:
        layout = replace(await self._named_layout(s3), facts=tuple(columns)) if columns else self._layout
        return CsvFile(self._pinned, layout)

    @property
    def _layout(self) -> CsvLayout:
        return CsvLayout(self.fields or (), bucket_of_all(self.bucket), header=self.header is True)

    async def _named_layout(self, s3: S3Calls) -> CsvLayout:
        """The layout with the names that the header, if there is one, gives the other columns."""
        layout = self._layout
        if not layout.header:
            return layout
        names = await self._header(self._pinned, s3)
        if len(names) != len(layout.fields):
            wrong = f"the header names {len(names)} columns instead of {len(layout.fields)}"
            raise ManifestInvalid(self.uri, f"{wrong} ({','.join(layout.fields)})", row=1)
        # A column that has the name of bucket, key or version and isn't it is left out.
        told = (
            name if field == "Ignore" and name not in _NAMES_TAKEN else field
            for name, field in zip(names, layout.fields, strict=True)
        )
        return replace(layout, fields=tuple(told))

    async def _header(self, found: ManifestObject, s3: S3Calls) -> list[str]:
        """The names in the first row.

        Raises:
            ManifestError: they can't be read.
        """
        row = await CsvFile(found, CsvLayout(())).header(s3)
        try:
            return next(csv.reader([row.decode("utf-8-sig").removesuffix("\r")], strict=True), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise ManifestInvalid(self.uri, f"the header can't be read ({error})", row=1) from None

    def _found_in(self, names: Sequence[str]) -> tuple[str, ...]:
        """The fields, by the names in the header."""
        fields = ["Ignore"] * len(names)
        if bucket_of_all(self.bucket) is None:
            fields[found_column(self.uri, names, self.bucket, "Bucket")] = "Bucket"
        if (version := column_at(self.uri, names, self.version, "VersionId")) is not None:
            fields[version] = "VersionId"
        fields[found_column(self.uri, names, self.key, "Key")] = "Key"
        return tuple(fields)

    def arguments(self) -> dict[str, Any]:
        """AWS's JobManifest, with our Header, Bucket, Key and VersionId in Spec where they are given.

        A URI that is still a template stands in ObjectArn whole.
        """
        location: dict[str, Any] = {"ObjectArn": arn_of(self.uri)}
        if self.version_id is not None:
            location["ObjectVersionId"] = self.version_id
        if self.etag is not None:
            location["ETag"] = self.etag
        spec: dict[str, Any] = {"Format": self.aws_format}
        if self.fields is not None:
            spec["Fields"] = list(self.fields)
        if self.header is not False:
            spec["Header"] = self.header
        named = {"Bucket": self.bucket, "Key": self.key, "VersionId": self.version}
        return {
            "Spec": {**spec, **{name: told for name, told in named.items() if told is not None}},
            "Location": location,
        }

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's JobManifest."""
        known_arguments(cls.__name__, arguments, {"Spec", "Location"})
        spec, location = arguments["Spec"], arguments.get("Location") or {}
        known_arguments(cls.__name__, spec, {"Format", "Fields", "Header", "Bucket", "Key", "VersionId"})
        known_arguments(cls.__name__, location, {"ObjectArn", "ObjectVersionId", "ETag"})
        return cls(
            uri_of(location.get("ObjectArn", "")),
            fields=spec.get("Fields", None if spec.get("Header") else ()),
            header=spec.get("Header", False),
            bucket=spec.get("Bucket"),
            key=spec.get("Key"),
            version=spec.get("VersionId"),
            etag=location.get("ETag"),
            version_id=location.get("ObjectVersionId"),
        )
