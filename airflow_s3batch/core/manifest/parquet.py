"""`ParquetManifest`: Parquet files of your own that list objects."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ManifestError, ManifestInvalid, S3Error, printable
from airflow_s3batch.core.location import S3Location, arn_of, uri_of
from airflow_s3batch.core.manifest.base import Manifest, Survey
from airflow_s3batch.core.manifest.columnar_file import ColumnarFile
from airflow_s3batch.core.manifest.data_file import DataFile, batches_of, columns_of, entries_of, files_of, survey_of
from airflow_s3batch.core.manifest.glob import Glob
from airflow_s3batch.core.manifest.layout import ColumnarLayout
from airflow_s3batch.core.manifest.naming import bucket_of_all, check_bucket_or_column
from airflow_s3batch.core.manifest.object import ManifestObject
from airflow_s3batch.core.pages import list_pages
from airflow_s3batch.core.partition import Partition
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Text, known_arguments

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ParquetManifest"]

_WILDCARDS = re.compile(r"\*\*|\*|\?")
_FILES_MOST = 10_000
"""Files of a manifest: job.json names them all."""


class ParquetManifest(Manifest):
    """Parquet files in S3 that list objects: ``ParquetManifest("s3://lake/exports/2026-11-01/*.parquet")``.

    One row an object; the columns are found by their names, keys stand in them as S3 stores them (not percent-encoded).
    Needs ``pip install 'airflow-provider-s3batch[parquet]'``.

    Args:
        uri: ``s3://bucket/key`` of a file, or a pattern: ``*``, ``?`` stand for what is no slash, ``**`` for anything.
        bucket: the bucket column's name (``bucket`` if not given); or ``s3://name``, the bucket of all rows.
        key: the key column's name (``key`` if not given).
        version: the version column's name (``version_id``, where there is one, if not given). All rows have a version
            then, or none has.
        files: noted by prepare: the files, as pairs of key and ETag. What is given is held to.
    """

    aws_format: ClassVar[str] = "S3BatchOperations_Parquet_20261124"
    """Ours, named as AWS names its formats."""

    uri: Text
    bucket: Text | None = None
    key: Text | None = None
    version: Text | None = None
    files: tuple[tuple[str, str], ...] = ()

    def __init__(
        self,
        uri: str,
        *,
        bucket: str | None = None,
        key: str | None = None,
        version: str | None = None,
        files: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__(uri=uri, bucket=bucket, key=key, version=version, files=tuple(map(tuple, files)))

    @field_validator("uri")
    @classmethod
    def _check_uri(cls, uri: str) -> str:
        if not is_template(uri) and not S3Location.parse(uri).key:
            raise InvalidInput(f"{printable(repr(uri))} names no file; write s3://bucket/key or s3://bucket/folder/*")
        return uri

    @field_validator("bucket")
    @classmethod
    def _check_bucket(cls, bucket: str | None) -> str | None:
        return check_bucket_or_column(bucket)

    @property
    def location(self) -> S3Location:
        """The file, or the pattern."""
        return S3Location.parse(self.uri)

    async def pin(self, s3: S3Calls) -> Self:
        """See `Manifest.pin`; a pattern has then become files, in the order of their keys."""
        if self.files:
            return self
        if _wild(self.location.key):
            return self.model_copy(update={"files": tuple(await _matching(s3, self.location))})
        found = await ManifestObject.find(s3, self.location, None, None)
        return self.model_copy(update={"files": ((found.location.key, found.etag),)})

    async def survey(self, s3: S3Calls, columns: Sequence[str] = ()) -> Survey:
        """See `Manifest.survey`."""
        return await survey_of(self.uri, self._data_files(columns), s3)

    async def find_columns(self, s3: S3Calls, wanted: Sequence[str]) -> tuple[str, ...]:
        """See `Manifest.find_columns`."""
        return await columns_of(self.uri, self._data_files(), s3, wanted)

    async def read(
        self, s3: S3Calls, partition: Partition, columns: Sequence[str] = ()
    ) -> AsyncGenerator[list[Entry], None]:
        """See `Manifest.read`."""
        async with aclosing(entries_of(self._data_files(columns), s3, partition)) as entries:
            async for some in entries:
                yield some

    async def pinned_objects(self, s3: S3Calls, partition: Partition) -> Sequence[ManifestObject]:  # noqa: ARG002 - it is noted
        """See `Manifest.pinned_objects`."""
        files = files_of(self.files, partition)
        return [ManifestObject(S3Location(self.location.bucket, key), etag) for key, etag in files]

    async def batches(self, s3: S3Calls) -> AsyncIterator[pa.RecordBatch]:
        """See `Manifest.batches`."""
        async with aclosing(batches_of(self._data_files(), s3)) as batches:
            async for batch in batches:
                yield batch

    def _data_files(self, columns: Sequence[str] = ()) -> list[DataFile]:
        if not self.files:
            raise InvalidInput(f"{printable(self.uri)} has to be pinned before it is read")
        everywhere = bucket_of_all(self.bucket)
        column = self.bucket if everywhere is None else None
        layout = ColumnarLayout(column, self.key, self.version, bucket_of_all=everywhere, facts=tuple(columns))
        objects = [ManifestObject(S3Location(self.location.bucket, key), etag) for key, etag in self.files]
        return [ColumnarFile(found, layout, "Parquet") for found in objects]

    def arguments(self) -> dict[str, Any]:
        """The manifest in the form of AWS's JobManifest, a URI (which may be a template) whole in ObjectArn."""
        named = {"Bucket": self.bucket, "Key": self.key, "VersionId": self.version}
        location: dict[str, Any] = {"ObjectArn": arn_of(self.uri)}
        if self.files:
            location["Files"] = [list(file) for file in self.files]
        spec = {name: told for name, told in named.items() if told is not None}
        return {"Spec": {"Format": self.aws_format, **spec}, "Location": location}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from what `arguments` gave."""
        known_arguments(cls.__name__, arguments, {"Spec", "Location"})
        spec, location = arguments["Spec"], arguments.get("Location") or {}
        known_arguments(cls.__name__, spec, {"Format", "Bucket", "Key", "VersionId"})
        known_arguments(cls.__name__, location, {"ObjectArn", "Files"})
        return cls(
            uri_of(location.get("ObjectArn", "")),
            bucket=spec.get("Bucket"),
            key=spec.get("Key"),
            version=spec.get("VersionId"),
            files=location.get("Files", ()),
        )


def _wild(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


async def _matching(s3: S3Calls, location: S3Location) -> list[tuple[str, str]]:
    """Keys and ETags of the objects that match the pattern, in order, without empty ones (folders of the console).

    Raises:
        ManifestError: none does, too many do, or they can't be listed.
    """
    wanted = Glob(location.key, _WILDCARDS)
    found: list[tuple[str, str]] = []
    prefix = _WILDCARDS.split(location.key, maxsplit=1)[0]
    try:
        async with aclosing(list_pages(s3, Bucket=location.bucket, Prefix=prefix)) as pages:
            async for page in pages:
                listed = [one for one in page.get("Contents", ()) if one["Size"] and wanted.matches(one["Key"])]
                found += [(one["Key"], one.get("ETag", "").strip('"')) for one in listed]
                if len(found) > _FILES_MOST:
                    raise ManifestInvalid(location.uri, f"over {_FILES_MOST:,} files match; write fewer, larger ones")
    except S3Error as error:
        wrong = f"the files can't be listed: {printable(error.code)}: {printable(error.message)}"
        raise ManifestError(location.uri, wrong, code=error.code) from error
    if not found:
        raise ManifestError(location.uri, "no file matches, or all are empty")
    if untold := [key for key, etag in found if not etag]:
        wrong = f"the store lists {printable(untold[0])} without the ETag that would tell if it changes"
        raise ManifestInvalid(location.uri, f"{wrong}; name one file instead of a pattern")
    return found
