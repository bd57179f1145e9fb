"""`JobFolder`: the job's folder in S3, which is the truth about a job. The one place that knows its names.

::

    <report>/job-<id>/
        job.json                               the job: CreateJob's words, and what prepare found
        status.json                            DescribeJob's words; written when the status changes
        control.json                           what somebody has changed of the job since
        partitions/<n>/checkpoint-<k>.json     the commit marker of a batch of outcomes
        partitions/<n>/attempt.json            the latest attempt: who runs it and, at its end, what came of it
        running/<n>                            a sign of life with the counts up to now; empty once the attempt is over
        clock                                  written to learn S3's time
        notes/<row>                            what was begun for an object: the upload of a copy in parts
        generated-manifest/…                   the list that prepare found, where the manifest is a question
        results/<40 hex>.csv                   rows of the completion report
        manifest.json.md5, manifest.json       AWS's report manifest, written last, in this order

What is written once (``job.json``, checkpoints) is written with ``If-None-Match: *``, and what is changed
(``status.json``, ``control.json``, ``attempt.json``, signs of life) with ``If-Match``, so that of two at once only one
has its way. A store that doesn't know the conditions (501) or ignores them works as well, with that one guard less.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import JobConflict
from airflow_s3batch.core.folder.checkpoint import Attempt, Checkpoint, ResultFile
from airflow_s3batch.core.folder.documents import Document, Documents, Listed
from airflow_s3batch.core.folder.overrides import Overrides
from airflow_s3batch.core.folder.sign import Sign
from airflow_s3batch.core.folder.status import JobState
from airflow_s3batch.core.job import Job
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.operations.unknown import known_or_not

__all__ = ["JobFolder"]

_CHECKPOINT = re.compile(r"checkpoint-([0-9]+)\.json")


class JobFolder:
    """The folder of one job.

    Every method raises `ReportError` where S3 can't be read or written, and every one that reads `JobConflict` where
    what it finds isn't what this package writes there.
    """

    def __init__(self, s3: S3Calls, place: S3Location, job_id: str) -> None:
        """Take the folder of job `job_id` in the report's `place`."""
        prefix = f"{place.key}/job-{job_id}/" if place.key else f"job-{job_id}/"
        self._place = place._replace(key=prefix)
        self._documents = Documents(s3, self._place, f"job {job_id}")
        self.job_id = job_id

    @classmethod
    def of(cls, s3: S3Calls, job: Job) -> JobFolder:
        """The folder of a prepared job."""
        return cls(s3, job.spec.report.place, job.job_id)

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix/job-<id>/``."""
        return self._documents.uri

    @property
    def generated(self) -> S3Location:
        """The folder of the list that prepare makes where a manifest is a question, slash included."""
        return self._place._replace(key=f"{self._place.key}generated-manifest/")

    @property
    def report_uri(self) -> str:
        """Where the completion report's ``manifest.json`` is, or will be."""
        return f"{self.uri}manifest.json"

    # The job, its status, and what was changed of it

    async def read_job(self) -> Job | None:
        """The job, None if it hasn't been prepared."""
        return await self._documents.read("job.json", Job.from_aws)

    async def read_job_to_look_at(self) -> Job | None:
        """The job, for who doesn't run it: its operation may be one of an author's, whose class isn't known here."""
        return await self._documents.read("job.json", partial(Job.from_aws, operation_of=known_or_not))

    async def create_job(self, job: Job) -> Job:
        """Write a new job down, and return what the folder holds then: this job, or the one that was there first."""
        if await self._documents.replace("job.json", _readable(job.to_aws()), None):
            return job
        return await self.read_job() or job

    async def write_job(self, job: Job) -> None:
        """Write a job down again, with other limits or another description."""
        await self._documents.write("job.json", _readable(job.to_aws()))

    async def read_state(self) -> JobState | None:
        """Where the job stands, None if nothing was written yet."""
        return await self._documents.read("status.json", JobState.from_aws)

    async def change_state(self, make: Callable[[JobState | None], JobState]) -> JobState:
        """Write down where the job stands from where it stood; return it.

        `make` is given that, or None, and asked anew when somebody else was faster; what it raises is raised.
        """
        return await self._documents.change(
            "status.json", JobState.from_aws, make, lambda state: _readable(state.to_aws())
        )

    async def read_overrides(self) -> Overrides:
        """What was changed of the job since it was prepared."""
        return await self._documents.read("control.json", Overrides.from_json) or Overrides()

    async def change_overrides(self, make: Callable[[Overrides], Overrides]) -> Overrides:
        """Change what counts for the job, from what did before; return it."""
        return await self._documents.change(
            "control.json",
            Overrides.from_json,
            lambda before: make(before or Overrides()),
            lambda overrides: _readable(overrides.to_json()),
        )

    # What the runs of a partition leave behind

    async def find_attempt(self, partition: int) -> Document[Attempt] | None:
        """The latest attempt at a partition as it was found, None if there was none."""
        return await self._documents.find(_attempt(partition), Attempt.from_json)

    async def read_attempt(self, partition: int) -> Attempt | None:
        """The latest attempt at a partition, None if there was none."""
        return await self._documents.read(_attempt(partition), Attempt.from_json)

    async def read_attempts(self, partitions: Iterable[int]) -> list[Attempt | None]:
        """The latest attempts at these partitions, in their order."""
        return await each(self.read_attempt, partitions)

    async def replace_attempt(self, partition: int, attempt: Attempt, over: str | None) -> str | None:
        """Write the latest attempt down over the one with the ETag `over` (None: where there is none).

        Returns:
            Its ETag; None if there is another one by now.
        """
        return await self._documents.replace(_attempt(partition), _compact(attempt.to_json()), over)

    async def read_checkpoints(self, partition: int) -> list[Checkpoint]:
        """A partition's checkpoints, in order of their numbers."""
        folder = f"partitions/{partition}/"
        names = [found.name for found in await self._documents.list(folder) if _CHECKPOINT.fullmatch(found.name)]
        names.sort(key=lambda name: int(name[len("checkpoint-") : -len(".json")]))
        read = await each(lambda name: self._documents.read(folder + name, Checkpoint.from_json), names)
        return [checkpoint for checkpoint in read if checkpoint is not None]

    async def write_checkpoint(self, partition: int, checkpoint: Checkpoint) -> None:
        """Commit a batch: its result files have been written before.

        Raises:
            JobConflict: another run of the partition has written a checkpoint of this number.
        """
        name = f"partitions/{partition}/checkpoint-{checkpoint.number:06}.json"
        if not await self._documents.replace(name, _compact(checkpoint.to_json()), None):
            raise JobConflict(
                f"job {self.job_id}, partition {partition}: another run of this partition has written {name}; "
                "let one of the two end, then run it again: it goes on from what both have done"
            )

    # Signs of life

    async def replace_sign(self, partition: int, sign: Sign, over: str | None) -> str | None:
        """Leave a sign that the partition runs, over the one with the ETag `over` (None: over any).

        Returns:
            Its ETag; None if another run has left its own.
        """
        name, body = f"running/{partition}", _compact(sign.to_json())
        return await (self._documents.write(name, body) if over is None else self._documents.replace(name, body, over))

    async def end_sign(self, partition: int, over: str) -> bool:
        """Have the sign with the ETag `over` say that the run is over; return whether it was still there."""
        return await self._documents.replace(f"running/{partition}", b"", over) is not None

    async def find_sign(self, partition: int) -> Document[Sign | None] | None:
        """The latest sign of a partition's run as it was found (its value None: it is over), None if there was none."""
        return await self._documents.find(f"running/{partition}", lambda told: Sign.from_json(told) if told else None)

    async def read_sign(self, partition: int) -> Sign | None:
        """The latest sign of a partition's run, None if it is over, or there was none."""
        found = await self.find_sign(partition)
        return None if found is None else found.value

    async def list_signs(self) -> dict[int, Listed]:
        """The signs of all partitions, by their numbers: of size 0 if the run is over."""
        found = await self._documents.list("running/")
        return {int(one.name): one for one in found if one.name.isascii() and one.name.isdecimal()}

    async def read_clock(self) -> float:
        """The time by S3's clock: Unix seconds."""
        return await self._documents.touch("clock")

    # What was begun for an object

    async def read_note(self, row: int) -> dict[str, Any]:
        """The latest note about this row of the manifest, empty if there is none."""
        return await self._documents.read(f"notes/{row}", dict) or {}

    async def write_note(self, row: int, note: dict[str, Any]) -> None:
        """Write a note about this row down, instead of any before it."""
        await self._documents.write(f"notes/{row}", _compact(note))

    # The completion report

    async def write_result(self, body: bytes, *, succeeded: bool, batch: str) -> ResultFile:
        """Write a file of report rows, all succeeded or all failed.

        Its name follows from its content and from `batch`, which names the batch: a repeat overwrites itself and
        nothing else.
        """
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        name = hashlib.sha1(f"{batch}\n{md5}".encode(), usedforsecurity=False).hexdigest()
        await self._documents.write(f"results/{name}.csv", body, "text/csv")
        return ResultFile(name, succeeded, md5)

    async def read_result(self, file: ResultFile) -> bytes:
        """The rows of a result file.

        Raises:
            ReportError: it is missing, or not the one that was written.
        """
        return await self._documents.read_bytes(f"results/{file.name}.csv", file.md5)

    def report_entry(self, file: ResultFile) -> dict[str, str]:
        """A result file as AWS's report manifest lists it."""
        return {
            "TaskExecutionStatus": "succeeded" if file.succeeded else "failed",
            "Bucket": self._place.bucket,
            "MD5Checksum": file.md5,
            "Key": self._documents.key(f"results/{file.name}.csv"),
        }

    async def read_report(self) -> dict[str, Any] | None:
        """The report manifest, None if the report hasn't been written."""
        return await self._documents.read("manifest.json", dict)

    async def write_report(self, manifest: dict[str, Any]) -> None:
        """Write the report manifest: its MD5 first, because ``manifest.json`` tells a reader that all is there."""
        body = json.dumps(manifest, ensure_ascii=False).encode()
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        await self._documents.write("manifest.json.md5", md5.encode(), "text/plain")
        await self._documents.write("manifest.json", body)


def _attempt(partition: int) -> str:
    return f"partitions/{partition}/attempt.json"


def _readable(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _compact(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
