"""`Operation`: what is done to every object, in three kinds. One small class each; `operations/__init__.py` joins them.

====================  =====================================================================================
`RequestOperation`    one request an object, compiled once and filled in: the fastest
`StepsOperation`      several calls an object, written as a coroutine
`BatchOperation`      one call for many objects
====================  =====================================================================================
"""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Collection, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import RawCalls, S3Calls
from airflow_s3batch.core.errors import InvalidInput, S3Error
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.core.values import Value, known_arguments

__all__ = [
    "OPERATIONS",
    "RUNNING_JOB",
    "RUNNING_NOTES",
    "RUNNING_SINCE",
    "TARGET",
    "BatchOperation",
    "Notes",
    "Operation",
    "RequestOperation",
    "StepsOperation",
    "with_version",
]

OPERATIONS: dict[str, type[Operation]] = {}
"""Every operation by its member of AWS's JobOperation. A class that has a name of its own is in it once defined."""

TARGET = f"Target{secrets.token_hex(12)}"
"""Stands in a request's Key for what `RequestOperation.target_for` gives. Random, so that no key can hold it."""

RUNNING_JOB: ContextVar[str] = ContextVar("RUNNING_JOB", default="")
"""The id of the job that runs here, for what an operation tells others."""

RUNNING_SINCE: ContextVar[datetime | None] = ContextVar("RUNNING_SINCE", default=None)
"""When that job was created, by the clock of whoever prepared it; None where no job runs."""


class Notes(Protocol):
    """Notes of what was begun for an object, kept in the job's folder: whoever does it again after a kill reads them.

    Both raise `ReportError` where the folder can't be read or written.
    """

    async def read_note(self, row: int) -> dict[str, Any]:
        """The latest note about this row of the manifest, empty if there is none."""
        ...

    async def write_note(self, row: int, note: dict[str, Any]) -> None:
        """Write a note about this row down, instead of any before it."""
        ...


RUNNING_NOTES: ContextVar[Notes | None] = ContextVar("RUNNING_NOTES", default=None)
"""Those of the job that runs here; None where none does."""

_OURS = f"{__name__.partition('.')[0]}."


def with_version(parameters: dict[str, Any], version: str | None) -> dict[str, Any]:
    """The parameters about this version of the object, or about the current one."""
    return parameters if version is None else {**parameters, "VersionId": version}


def _all_of_ours() -> dict[str, type[Operation]]:
    """`OPERATIONS` with this package's own, which load when they are used, all in it."""
    loaded: dict[str, type[Operation]] = importlib.import_module(__package__).OPERATIONS
    return loaded


