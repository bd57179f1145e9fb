"""`FailedObjects`: the objects that failed in another job, by its completion report."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, field_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ManifestError, ManifestInvalid, ReportError, printable
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest.base import Manifest
from airflow_s3batch.core.manifest.generated import GeneratedManifest
from airflow_s3batch.core.manifest.object import ETag, ManifestObject
from airflow_s3batch.core.manifest.written import ManifestWriter, encoded
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.reported import read_report, report_place
from airflow_s3batch.core.rows import Entry, Outcome
from airflow_s3batch.core.values import Flag, Text, known_arguments

__all__ = ["FailedObjects"]

_SOME = 1000
"""Rows that are written at once."""
_SHOWN = 10
"""Codes of other failures that are named when there is no failure of the wanted ones."""


def _several(given: object) -> object:
    return (given,) if isinstance(given, str) else given


class FailedObjects(GeneratedManifest):
    """The failed objects of a job, ours or AWS's: ``FailedObjects("s3://lake/reports/job-…/manifest.json")``.

    Args:
        report: the ``manifest.json`` of the job's completion report, or its folder.
        codes: only those that failed with one of these error codes (``AccessDenied``).
        etag: run only if the ETag of that manifest.json is this one; its at the time of prepare if not given.
        plus_is_space: whether a ``+`` in the report's keys means a space. It does in a report of AWS's about a job that
            had an inventory as its manifest, and nothing in such a report says so.
    """

    aws_name: ClassVar[str] = "S3FailedObjects"

    report: Text
    codes: Annotated[tuple[Text, ...], BeforeValidator(_several)] = ()
    etag: ETag | None = None
    plus_is_space: Flag = False

    def __init__(
        self,
        report: str,
        *,
        codes: str | Sequence[str] = (),
        etag: str | None = None,
        plus_is_space: bool | str = False,
    ) -> None:
        super().__init__(report=report, codes=codes, etag=etag, plus_is_space=plus_is_space)

    @field_validator("report")
    @classmethod
    def _check_report(cls, report: str) -> str:
        if is_template(report):
            return report
        if not S3Location.parse(report).key:
            raise InvalidInput(f"{printable(repr(report))} names no report; write s3://…/job-…/manifest.json")
        report_place(report)
        return report

    async def pin(self, s3: S3Calls) -> Self:
        """See `Manifest.pin`: the report's manifest.json, which names its files by their MD5s."""
        found = await ManifestObject.find(s3, report_place(self.report), self.etag, None)
        return self.model_copy(update={"etag": found.etag})

    async def resolve(self, s3: S3Calls, place: S3Location, now: datetime) -> Manifest:
        """See `Manifest.resolve`."""
        await self.pin(s3)  # the report is still the one that was pinned …
        seen: Counter[str] = Counter()
        async with aclosing(self._failed(s3, seen)) as failed:
            first = await anext(failed, None)
            if first is None:
                raise ManifestInvalid(self.report, self._nothing(seen))
            versioned = first.version is not None
            fields = ("Bucket", "Key", "VersionId") if versioned else ("Bucket", "Key")
            async with ManifestWriter(s3, place, fields, now, asked=self._asked, of="failed object") as writer:
                some = [first]
                async for entry in failed:
                    if (entry.version is not None) is not versioned:
                        raise ManifestInvalid(self.report, _mixed(entry))
                    some.append(entry)
                    if len(some) >= _SOME:
                        await writer.add(_rows(some, versioned=versioned))
                        some = []
                await writer.add(_rows(some, versioned=versioned))
                await self.pin(s3)  # … and was so while it was read
                writer.seen = sum(seen.values())
                return await writer.finish()

    def _nothing(self, seen: Counter[str]) -> str:
        """Why there is nothing to do."""
        if not seen:
            return "no object failed in that job; a job needs at least one"
        codes = ", ".join(f"{printable(code)} ({count:,})" for code, count in seen.most_common(_SHOWN))
        more = ", …" if len(seen) > _SHOWN else ""
        wanted = " or ".join(map(printable, self.codes))
        return f"none of the {seen.total():,} failed objects failed with {wanted}; their codes are {codes}{more}"

    @property
    def _asked(self) -> str:
        return f"{self.report}, codes {', '.join(self.codes)}" if self.codes else self.report

    def _read(self, s3: S3Calls) -> AsyncGenerator[Outcome, None]:
        return read_report(self.report, s3, only="failed", plus_is_space=self.plus_is_space is True)

    async def _failed(self, s3: S3Calls, seen: Counter[str]) -> AsyncGenerator[Entry, None]:
        """The chosen ones; all of them are counted in `seen`, by their codes."""
        try:
            async with aclosing(self._read(s3)) as outcomes:
                async for outcome in outcomes:
                    seen[outcome.code] += 1
                    if not self.codes or outcome.code in self.codes:
                        yield outcome.entry
        except ReportError as error:
            raise ManifestError(self.report, str(error)) from error

    def arguments(self) -> dict[str, Any]:
        """``{"Report": "s3://…", "Codes": [...]}``, with the ETag once it is pinned."""
        told: dict[str, Any] = {"Report": self.report}
        if self.codes:
            told["Codes"] = list(self.codes)
        if self.etag is not None:
            told["ETag"] = self.etag
        if self.plus_is_space:
            told["PlusIsSpace"] = self.plus_is_space
        return told

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from `arguments`' JSON."""
        known_arguments(cls.aws_name, arguments, {"Report", "Codes", "ETag", "PlusIsSpace"})
        return cls(
            arguments.get("Report", ""),
            codes=arguments.get("Codes", ()),
            etag=arguments.get("ETag"),
            plus_is_space=arguments.get("PlusIsSpace", False),
        )


def _mixed(entry: Entry) -> str:
    has = (
        "has a version ID where others have none"
        if entry.version is not None
        else "has no version ID where others have one"
    )
    shown = printable(repr(entry.key))
    return f"failed object {shown} {has}; choose by codes= those that belong together"


def _rows(entries: Sequence[Entry], *, versioned: bool) -> list[tuple[str, ...]]:
    keys = encoded([entry.key for entry in entries])
    if versioned:
        return [(entry.bucket, key, entry.version or "") for key, entry in zip(keys, entries, strict=True)]
    return [(entry.bucket, key) for key, entry in zip(keys, entries, strict=True)]
