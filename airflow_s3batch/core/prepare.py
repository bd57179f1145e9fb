"""`prepare`: pin the manifest, check all that can be checked before an object is touched, and cut it in partitions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from airflow_s3batch.core.engine.promise import S3Engine
from airflow_s3batch.core.errors import InvalidInput, ReportError, S3BatchError, printable
from airflow_s3batch.core.job import Job, JobSpec, JobStatus
from airflow_s3batch.core.manifest import Survey
from airflow_s3batch.core.partition import MAX_PARTITIONS, ROWS_PER_PARTITION, split
from airflow_s3batch.core.status import FailureReason, JobState, iso, utc_now
from airflow_s3batch.core.store import UNWRITABLE, JobFolder
from airflow_s3batch.core.values import require_rendered

__all__ = ["prepare"]

log = logging.getLogger(__name__)

_BUCKETS_SHOWN = 5


async def prepare(
    spec: JobSpec,
    s3: S3Engine,
    *,
    owner: Sequence[str],
    rows_per_partition: int = ROWS_PER_PARTITION,
    max_partitions: int = MAX_PARTITIONS,
    now: Callable[[], datetime] = utc_now,
) -> Job:
    """Make a job of what an author asked for, and write it down in the job's folder; no object is touched.

    The same `owner` (DAG, run, group) asking for the same with the same manifest gets the same job: what an earlier try
    prepared is found again, with the limits and the description of now.

    Args:
        spec: what the author asked for.
        s3: the engine, which compiles the operation to try it and sends nothing.
        owner: who asks.
        rows_per_partition: most rows of a partition …
        max_partitions: … unless that made more partitions than this.
        now: the time.

    Raises:
        InvalidInput: a parameter can never work, or is a template that was never rendered.
        ManifestError: the manifest can't be used; from then on the job is Failed, with this as its reason.
        ReportError: the report's location can't be written.
        JobConflict: the job's folder isn't in a state in which it can be prepared.
    """
    if rows_per_partition < 1 or max_partitions < 1:
        raise InvalidInput(
            f"rows_per_partition={rows_per_partition}, max_partitions={max_partitions}: both must be at least 1"
        )
    require_rendered(spec.to_aws())
    spec = spec.model_copy(update={"manifest": await spec.manifest.pin(s3)})
    folder = JobFolder(s3, spec.report.place, spec.job_id(*owner))
    state, job = await _look(folder)
    if job is not None:
        return await _taken_up(folder, state, job, spec, now)
    state = state or JobState(job_id=folder.job_id, status=JobStatus.NEW, created=iso(now()))
    state = state.moved(JobStatus.PREPARING, at=now())
    await folder.write_state(state)
    try:
        survey = await _surveyed(spec, s3)
    except S3BatchError as error:
        await _write_failed(folder, state.moved(JobStatus.FAILED, at=now(), failures=[FailureReason.of(error)]))
        raise
    partitions = split(survey.marks, rows_per_partition, max_partitions)
    job = Job(job_id=folder.job_id, spec=spec, total=survey.rows, partitions=partitions, created=state.created)
    job = await folder.create_job(job)
    await folder.write_state(_ready(state, job, now))
    told = (job.job_id, spec.operation.aws_name, f"{job.total:,}", _shown(survey.buckets), len(partitions))
    log.info("Job %s: %s on %s objects in %s, in %d partitions", *told)
    return job


async def _look(folder: JobFolder) -> tuple[JobState | None, Job | None]:
    try:
        return await folder.read_state(), await folder.read_job()
    except ReportError as error:
        raise ReportError(f"{UNWRITABLE} {error}") from error


async def _taken_up(
    folder: JobFolder, state: JobState | None, job: Job, spec: JobSpec, now: Callable[[], datetime]
) -> Job:
    """The job that was prepared before, with the limits and the description of now."""
    if (job.spec.limits, job.spec.description) != (spec.limits, spec.description):
        job = job.model_copy(update={"spec": spec})
        await folder.write_job(job)
    if state is None or state.status is JobStatus.PREPARING:  # an earlier try died between its last two writes
        state = JobState(job_id=job.job_id, status=JobStatus.PREPARING, created=job.created)
        state = _ready(state, job, now)
    await folder.write_state(state)  # also to see whether the report can be written
    log.info("Job %s was prepared before (%s): %s", job.job_id, state.status.value, folder.uri)
    return job


async def _surveyed(spec: JobSpec, s3: S3Engine) -> Survey:
    survey = await spec.manifest.survey(s3)
    for warning in survey.warnings:
        log.warning("%s", warning)
    for bucket in survey.buckets:
        s3.check(spec.operation, bucket)
    return survey


def _shown(buckets: Sequence[str]) -> str:
    return ", ".join(map(printable, buckets[:_BUCKETS_SHOWN])) + (", …" if len(buckets) > _BUCKETS_SHOWN else "")


def _ready(state: JobState, job: Job, now: Callable[[], datetime]) -> JobState:
    return state.moved(JobStatus.READY, at=now()).counted(total=job.total, succeeded=0, failed=0, active_seconds=0)


async def _write_failed(folder: JobFolder, state: JobState) -> None:
    """Write down that the job failed, if possible: the error that made it fail is the one to raise."""
    try:
        await folder.write_state(state)
    except S3BatchError as error:
        log.warning("That job %s failed could not be written down: %s", folder.job_id, error)