class Operation(Value):
    """What is done to every object of the manifest.

    Derive from one of its three kinds. A class with an ``aws_name`` of its own can be used in jobs as soon as it is
    defined; a DAG file that defines or imports it is parsed by every worker that runs its tasks.
    """

    if TYPE_CHECKING:  # pydantic gives every subclass an __init__ of its own fields, for a type checker; so below

        def __init__(self, **fields: Any) -> None: ...

    aws_name: ClassVar[str]
    """The operation's member of AWS's JobOperation: ``S3PutObjectTagging``."""
    instead_of_an_output: ClassVar[str] = (
        "give one for each text in it, or have the task return the whole operation in AWS's JSON and write "
        "operation=that"
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Enter the class in `OPERATIONS`.

        Raises:
            InvalidInput: its name is that of one of this package's operations.
        """
        name = cls.__dict__.get("aws_name")
        if name is None:
            return
        ours = cls.__module__.startswith(_OURS)
        known = (OPERATIONS if ours else _all_of_ours()).get(name)
        # A DAG file may be executed again, and defines its classes anew then.
        if known is not None and known.__module__.startswith(_OURS):
            raise InvalidInput(f"{cls.__qualname__}: {name} is {known.__qualname__}'s name; give it another aws_name")
        OPERATIONS[name] = cls

    @model_validator(mode="before")
    @classmethod
    def _check_name(cls, fields: Any) -> Any:
        if not getattr(cls, "aws_name", ""):
            raise InvalidInput(f'the class has no name; give it one, as aws_name: ClassVar[str] = "Acme{cls.__name__}"')
        return fields

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:  # noqa: ARG002
        """The calls that an ordinary object takes: S3 API actions and their parameters, as boto3 takes them.

        Prepare lets botocore check them, once a bucket, and estimates count them: none that they know of, by default.
        """
        return []

    async def look(self, bucket: str, s3: S3Calls) -> None:
        """Look whether objects of this bucket can be worked on at all; prepare asks once a bucket.

        Raises:
            InvalidInput: they can't.
            S3Error: S3 doesn't tell.
        """

    async def tell_loss(self, buckets: Sequence[str], s3: S3Calls, *, versions: bool) -> str:  # noqa: ARG002 - others do
        """What is gone for good once it is done to objects of these buckets: what it deletes, and nothing by default.

        Estimates ask, for whoever approves the job. What S3 doesn't tell is said, and is no error. `versions` is
        whether the manifest's rows name versions: all do, or none.
        """
        return ""

    @property
    def manifest_columns(self) -> tuple[str, ...]:
        """Columns of the manifest that it wants to see, by S3 Inventory's names.

        Its entries are `FactualEntry`s where the manifest has any of them.
        """
        return ()

    columns_needed: ClassVar[bool] = True
    """Whether prepare refuses a manifest that has none of `manifest_columns`."""

    def check_columns(self, found: Collection[str]) -> None:
        """See whether these of `manifest_columns`, at least one, are enough.

        Prepare asks before it reads the rows, if they are needed.

        Raises:
            InvalidInput: they aren't.
        """

    def check_job(self, rows: int, buckets: Sequence[str], now: datetime) -> None:
        """See whether it can be done to so many objects, of these buckets, at this time.

        Prepare asks once it has read the manifest.

        Raises:
            InvalidInput: it can't.
        """

    def rows_in_flight(self, in_flight: int) -> int:
        """Most objects that are worked on at the same time, with so many requests in flight."""
        return in_flight

    def arguments(self) -> dict[str, Any]:
        """The parameters in the words of its AWS structure (``{"TagSet": [...]}``); the fields by default."""
        return self.model_dump(mode="json")

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build the operation from `arguments`' JSON, as strictly as its constructor.

        Raises:
            InvalidInput: a parameter is unknown, missing or out of AWS's limits.
        """
        return cls(**known_arguments(cls.__name__, arguments, set(cls.model_fields)))

    def to_aws(self) -> dict[str, Any]:
        """AWS's JobOperation: ``{"S3PutObjectTagging": {...}}``."""
        return {self.aws_name: self.arguments()}


class RequestOperation(Operation):
    """One request an object.

    The engine asks for it once a bucket, with placeholders for key and version, lets botocore compile the answer, and
    fills in keys from then on: `request` must not look into them.
    """

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...

    error_in_body: ClassVar[bool] = False
    """Whether a 200 answer can hold an ``<Error>`` body, so that bodies must be looked at (CopyObject)."""

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """The S3 API action and its parameters (as boto3 takes them) for one object.

        A key that isn't the object's own, or with more than constants around it, is said by `TARGET`.
        """
        raise NotImplementedError

    @property
    def in_steps(self) -> bool:
        """Whether its parameters ask for more than that one request an object, so that `perform` does it instead."""
        return False

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Do it to one object, where `in_steps`.

        Returns and raises what `StepsOperation.perform` does.
        """
        raise NotImplementedError

    def target_for(self, entry: Entry) -> str:
        """What `TARGET` stands for, if `request` names it.

        Raises:
            ObjectFailed: nothing that S3 could take; the object's row says so, and no request is sent.
        """
        raise NotImplementedError

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:
        """The one request."""
        return [self.request(bucket, key, version)]

    async def rescue(self, entry: Entry, error: S3Error, s3: S3Calls) -> str | None:  # noqa: ARG002
        """Do by other means what S3 has refused for this object: None if there are none, and the error stands.

        Returns and raises what `StepsOperation.perform` does.
        """
        return None


class StepsOperation(Operation):
    """Several calls an object, or none that is S3's."""

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...

    most_at_once: ClassVar[int] = 10_000
    """Most objects at once, whatever `Limits.in_flight` says, where each takes memory."""

    def rows_in_flight(self, in_flight: int) -> int:
        """As many as lanes."""
        return min(in_flight, self.most_at_once)

    async def perform(self, entry: Entry, s3: S3Calls) -> str:
        """Do it to one object; return the result message for the report, empty for AWS's ``Successful``.

        Up to 1,000 characters of it are kept; what is no text fails the object (TypeError).

        Every call takes its turn in the job's limits. Calls of a shape that differ in key and version only are compiled
        once. Must be safe to repeat: a worker may be killed at any moment.

        Raises:
            ObjectFailed, S3Error: this object failed; its row says so, and the job goes on.
        """
        raise NotImplementedError


class BatchOperation(Operation):
    """One call for many objects."""

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...

    entries_per_request: ClassVar[int]
    """Most objects a call takes."""
    most_at_once: ClassVar[int] = 16
    """Most calls at once, whatever `Limits.in_flight` says: what a kill can repeat is as many objects as they carry."""

    def rows_in_flight(self, in_flight: int) -> int:
        """As many as the calls in flight carry."""
        return min(in_flight, self.most_at_once) * self.entries_per_request

    async def perform_many(self, entries: Sequence[Entry], s3: RawCalls) -> list[Outcome]:
        """Do it to these objects, of one or several buckets; return exactly one outcome each, in any order.

        Raises:
            S3Error: the call failed; so did all these objects.
        """
        raise NotImplementedError
