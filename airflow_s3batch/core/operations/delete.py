"""DeleteObjects: delete every object, up to 1,000 a request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import PrivateAttr
from typing_extensions import Self

from airflow_s3batch.core.calls import RawCalls, S3Calls
from airflow_s3batch.core.errors import CredentialsRefused, InvalidInput, S3Error, Unreachable, printable
from airflow_s3batch.core.operations.base import BatchOperation, with_version
from airflow_s3batch.core.operations.delete_xml import Name, fits, refusals, written
from airflow_s3batch.core.operations.versioning import ENABLED, told_loss, versioning_of
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.core.values import Flag, known_arguments

__all__ = ["BatchSize", "DeleteObjects"]

_MOST = 1_000
"""Objects a request: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html"""

# What fewer objects at once may get through: the server is slow, busy, or doesn't take as many.
_STATUS = frozenset({413, 500, 502, 503, 504})
_CODES = frozenset(
    {"InternalError", "MalformedXML", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown"}
)


@dataclass
class BatchSize:
    """How many objects to ask for at once: 1,000, and fewer for a store that can't do so many in time.

    Halved when a request was too much, doubled again after some that weren't: after twice as many each time that
    doubling has turned out to be too much.
    """

    # Not compared: what an operation has learned from a store is no part of what was asked for.
    objects: int = field(default=_MOST, compare=False)
    _patience: int = field(default=4, compare=False)
    _worked: int = field(default=0, compare=False)
    _doubled: bool = field(default=False, compare=False)

    def too_many(self, objects: int) -> None:
        """A request for so many was too much."""
        halved = max(1, objects // 2)
        if halved >= self.objects:  # others in flight were first
            return
        self.objects, self._worked = halved, 0
        if self._doubled:
            self._patience, self._doubled = min(2 * self._patience, 256), False

    def worked(self, objects: int) -> None:
        """A request for so many was done."""
        if objects < self.objects or self.objects == _MOST:
            return
        self._worked += 1
        if self._worked >= self._patience:
            self.objects, self._worked, self._doubled = min(2 * self.objects, _MOST), 0, True


class DeleteObjects(BatchOperation):
    """Delete every object: ``DeleteObjects()``.

    A row with a version deletes that version, for good. A row without one puts a delete marker on the object where
    the bucket keeps versions, and deletes it for good where it doesn't. What isn't there counts as deleted, as in S3.

    Args:
        bypass_governance: also delete versions under GOVERNANCE retention (takes ``s3:BypassGovernanceRetention``).
        markers_only: delete nothing for good: refuse buckets that don't keep versions, and fail rows that name one.

    No operation of AWS's.
    """

    aws_name: ClassVar[str] = "S3DeleteObjects"
    entries_per_request: ClassVar[int] = _MOST

    bypass_governance: Flag = False
    markers_only: Flag = False
    _size: BatchSize = PrivateAttr(default_factory=BatchSize)

    def __init__(self, *, bypass_governance: bool | str = False, markers_only: bool | str = False) -> None:
        super().__init__(bypass_governance=bypass_governance, markers_only=markers_only)

    def requests(self, bucket: str, key: str, version: str | None) -> list[tuple[str, dict[str, Any]]]:
        """One DeleteObjects of one object."""
        sample: dict[str, Any] = {"Objects": [with_version({"Key": key}, version)], "Quiet": True}
        return [("DeleteObjects", {"Bucket": bucket, "Delete": sample, **self._bypass()})]

    async def look(self, bucket: str, s3: S3Calls) -> None:
        """With `markers_only`, see that the bucket keeps versions.

        Raises:
            InvalidInput: it doesn't.
            S3Error: S3 doesn't tell (it takes ``s3:GetBucketVersioning``).
        """
        if not self.markers_only:
            return
        status = await versioning_of(bucket, s3)
        if status != ENABLED:  # under Suspended, a marker takes the place of the null version
            raise InvalidInput(
                f"DeleteObjects(markers_only=True): versioning of bucket {printable(bucket)} is "
                f"{printable(status or 'not enabled')}, so that deleting would destroy objects; enable it first"
            )

    async def tell_loss(self, buckets: Sequence[str], s3: S3Calls, *, versions: bool) -> str:
        """The objects, where no versions are kept; versions that rows name, unless `markers_only`."""
        if not versions:
            return await told_loss(buckets, s3, objects="the objects")
        if self.markers_only:
            return "rows name versions, and fail: with markers_only none of them is deleted"
        return "rows name versions: those versions are gone for good"

    async def perform_many(self, entries: Sequence[Entry], s3: RawCalls) -> list[Outcome]:
        """Delete these objects, those of each bucket together; an object that several rows name is asked for once."""
        groups: dict[tuple[str, bool], list[Entry]] = {}
        for entry in entries:
            groups.setdefault((entry.bucket, entry.version is None), []).append(entry)
        outcomes: list[Outcome] = []
        for (bucket, current), some in groups.items():
            if self.markers_only and not current:
                told = "The row names a version, which markers_only keeps from being deleted for good."
                outcomes += [Outcome(entry, False, 400, "InvalidRequest", told) for entry in some]  # noqa: FBT003
                continue
            deletion = _Deletion(bucket, s3, self._size, self._bypass())
            failed = await deletion.of(list(dict.fromkeys([(key, version) for _, _, key, version, _ in some])))
            outcomes += _outcomes(some, failed)
        return outcomes

    def arguments(self) -> dict[str, Any]:
        """Our two, in AWS's manner."""
        markers = {} if self.markers_only is False else {"MarkersOnly": self.markers_only}
        return {**self._bypass(), **markers}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from `arguments`' JSON."""
        known_arguments(cls.__name__, arguments, {"BypassGovernanceRetention", "MarkersOnly"})
        return cls(
            bypass_governance=arguments.get("BypassGovernanceRetention", False),
            markers_only=arguments.get("MarkersOnly", False),
        )

    def _bypass(self) -> dict[str, Any]:
        return {} if self.bypass_governance is False else {"BypassGovernanceRetention": self.bypass_governance}


