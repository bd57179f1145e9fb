"""`GeneratedManifest`: a question instead of a list. Prepare answers it, and writes down what it found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest.base import Manifest, Survey
from airflow_s3batch.core.partition import Partition
from airflow_s3batch.core.rows import Entry

__all__ = ["GeneratedManifest"]


class GeneratedManifest(Manifest):
    """Objects that must first be found: a member of AWS's JobManifestGenerator, or of our own beside it.

    A subclass has `resolve`, which writes what it found in the job's folder, as an inventory; the job is about that.
    Its id follows from the question, so that a retried prepare finds the list it made before.
    """

    if TYPE_CHECKING:  # pydantic gives every subclass an __init__ of its own fields, for a type checker

        def __init__(self, **fields: Any) -> None: ...

    aws_name: ClassVar[str]
    """The member's name: ``S3JobManifestGenerator``."""

    @property
    def location(self) -> S3Location:
        """It has none until it is resolved."""
        self._unresolved()

    async def pin(self, s3: S3Calls) -> Self:  # noqa: ARG002 - a question has nothing to pin
        """See `Manifest.pin`: the question as it is."""
        return self

    async def survey(self, s3: S3Calls, columns: Sequence[str] = ()) -> Survey:  # noqa: ARG002
        """It can't be read until it is resolved."""
        self._unresolved()

    def read(
        self,
        s3: S3Calls,  # noqa: ARG002
        partition: Partition,  # noqa: ARG002
        columns: Sequence[str] = (),  # noqa: ARG002
    ) -> AsyncIterator[list[Entry]]:
        """It can't be read until it is resolved."""
        self._unresolved()

    def _unresolved(self) -> NoReturn:
        raise InvalidInput(f"{type(self).__name__} has to be resolved before it is read")

    def to_aws(self) -> dict[str, Any]:
        """AWS's JobManifestGenerator: ``{"S3JobManifestGenerator": {...}}``."""
        return {self.aws_name: self.arguments()}
