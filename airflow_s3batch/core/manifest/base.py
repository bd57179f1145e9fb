"""`Manifest`: the list of objects. One reader a format; `manifest/__init__.py` joins them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.partition import Mark, Partition
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.values import Value

__all__ = ["Manifest", "Survey"]


class Survey(NamedTuple):
    """What one pass over a manifest found."""

    rows: int
    marks: list[Mark]
    """Places where the manifest can be cut, in order: the first row's and, last, the end's."""
    buckets: tuple[str, ...]
    """The buckets that occur, up to 100, in order of appearance."""
    warnings: tuple[str, ...]
    """What a person should know and no rule forbids (a bare ``+`` in keys)."""


class Manifest(Value):
    """A list of objects in S3, in one of the formats AWS knows or we add."""

    if TYPE_CHECKING:  # pydantic gives every subclass an __init__ of its own fields, for a type checker

        def __init__(self, **fields: Any) -> None: ...

    aws_format: ClassVar[str]
    """AWS's JobManifestFormat: ``S3BatchOperations_CSV_20180820``."""

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

    async def survey(self, s3: S3Calls) -> Survey:
        """Read the pinned manifest once: check and count every row, and find places to cut it.

        Raises:
            ManifestError: a row is wrong (names it), or there is none.
            ManifestChanged: it is no longer the pinned object.
        """
        raise NotImplementedError

    def read(self, s3: S3Calls, partition: Partition) -> AsyncIterator[list[Entry]]:
        """The partition's entries in order, in lists of some thousands.

        Raises:
            ManifestError, ManifestChanged: as for `survey`.
        """
        raise NotImplementedError

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
