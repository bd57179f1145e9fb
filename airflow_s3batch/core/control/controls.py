"""What a person does with a job: look at it, pause, resume and cancel it, change its limits; from any machine.

All of it goes through the job's folder: what is asked for is written there, and every partition that runs looks every
few seconds. So these work wherever the job runs, and whoever runs it.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-managing-jobs.html
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, JobConflict, NoSuchJob
from airflow_s3batch.core.folder.checkpoint import Counts, Span, covered_seconds
from airflow_s3batch.core.folder.overrides import Overrides
from airflow_s3batch.core.folder.sign import BEAT, LIVES
from airflow_s3batch.core.folder.status import AWAITING, JobState, utc_now
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import Job, JobStatus
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.running.watch import alive, settle_pause
from airflow_s3batch.core.winding_up import wind_up

__all__ = ["Controls"]

_SKEW = 60.0
"""Seconds by which a person's clock may be wrong."""
_GENERATED_FORMAT = "S3InventoryReport_CSV_20211130"
"""GeneratedManifestFormat of the s3control model, the only one."""


class _Part(NamedTuple):
    """What a partition tells of itself."""

    counts: Counts
    rate: float
    spans: tuple[Span, ...]


class Controls:
    """One job, in the hands of a person.

    Args:
        s3: S3.
        place: the job's report location: its folder is in there.
        job_id: the job.
        beat: seconds between two signs of life of a run.
        now: the time.
    """

    def __init__(
        self,
        s3: S3Calls,
        place: S3Location,
        job_id: str,
        *,
        beat: float = BEAT,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._folder = JobFolder(s3, place, job_id)
        self._beat = beat
        self._now = now

    async def describe(self) -> dict[str, Any]:
        """The job as AWS's DescribeJob tells it (its JobDescriptor), with ObjectsPerSecond and SecondsLeft.

        Times are ISO 8601 in UTC. While the job runs, its numbers are a few seconds old. Of one that has ended, the
        rate is that of all its objects in its active seconds, and null if these were none.

        Raises:
            NoSuchJob: there is none.
            ReportError: the folder can't be read.
        """
        state = await self._state()
        if state.status is JobStatus.PAUSING:
            await settle_pause(self._folder, self._beat, self._now, at=await self._folder.read_clock())
            state = await self._state()
        job = await self._folder.read_job_to_look_at()
        overrides = await self._folder.read_overrides()
        if job is None:  # it is being prepared, or failed at that
            return state.to_aws()
        if state.status.ended:
            return _described(state, job, overrides, _rate(state))
        parts = await self._parts(job)
        rate = sum(part.rate for part in parts) if state.status is JobStatus.ACTIVE else 0.0
        return _described(_with_counts(state, job, parts), job, overrides, rate)

    async def pause(self, reason: str = "") -> JobState:
        """Have the job's partitions save what they have done, and wait; return where the job stands then.

        It is Pausing until the last of them has, some seconds later, and Paused then.

        Args:
            reason: why, for whoever looks at the job.

        Raises:
            JobConflict: there is no such job, or it is in no status that can become Pausing.
            ReportError: the folder can't be read or written.
        """
        await self._move(JobStatus.PAUSING, reason)
        await settle_pause(self._folder, self._beat, self._now, at=await self._folder.read_clock())
        return await self._state()

    async def resume(self, reason: str = "") -> JobState:
        """Let a job that is Paused go on where it was; return where it stands then.

        Raises:
            JobConflict: there is no such job, or it isn't Paused.
            ReportError: the folder can't be read or written.
        """
        state = await self._state()
        if state.status is JobStatus.PAUSING:
            await settle_pause(self._folder, self._beat, self._now, at=await self._folder.read_clock())
            state = await self._state()
        if state.status is not JobStatus.PAUSED:
            soon = "; it is Paused in some seconds" if state.status is JobStatus.PAUSING else ""
            raise JobConflict(
                f"job {self._folder.job_id} is {state.status.value} and can't become Active by being resumed: only one "
                f"that is Paused can{soon}"
            )
        began = bool(await self._folder.list_signs())
        return await self._move(JobStatus.ACTIVE if began else JobStatus.READY, reason)

    async def cancel(self, reason: str = "") -> JobState:
        """Have the job's partitions begin nothing more, save what they have done, and end; return where the job stands.

        It is Cancelling until the report of what ran is written, and Cancelled then. If no partition runs, that is at
        once; so one that was Cancelling for too long can be cancelled again.

        Args:
            reason: why, and who says so: what the tasks fail with.

        Raises:
            JobConflict: there is no such job, or it has ended.
            ReportError: the folder can't be read or written.
        """
        state = await self._state()
        if state.status is not JobStatus.CANCELLING:
            state = await self._move(JobStatus.CANCELLING, reason)
        if alive(await self._folder.list_signs(), await self._folder.read_clock(), LIVES * self._beat):
            return state
        job = await self._folder.read_job_to_look_at()
        if job is None:
            return await self._move(JobStatus.CANCELLED, reason)
        await wind_up(job, self._folder, JobStatus.CANCELLED, self._now)
        return await self._state()

    async def change_limits(self, *, in_flight: int | None = None, requests_per_second: float | None = None) -> Limits:
        """Change the job's limits, for the partitions that run (within seconds) and those to come; return them all.

        Args:
            in_flight: as `Limits` has it; None to leave it as it is.
            requests_per_second: likewise; infinite for no limit.

        Raises:
            InvalidInput: a limit can't be so.
            JobConflict: there is no such job, or it has ended.
            ReportError: the folder can't be read or written.
        """
        changes: dict[str, Any] = {}
        if in_flight is not None:
            changes["in_flight"] = in_flight
        if requests_per_second is not None:
            changes["requests_per_second"] = None if requests_per_second == math.inf else requests_per_second
        if not changes:
            raise InvalidInput("nothing to change: give in_flight or requests_per_second")
        job = await self._open_job()
        overrides = await self._folder.change_overrides(
            lambda before: _checked(before.with_limits(changes, at=self._now()), job)
        )
        return overrides.on(job.spec.limits)

    async def _open_job(self) -> Job:
        """The job, which hasn't ended."""
        state, job = await self._state(), await self._folder.read_job_to_look_at()
        if state.status.ended or job is None:
            raise JobConflict(
                f"job {self._folder.job_id} is {state.status.value}; what it may use can be changed from when it is "
                "Ready until it ends"
            )
        return job

    async def _state(self) -> JobState:
        state = await self._folder.read_state()
        if state is None:
            raise self._nowhere()
        return state

    def _nowhere(self) -> NoSuchJob:
        return NoSuchJob(
            f"there is no job in {self._folder.uri}; see that the report's location is the one the job was given"
        )

    async def _move(self, status: JobStatus, reason: str) -> JobState:
        def moved(state: JobState | None) -> JobState:
            if state is None:
                raise self._nowhere()
            if state.status.ended or state.status is status:
                raise JobConflict(f"job {state.job_id} is {state.status.value} and can't become {status.value}")
            if status is JobStatus.PAUSING and state.status is JobStatus.PAUSED:
                raise JobConflict(f"job {state.job_id} is Paused already")
            return state.moved(status, at=self._now(), reason=reason)

        return await self._folder.change_state(moved)

    async def _parts(self, job: Job) -> list[_Part]:
        signs = await self._folder.list_signs()
        # The newest sign tells S3's time, if anybody runs; this machine's clock, with a minute for its faults, if not.
        at = max((sign.modified for sign in signs.values()), default=0.0)
        at = max(at, self._now().timestamp() - _SKEW)
        running = set(alive(signs, at, LIVES * self._beat))
        numbers = [partition.number for partition in job.partitions if partition.number in signs]
        return await each(lambda number: self._part(number, runs=number in running), numbers)

    async def _part(self, number: int, *, runs: bool) -> _Part:
        sign = await self._folder.read_sign(number)
        if sign is not None:
            return _Part(sign.counts, sign.rate if runs else 0.0, sign.spans)
        attempt = await self._folder.read_attempt(number)
        if attempt is None:
            return _Part(Counts(0, 0), 0.0, ())
        return _Part(attempt.counts, 0.0, attempt.spans)


def _with_counts(state: JobState, job: Job, parts: list[_Part]) -> JobState:
    return state.counted(
        total=job.total,
        succeeded=sum(part.counts.succeeded for part in parts),
        failed=sum(part.counts.failed for part in parts),
        active_seconds=covered_seconds(span for part in parts for span in part.spans),
    )


def _rate(state: JobState) -> float | None:
    """Objects a second of a job that has ended; None if it took less than one."""
    return (state.succeeded + state.failed) / state.active_seconds if state.active_seconds else None


def _described(state: JobState, job: Job, overrides: Overrides, rate: float | None) -> dict[str, Any]:
    spec, left = job.spec, state.total - state.succeeded - state.failed
    return {
        **state.to_aws(),
        "ConfirmationRequired": state.suspended_cause == AWAITING,
        "Description": spec.description,
        "Priority": spec.priority if overrides.priority is None else overrides.priority,
        "Operation": spec.operation.to_aws(),
        "Manifest": spec.manifest.to_aws(),
        **_generated(job),
        "Report": spec.report.to_aws(),
        "Limits": overrides.on(spec.limits).to_aws(),
        "FailureThreshold": spec.threshold.to_aws() if spec.threshold is not None else None,
        "Partitions": len(job.partitions),
        "ObjectsPerSecond": None if rate is None else round(rate, 1),
        "SecondsLeft": round(left / rate, 1) if rate and not state.status.ended else None,
    }


def _generated(job: Job) -> dict[str, Any]:
    """What was asked for and where the answer is, of a job whose objects prepare has found."""
    if job.question is None:
        return {}
    descriptor = {"Format": _GENERATED_FORMAT, "Location": job.spec.manifest.to_aws()["Location"]}
    return {"ManifestGenerator": job.question.to_aws(), "GeneratedManifestDescriptor": descriptor}


def _checked(overrides: Overrides, job: Job) -> Overrides:
    overrides.on(job.spec.limits)
    return overrides
