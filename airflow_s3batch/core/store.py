"""`JobFolder`: the job's folder in S3, which is the truth about a job. The one place that knows its names.

::

    <report>/job-<id>/
        job.json                               the job: CreateJob's words, and what prepare found
        status.json                            DescribeJob's words
        partitions/<n>/checkpoint-<k>.json     the commit marker of a batch of outcomes
        partitions/<n>/attempt.json            the latest attempt: its number and, at its end, what came of it
        running/<n>                            a sign of life, while requests a second are shared
        results/<40 hex>.csv                   rows of the completion report
        manifest.json.md5, manifest.json       AWS's report manifest, written last, in this order

What is written once (``job.json``, checkpoints) is written with ``If-None-Match: *``, so that of two runs at once only
one writes the partition's history. A store that doesn't know the condition (501) or ignores it works as well, with that
one guard less.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.checkpoint import Attempt, Checkpoint, ResultFile
from airflow_s3batch.core.errors import JobConflict, ReportError, S3Error
from airflow_s3batch.core.job import Job
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.status import JobState

__all__ = ["UNWRITABLE", "JobFolder"]

UNWRITABLE = "The job report could not be written to your report bucket. Please check your permissions."
"""AWS's words."""

_AT_ONCE = 32
"""Calls at once where a folder's many small objects are read."""
_CHECKPOINT = re.compile(r"checkpoint-([0-9]+)\.json")
_HTTP_CONFLICT, _HTTP_PRECONDITION, _HTTP_NOT_IMPLEMENTED = 409, 412, 501

T = TypeVar("T")