class _Deletion:
    """Deletes objects of one bucket."""

    def __init__(self, bucket: str, s3: RawCalls, size: BatchSize, bypass: Mapping[str, Any]) -> None:
        self._bucket = bucket
        self._s3 = s3
        self._size = size
        self._bypass = bypass

    async def of(self, names: list[Name]) -> dict[Name, S3Error]:
        """Delete these, all with a version or all without; return those that couldn't be, and why.

        Raises:
            Unreachable: no request got through.
        """
        alone: list[Name] = []
        together = names
        if not fits([text for name in names for text in name if text is not None]):
            together = [name for name in names if fits([text for text in name if text is not None])]
            fitting = set(together)
            alone = [name for name in names if name not in fitting]
        failed = await self._together(together)
        # Where a smaller request may help, the smallest gets the engine's patience.
        alone += [name for name, error in failed.items() if _is_too_much(error)]
        for name, error in zip(alone, await asyncio.gather(*map(self._alone, alone)), strict=True):
            failed.pop(name, None)
            if error is not None:
                failed[name] = error
        if len(failed) == len(names) and all(isinstance(error, Unreachable) for error in failed.values()):
            raise failed[names[0]]
        return failed

    async def _together(self, names: list[Name]) -> dict[Name, S3Error]:
        failed: dict[Name, S3Error] = {}
        at = 0
        while at < len(names):
            some = names[at : at + self._size.objects]
            try:
                failed |= await self._request(some)
            except CredentialsRefused:
                raise
            except S3Error as error:
                if len(some) > 1 and _is_too_much(error):
                    self._size.too_many(len(some))
                    continue
                return failed | dict.fromkeys(names[at:], error)  # the others would fare no better
            self._size.worked(len(some))
            at += len(some)
        return failed

    async def _request(self, names: list[Name]) -> dict[Name, S3Error]:
        """Ask for these at once.

        Raises:
            S3Error: the request failed as a whole.
        """
        sample = {"Objects": [{"Key": "key"}], "Quiet": True}
        answer = await self._s3.post(
            "DeleteObjects", written(names), Bucket=self._bucket, Delete=sample, **self._bypass
        )
        try:
            refused = refusals(answer)
        except ValueError as error:
            raise self._error("", "InternalError", f"The answer can't be read: {error}") from None
        asked = set(names) if refused else ()
        failed = {}
        for (key, version), (code, message) in refused.items():
            # Some stores give a version where none was asked for.
            name = (key, None if names[0][1] is None else version)
            if name not in asked:
                raise self._error(
                    key, "InternalError", f"S3 tells of an object that wasn't asked for ({code}: {message})"
                )
            failed[name] = self._error(key, code, message)
        return failed

    async def _alone(self, name: Name) -> S3Error | None:
        """Delete one object by a request of its own; return why it couldn't be."""
        key, version = name
        place = with_version({"Bucket": self._bucket, "Key": key}, version)
        try:
            await self._s3.call("DeleteObject", **place, **self._bypass)
        except CredentialsRefused:
            raise
        except S3Error as error:
            return error
        return None

    def _error(self, key: str, code: str, message: str) -> S3Error:
        resource = f"s3://{self._bucket}/{key}"
        return S3Error("DeleteObjects", resource, status=200, code=code, message=message)


def _is_too_much(error: S3Error) -> bool:
    return error.status in _STATUS or error.code in _CODES


def _outcomes(entries: list[Entry], failed: Mapping[Name, S3Error]) -> list[Outcome]:
    if not failed:
        return [Outcome(entry, True, 200, "", "Successful") for entry in entries]  # noqa: FBT003
    outcomes = []
    for entry in entries:
        error = failed.get((entry.key, entry.version))
        told = (True, 200, "", "Successful") if error is None else (False, error.status, error.code, error.message)
        outcomes.append(Outcome(entry, *told))
    return outcomes
