"""`Manifest`: the list of objects. One reader a format; `manifest/__init__.py` joins them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.partition import Mark, Partition
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Value

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_s3batch.core.manifest.object import ManifestObject

__all__ = ["Manifest", "Survey"]


class Survey(NamedTuple):
    """What one pass over a manifest found."""

    rows: int
    marks: list[Mark]
    """Places where the manifest can be cut, in order: the first row's and, last, the end's."""
    buckets: tuple[str, ...]
    """The buckets that occur, all of them, in order of appearance."""
    warnings: tuple[str, ...]
    """What a person should know and no rule forbids (a bare ``+`` in keys)."""


class Manifest(Value):
    """A list of objects in S3, in one of the formats AWS knows or we add."""

    if TYPE_CHECKING:  # pydantic gives every subclass an __init__ of its own fields, for a type checker

        def __init__(self, **fields: Any) -> None: ...

    aws_format: ClassVar[str]
    """AWS's JobManifestFormat: ``S3BatchOperations_CSV_20180820``."""
    instead_of_an_output: ClassVar[str] = (
        "give one for each text in it, or have the task return the whole manifest in AWS's JSON and write manifest=that"
    )

    @property
    def location(self) -> S3Location:
        """The manifest's object."""
        raise NotImplementedError

    async def pin(self, s3: S3Calls) -> Self:
        """The same manifest, bound to the object as it is now by its ETag, and by its version if it has one.

        Raises:
            ManifestError: it doesn't exist, can't be read, is empty, or isn't the one an ETag given before names.
        """
        raise NotImplementedError

    @property
    def is_fixed(self) -> bool:
        """Whether the pinned manifest gives the same list at every try. What is in a bucket changes."""
        return True

    async def resolve(self, s3: S3Calls, place: S3Location, now: datetime) -> Manifest:  # noqa: ARG002 - others do
        """The manifest to read: this one; or the pinned list, written to the folder `place`, of what this one asks for.

        `now` is the time of prepare.

        Raises:
            ManifestError: nothing was found, or the list can't be written.
            ManifestInvalid: nothing was found, and nothing will be by asking again.
        """
        return self

    async def survey(self, s3: S3Calls, columns: Sequence[str] = ()) -> Survey:
        """Read the pinned manifest once: check and count every row, and find places to cut it.

        Args:
            s3: S3.
            columns: those that `read` will be asked for.

        Raises:
            ManifestError: a row is wrong (names it), there is none, or `read` couldn't tell what stands in the columns.
            ManifestChanged: it is no longer the pinned object.
        """
        raise NotImplementedError

    async def find_columns(self, s3: S3Calls, wanted: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - as `batches`
        """Which of these columns the pinned manifest has, so that `read` can tell what stands in them.

        They are found by S3 Inventory's names (``size``, ``e_tag``), in upper and lower case, with and without
        underscores. Of a manifest of several files the first one tells.

        Raises:
            ManifestError: none of them, or several of one name; says which columns there are.
            InvalidInput: rows of such a manifest have no columns to speak of.
        """
        raise InvalidInput(f"{type(self).__name__} has no columns beside bucket, key and version: nothing to look up")

    def read(self, s3: S3Calls, partition: Partition, columns: Sequence[str] = ()) -> AsyncIterator[list[Entry]]:
        """The partition's entries in order, in lists of some thousands.

        With `columns` they are `FactualEntry`s, which tell what stands in these; plain ones if a file has none of them.

        Raises:
            ManifestError, ManifestChanged: as for `survey`.
        """
        raise NotImplementedError

    async def pinned_objects(self, s3: S3Calls, partition: Partition) -> Sequence[ManifestObject]:
        """The pinned objects that the partition's rows come from, for a run to look at while it goes on.

        Raises:
            ManifestError, ManifestChanged: as for `survey`.
        """
        raise NotImplementedError

    def batches(self, s3: S3Calls) -> AsyncIterator[pa.RecordBatch]:  # noqa: ARG002 - manifests with columns need it
        """The pinned manifest's rows with all their columns, in order: as many rows as `survey` counts.

        Columns have S3 Inventory's snake_case names: ``bucket``, ``key`` (decoded) and, where the manifest has them,
        ``version_id``, ``is_latest`` and ``is_delete_marker`` (bool), ``size`` (int64), ``last_modified_date``
        (timestamp in UTC), ``e_tag``, ``storage_class``, …; what is none of these has the file's own name and type.

        Raises:
            InvalidInput: rows of such a manifest have no columns to speak of.
            ManifestError, ManifestChanged: as for `survey`.
        """
        raise InvalidInput(f"{type(self).__name__} has no columns beside bucket, key and version: nothing to filter by")

    def arguments(self) -> dict[str, Any]:
        """The manifest as AWS's JobManifest: ``{"Spec": {"Format", "Fields"}, "Location": {"ObjectArn", "ETag"}}``."""
        raise NotImplementedError

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build the manifest from AWS's JobManifest, as strictly as the constructor.

        Raises:
            InvalidInput: a field is unknown, missing or wrong.
        """
        raise NotImplementedError

    def to_aws(self) -> dict[str, Any]:
        """AWS's JobManifest."""
        return self.arguments()