class JobFolder:
    """The folder of one job.

    Every method raises `ReportError` where S3 can't be read or written, and every one that reads `JobConflict` where
    what it finds isn't what this package writes there.
    """

    def __init__(self, s3: S3Calls, place: S3Location, job_id: str) -> None:
        """Take the folder of job `job_id` in the report's `place`."""
        self._s3 = s3
        self._bucket = place.bucket
        self._prefix = f"{place.key}/job-{job_id}/" if place.key else f"job-{job_id}/"
        self.job_id = job_id

    @classmethod
    def of(cls, s3: S3Calls, job: Job) -> JobFolder:
        """The folder of a prepared job."""
        return cls(s3, job.spec.report.place, job.job_id)

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix/job-<id>/``."""
        return S3Location(self._bucket, self._prefix).uri

    @property
    def report_uri(self) -> str:
        """Where the completion report's ``manifest.json`` is, or will be."""
        return f"{self.uri}manifest.json"

    # The job and its status

    async def read_job(self) -> Job | None:
        """The job, None if it hasn't been prepared."""
        return await self._read("job.json", Job.from_aws)

    async def create_job(self, job: Job) -> Job:
        """Write a new job down, and return what the folder holds then: this job, or the one that was there first."""
        if await self._create("job.json", _readable(job.to_aws())):
            return job
        return await self.read_job() or job

    async def write_job(self, job: Job) -> None:
        """Write a job down again, with other limits or another description."""
        await self._write("job.json", _readable(job.to_aws()))

    async def read_state(self) -> JobState | None:
        """Where the job stands, None if nothing was written yet."""
        return await self._read("status.json", JobState.from_aws)

    async def write_state(self, state: JobState) -> None:
        """Write down where the job stands."""
        await self._write("status.json", _readable(state.to_aws()))

    # What the runs of a partition leave behind

    async def read_attempt(self, partition: int) -> Attempt | None:
        """The latest attempt at a partition, None if there was none."""
        return await self._read(f"partitions/{partition}/attempt.json", Attempt.from_json)

    async def read_attempts(self, partitions: Iterable[int]) -> list[Attempt | None]:
        """The latest attempts at these partitions, in their order."""
        return await _each(self.read_attempt, list(partitions))

    async def write_attempt(self, partition: int, attempt: Attempt) -> None:
        """Write the latest attempt down, over the one before."""
        await self._write(f"partitions/{partition}/attempt.json", _compact(attempt.to_json()))

    async def read_checkpoints(self, partition: int) -> list[Checkpoint]:
        """A partition's checkpoints, in order of their numbers."""
        folder = f"partitions/{partition}/"
        names = [name for name in await self._list(folder) if _CHECKPOINT.fullmatch(name)]
        names.sort(key=lambda name: int(name[len("checkpoint-") : -len(".json")]))
        read = await _each(lambda name: self._read(folder + name, Checkpoint.from_json), names)
        return [checkpoint for checkpoint in read if checkpoint is not None]

    async def write_checkpoint(self, partition: int, checkpoint: Checkpoint) -> None:
        """Commit a batch: its result files have been written before.

        Raises:
            JobConflict: another run of the partition has written a checkpoint of this number.
        """
        name = f"partitions/{partition}/checkpoint-{checkpoint.number:06}.json"
        if not await self._create(name, _compact(checkpoint.to_json())):
            raise JobConflict(
                f"job {self.job_id}, partition {partition}: another run of this partition has written {name}; "
                "let one of the two end, then run it again: it goes on from what both have done"
            )

    async def show_running(self, partition: int, *, fresh: float) -> int:
        """Leave a sign that the partition runs; return how many have, in the last so many seconds (at least 1)."""
        await self._write(f"running/{partition}", b"")
        signs: dict[str, float] = {
            found["Key"]: found["LastModified"].timestamp() for found in await self._found("running/")
        }
        mine = signs.get(f"{self._prefix}running/{partition}", 0.0)
        return max(1, sum(sign >= mine - fresh for sign in signs.values()))

    async def write_result(self, body: bytes, *, succeeded: bool, batch: str) -> ResultFile:
        """Write a file of report rows, all succeeded or all failed.

        Its name follows from its content and from `batch`, which names the batch: a repeat overwrites itself and
        nothing else.
        """
        name = hashlib.sha1(f"{batch}\n".encode() + body, usedforsecurity=False).hexdigest()
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        await self._write(f"results/{name}.csv", body, "text/csv")
        return ResultFile(name, succeeded, md5)

    # The completion report

    def report_entry(self, file: ResultFile) -> dict[str, str]:
        """A result file as AWS's report manifest lists it."""
        return {
            "TaskExecutionStatus": "succeeded" if file.succeeded else "failed",
            "Bucket": self._bucket,
            "MD5Checksum": file.md5,
            "Key": f"{self._prefix}results/{file.name}.csv",
        }

    async def read_report(self) -> dict[str, Any] | None:
        """The report manifest, None if the report hasn't been written."""
        return await self._read("manifest.json", dict)

    async def write_report(self, manifest: dict[str, Any]) -> None:
        """Write the report manifest: its MD5 first, because ``manifest.json`` tells a reader that all is there."""
        body = json.dumps(manifest, ensure_ascii=False).encode()
        await self._write(
            "manifest.json.md5", hashlib.md5(body, usedforsecurity=False).hexdigest().encode(), "text/plain"
        )
        await self._write("manifest.json", body)

    # Objects

    async def _read(self, name: str, build: Callable[[dict[str, Any]], T]) -> T | None:
        body = await self._get(name)
        if body is None:
            return None
        try:
            return build(json.loads(body))
        except (ValueError, TypeError) as error:  # InvalidInput and broken JSON are ValueErrors
            raise JobConflict(f"{self.uri}{name} is not what this package writes there: {error}") from error

    async def _get(self, name: str) -> bytes | None:
        try:
            answer = await self._s3.call("GetObject", Bucket=self._bucket, Key=self._prefix + name)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise self._unreadable(error) from error
        body: bytes = answer["Body"]
        return body

    async def _list(self, folder: str) -> list[str]:
        """The names of what is in a folder."""
        return [found["Key"][len(self._prefix + folder) :] for found in await self._found(folder)]

    async def _found(self, folder: str) -> list[dict[str, Any]]:
        """What is in a folder, as ListObjectsV2 tells it."""
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"NextContinuationToken": None}
        while "NextContinuationToken" in page:
            token = page["NextContinuationToken"]
            more = {"ContinuationToken": token} if token else {}
            try:
                page = await self._s3.call("ListObjectsV2", Bucket=self._bucket, Prefix=self._prefix + folder, **more)
            except S3Error as error:
                raise self._unreadable(error) from error
            found += page.get("Contents", [])
        return found

    async def _write(self, name: str, body: bytes, content_type: str = "application/json", **condition: str) -> None:
        try:
            await self._s3.call(
                "PutObject",
                Bucket=self._bucket,
                Key=self._prefix + name,
                Body=body,
                ContentType=content_type,
                **condition,
            )
        except S3Error as error:
            if condition and error.status in {_HTTP_CONFLICT, _HTTP_PRECONDITION, _HTTP_NOT_IMPLEMENTED}:
                raise
            raise ReportError(f"job {self.job_id}: {UNWRITABLE} ({error})") from error

    async def _create(self, name: str, body: bytes) -> bool:
        """Write an object unless there is another one of this name; say whether it is ours now."""
        try:
            await self._write(name, body, IfNoneMatch="*")
        except S3Error as error:
            there = await self._get(name)
            if there is not None:
                return there == body  # an attempt of ours may have arrived although its answer didn't
            if error.status != _HTTP_NOT_IMPLEMENTED:
                raise ReportError(f"job {self.job_id}: {UNWRITABLE} ({error})") from error
            await self._write(name, body)
        return True

    def _unreadable(self, error: S3Error) -> ReportError:
        return ReportError(
            f"job {self.job_id}: its folder {self.uri} can't be read ({error}); "
            "the connection needs s3:GetObject, s3:PutObject and, to tell what isn't there yet, s3:ListBucket on it"
        )


def _readable(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


async def _each(do: Callable[[Any], Awaitable[T]], arguments: Sequence[Any]) -> list[T]:
    """The results for all arguments, in their order, so many at once."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(argument: Any) -> T:
        async with free:
            return await do(argument)

    tasks = [asyncio.create_task(one(argument)) for argument in arguments]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
