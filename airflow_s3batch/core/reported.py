"""`read_report`: reads a completion report back, ours or AWS's; and `WrittenReport`, the report as it was found."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Literal, NamedTuple

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ReportError, S3Error, printable
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.results import REPORT_FORMAT, read_results
from airflow_s3batch.core.rows import Outcome

__all__ = ["WrittenReport", "find_report", "read_report", "report_place"]

_AHEAD = 4
"""Result files that are fetched before they are needed."""


_FILES = (".csv", ".csv.gz", ".json", ".md5")


def report_place(uri: str) -> S3Location:
    """The ``manifest.json`` of a completion report, by itself or by its job's folder.

    Raises:
        InvalidInput: `uri` is no S3 place, or a file that is no manifest.json.
    """
    place = S3Location.parse(uri)
    if place.key.endswith("manifest.json"):
        return place
    if place.key.endswith(_FILES):
        wrong = f"{printable(place.uri)} is a file, and no completion report"
        raise InvalidInput(f"{wrong}; write s3://…/job-…/manifest.json, or that folder")
    return S3Location(place.bucket, f"{place.key.rstrip('/')}/manifest.json".lstrip("/"))


class WrittenReport(NamedTuple):
    """A completion report, by what its ``manifest.json`` said when it was read."""

    results: tuple[Mapping[str, str], ...]
    """The result files: TaskExecutionStatus, Bucket, Key and MD5Checksum of each, in order."""

    @property
    def fingerprint(self) -> str:
        """The same text for the same result files in the same order, whenever the report was written."""
        told = json.dumps([sorted(result.items()) for result in self.results])
        return hashlib.md5(told.encode(), usedforsecurity=False).hexdigest()

    async def outcomes(
        self, s3: S3Calls, *, only: Literal["succeeded", "failed"] | None = None, plus_is_space: bool = False
    ) -> AsyncGenerator[Outcome, None]:
        """See `read_report`."""
        results = [result for result in self.results if only is None or result["TaskExecutionStatus"] == only]
        row = 1
        ahead: deque[asyncio.Task[bytes]] = deque()
        try:
            for at, result in enumerate(results):
                while at + len(ahead) < min(at + _AHEAD, len(results)):
                    ahead.append(asyncio.create_task(_verified(s3, results[at + len(ahead)])))
                body = await ahead.popleft()
                for outcome in read_results(body, _place(result).uri, row, plus_is_space=plus_is_space):
                    row += 1
                    yield outcome
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)


async def find_report(uri: str, s3: S3Calls) -> WrittenReport:
    """Read the ``manifest.json`` of a completion report, or the one in a job's folder.

    Raises:
        InvalidInput: `uri` is no S3 place.
        ReportError: it isn't there, or isn't one.
    """
    place = report_place(uri)
    return WrittenReport(_results(await _get(s3, place), place.uri))


async def read_report(
    uri: str, s3: S3Calls, *, only: Literal["succeeded", "failed"] | None = None, plus_is_space: bool = False
) -> AsyncGenerator[Outcome, None]:
    """Read a completion report back, ours or AWS's: every object's outcome, in the order of the report.

    Entries are numbered from 1. Memory holds a few result files.

    Args:
        uri: the report's ``manifest.json``, or the job's folder.
        s3: S3.
        only: the objects that have succeeded, or those that have failed; files of the others aren't fetched.
        plus_is_space: whether a ``+`` in a key means a space: in a report of AWS's about a job that had an inventory as
            its manifest. Ours spell a space ``%20``.

    Raises:
        InvalidInput: `uri` is no S3 place.
        ReportError: it isn't a completion report, or a file of it is missing or not the one that its MD5 names.
    """
    report = await find_report(uri, s3)
    async with aclosing(report.outcomes(s3, only=only, plus_is_space=plus_is_space)) as outcomes:
        async for outcome in outcomes:
            yield outcome


def _results(manifest: bytes, uri: str) -> tuple[Mapping[str, str], ...]:
    try:
        report = json.loads(manifest)
        form = report["Format"]
        results = [
            {name: str(result[name]) for name in ("TaskExecutionStatus", "Bucket", "Key", "MD5Checksum")}
            for result in report["Results"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{printable(uri)} is not a completion report's manifest.json: {error!r}") from error
    if form != REPORT_FORMAT:
        raise ReportError(f"{printable(uri)}: its format is {printable(form)}; only {REPORT_FORMAT} can be read")
    return tuple(results)


def _place(result: Mapping[str, str]) -> S3Location:
    return S3Location(result["Bucket"], result["Key"])


async def _verified(s3: S3Calls, result: Mapping[str, str]) -> bytes:
    body = await _get(s3, _place(result))
    if hashlib.md5(body, usedforsecurity=False).hexdigest() != result["MD5Checksum"].lower():
        raise ReportError(f"{printable(_place(result).uri)} isn't the file that the report names: its MD5 is another")
    return body


async def _get(s3: S3Calls, place: S3Location) -> bytes:
    try:
        body: bytes = (await s3.call("GetObject", Bucket=place.bucket, Key=place.key))["Body"]
    except S3Error as error:
        raise ReportError(f"the completion report can't be read: {error}") from error
    return body
