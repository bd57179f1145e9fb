"""`CsvManifest`: a CSV file that lists objects, AWS's ``S3BatchOperations_CSV_20180820``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ManifestError, printable
from airflow_s3batch.core.location import S3Location, is_template
from airflow_s3batch.core.manifest.base import Manifest, Survey
from airflow_s3batch.core.manifest.csv_rows import CsvRows
from airflow_s3batch.core.manifest.object import ManifestObject
from airflow_s3batch.core.partition import Marks, Partition
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Text, known_arguments

__all__ = ["CsvManifest"]

CsvField = Literal["Ignore", "Bucket", "Key", "VersionId"]

_BLOCK = 64 * 1024
"""Bytes of whole rows that are worked on at once: about a thousand rows, which stay in the processor's cache."""
_ROW_MOST = 1024 * 1024
"""Bytes of a row; a longer one is no manifest's."""


class CsvManifest(Manifest):
    """A CSV file in S3 that lists objects: ``CsvManifest("s3://lake/manifests/today.csv")``.

    One row an object, no header, UTF-8 without BOM, the same columns in every row, keys percent-encoded
    (``quote(key, safe="/")``). A ``+`` in a key means a plus sign: write a space as ``%20``. All
    rows are checked before anything is touched.

    Args:
        uri: ``s3://bucket/key`` of the file.
        fields: what the columns are, in order: ``Bucket``, ``Key``, ``VersionId``, ``Ignore``.
        etag: run only if the file's ETag is this one; the file's at the time of prepare if not given.
        version_id: this version of the file; the current one if not given.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-create-job.html#specify-batchjob-manifest
    """

    aws_format: ClassVar[str] = "S3BatchOperations_CSV_20180820"

    uri: Text
    fields: tuple[CsvField, ...] = ("Bucket", "Key")
    etag: Annotated[Text, Field(min_length=1, max_length=1024)] | None = None
    version_id: Annotated[Text, Field(min_length=1, max_length=2000)] | None = None

    def __init__(
        self,
        uri: str,
        *,
        fields: Sequence[str] = ("Bucket", "Key"),
        etag: str | None = None,
        version_id: str | None = None,
    ) -> None:
        super().__init__(uri=uri, fields=tuple(fields), etag=etag, version_id=version_id)

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str) -> str:
        if not is_template(uri) and not S3Location.parse(uri).key:
            raise InvalidInput(f"{printable(repr(uri))} names no file; write s3://bucket/key")
        return uri

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, fields: tuple[CsvField, ...]) -> tuple[CsvField, ...]:
        for name in ("Bucket", "Key"):
            if name not in fields:
                raise InvalidInput(f"Required fields are missing in the schema: {name}")
        for name in ("Bucket", "Key", "VersionId"):
            if fields.count(name) > 1:
                raise InvalidInput(f"{name} can be one column only; name the others Ignore")
        return fields

    @property
    def location(self) -> S3Location:
        """The file."""
        return S3Location.parse(self.uri)

    async def pin(self, s3: S3Calls) -> Self:
        """See `Manifest.pin`."""
        found = await ManifestObject.find(s3, self.location, self.etag, self.version_id)
        return type(self)(self.uri, fields=self.fields, etag=found.etag, version_id=found.version_id)

    async def survey(self, s3: S3Calls) -> Survey:
        """See `Manifest.survey`."""
        found = await ManifestObject.find(s3, self.location, self.etag, self.version_id)
        reader, marks = CsvRows(self.uri, self.fields), Marks()
        row, offset = 1, 0
        async for block in self._blocks(found, s3, 0, found.size):
            rows = reader.check(block, row)
            marks.add(block, row, rows, offset)
            row += rows
            offset += len(block)
        return Survey(row - 1, marks.ended(row, offset), reader.buckets, reader.warnings)

    async def read(self, s3: S3Calls, partition: Partition) -> AsyncIterator[list[Entry]]:
        """See `Manifest.read`."""
        if self.etag is None:
            raise InvalidInput(f"{printable(self.uri)} has to be pinned before it is read")
        found = ManifestObject(self.location, self.etag.strip('"'), self.version_id)
        reader, row = CsvRows(self.uri, self.fields), partition.first_row
        async for block in self._blocks(found, s3, partition.start, partition.end):
            entries = reader.entries(block, row)
            row += len(entries)
            yield entries

    async def _blocks(self, found: ManifestObject, s3: S3Calls, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from start to end, in blocks of whole rows."""
        rest = b""
        async for piece in found.ranges(s3, start, end):
            data, at = rest + piece, 0
            while len(data) - at > _BLOCK:
                cut = data.rfind(b"\n", at, at + _BLOCK) + 1 or data.find(b"\n", at + _BLOCK) + 1
                if not cut:
                    break
                yield data[at:cut]
                at = cut
            cut = max(at, data.rfind(b"\n") + 1)
            if cut > at:
                yield data[at:cut]
            rest = data[cut:]
            if len(rest) > _ROW_MOST:
                raise ManifestError(self.uri, f"a row of over {_ROW_MOST} bytes; is this a CSV file, uncompressed?")
        if rest:
            yield rest

    def arguments(self) -> dict[str, Any]:
        """AWS's JobManifest; a URI that is still a template stands in ObjectArn whole."""
        location: dict[str, Any] = {"ObjectArn": self.uri if is_template(self.uri) else self.location.arn}
        if self.version_id is not None:
            location["ObjectVersionId"] = self.version_id
        if self.etag is not None:
            location["ETag"] = self.etag
        return {"Spec": {"Format": self.aws_format, "Fields": list(self.fields)}, "Location": location}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's JobManifest."""
        known_arguments(cls.__name__, arguments, {"Spec", "Location"})
        spec, location = arguments["Spec"], arguments.get("Location") or {}
        known_arguments(cls.__name__, spec, {"Format", "Fields"})
        known_arguments(cls.__name__, location, {"ObjectArn", "ObjectVersionId", "ETag"})
        arn = location.get("ObjectArn", "")
        return cls(
            S3Location.from_arn(arn).uri if arn.startswith("arn:") else arn,
            fields=spec.get("Fields", ()),
            etag=location.get("ETag"),
            version_id=location.get("ObjectVersionId"),
        )
