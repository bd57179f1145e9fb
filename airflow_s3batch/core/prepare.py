"""`prepare`: pin the manifest, check all that can be checked before an object is touched, and cut it in partitions.

`take_up` instead takes a job that was prepared before, by its id.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.engine.promise import S3Engine
from airflow_s3batch.core.errors import (
    InvalidInput,
    JobCancelled,
    JobConflict,
    JobFailed,
    JobOver,
    NoSuchJob,
    ReportError,
    S3BatchError,
    printable,
)
from airflow_s3batch.core.folder.documents import UNWRITABLE
from airflow_s3batch.core.folder.sign import BEAT
from airflow_s3batch.core.folder.status import AWAITING, FINAL, FailureReason, JobState, iso, utc_now
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import BUCKETS_KEPT, CompletionReport, Job, JobSpec, JobStatus
from airflow_s3batch.core.limits import Limits
from airflow_s3batch.core.manifest import Survey
from airflow_s3batch.core.partition import MAX_PARTITIONS, ROWS_PER_PARTITION, check_sizes, split
from airflow_s3batch.core.winding_up import wind_up_stopped
from airflow_s3batch.core.wording import counted, first_of

__all__ = ["prepare", "take_up"]

log = logging.getLogger(__name__)

_BUCKETS_SHOWN = 5
"""In the log."""
_JOB_ID = re.compile(r"[a-zA-Z0-9_-]{5,36}")  # JobId of the s3control model
_CLOSED = frozenset({JobStatus.COMPLETING, JobStatus.COMPLETE, JobStatus.CANCELLING, JobStatus.CANCELLED})
# What its own runs don't open again, because a person, or too many failures, told them to stop.
_REOPENED = frozenset({JobStatus.CANCELLING, JobStatus.CANCELLED, JobStatus.FAILING})
_NO_JOB = frozenset({JobStatus.NEW, JobStatus.PREPARING})


async def prepare(
    spec: JobSpec,
    s3: S3Engine,
    *,
    owner: Sequence[str],
    rows_per_partition: int = ROWS_PER_PARTITION,
    max_partitions: int = MAX_PARTITIONS,
    confirmation_required: bool = False,
    reopens: bool = True,
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
        confirmation_required: leave the job Suspended until somebody lets it run, as CreateJob does.
        reopens: whether a job that was cancelled, or failed for good, is begun again, because a person asks for it. A
            retry doesn't.
        now: the time.

    Raises:
        InvalidInput: a parameter can never work.
        ManifestError: the manifest can't be used; from then on the job is Failed, with this as its reason.
        ReportError: the report's location can't be written.
        JobConflict: the job's folder isn't in a state in which it can be prepared.
        JobCancelled: somebody cancelled it meanwhile, or before a retry. JobFailed: it failed for good before a retry.
            Where it was still being stopped it has ended then, with the report of what ran.
    """
    check_sizes(rows_per_partition, max_partitions)
    spec = spec.model_copy(update={"manifest": await spec.manifest.pin(s3)})
    folder = JobFolder(s3, spec.report.place, spec.job_id(*owner))
    async with _ended_if_stopped(folder, now):
        state, before = await _look(folder)
        if state is not None and not reopens:
            _going_on(state)
        if before is not None:
            await _settle(folder, before, now, waits=confirmation_required, reopens=reopens)
            return await _renewed(folder, before, spec)
        begun = await _begin(folder, now, reopens=reopens)
        sizes = rows_per_partition, max_partitions
        made = await _made(spec, s3, folder, created=begun.created, sizes=sizes, now=now)
        await folder.change_state(
            lambda latest: _prepared(_going_on(latest or begun), made, now, waits=confirmation_required)
        )
        return made


async def _made(
    spec: JobSpec,
    s3: S3Engine,
    folder: JobFolder,
    *,
    created: str,
    sizes: tuple[int, int],
    now: Callable[[], datetime],
) -> Job:
    """The new job, written down; `sizes` are the rows of a partition and the most partitions."""
    log.info("Preparing job %s: %s", folder.job_id, folder.uri)
    question = spec.manifest
    try:
        spec = spec.model_copy(update={"manifest": await question.resolve(s3, folder.generated, now())})
        survey = await _surveyed(spec, s3, now())
    except S3BatchError as error:
        await _write_failed(folder, FailureReason.of(error), now)
        raise
    partitions = split(survey.marks, *sizes)
    objects, parts = counted(survey.rows, "object"), counted(len(partitions), "partition")
    told = (folder.job_id, spec.operation.aws_name, objects, first_of(survey.buckets, _BUCKETS_SHOWN), parts)
    log.info("Job %s: %s on %s in %s, in %s", *told)
    job = Job(
        job_id=folder.job_id,
        spec=spec,
        total=survey.rows,
        partitions=partitions,
        created=created,
        buckets=survey.buckets[:BUCKETS_KEPT],
        question=None if spec.manifest is question else question,
    )
    return await folder.create_job(job)


async def take_up(
    job_id: str,
    report: CompletionReport,
    s3: S3Engine,
    *,
    owner: Sequence[str],
    limits: Limits | None = None,
    priority: int | None = None,
    confirmation_required: bool = False,
    reopens: bool = True,
    now: Callable[[], datetime] = utc_now,
) -> Job:
    """Take a job that was prepared before, by its id, and get it Ready: what was found then is what will be run.

    From then on it is as much its `owner`'s as one that `prepare` has made: asked again, it is there, whatever has
    become of it.

    Args:
        job_id: the job's.
        report: what the job was given as its report: that is where its folder is.
        s3: the engine.
        owner: who asks.
        limits: instead of the job's.
        priority: instead of the job's.
        confirmation_required: as `prepare` takes it.
        reopens: as `prepare` takes it.
        now: the time.

    Raises:
        InvalidInput: that can't be a job's id.
        NoSuchJob: there is no such job.
        JobOver: it is over, and this owner didn't run it; or it failed before it was prepared.
        JobConflict: it is being prepared.
        ReportError: its folder can't be read or written.
        JobCancelled, JobFailed: this owner ran it, and otherwise as `prepare` does.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise InvalidInput(f"job_id={printable(repr(job_id))} can't be a job's id; write the job_id that prepare gave")
    folder = JobFolder(s3, report.place, job_id)
    state, job = await _look(folder)
    if job is None:
        raise _not_prepared(folder, report, state)
    is_owners = state is not None and tuple(owner) in state.taken_up_by
    if state is not None and state.status in _CLOSED and not is_owners:
        raise JobOver(
            f"job {job_id} is {state.status.value}, and doesn't run again by its id; for what failed in it, make a job "
            f"of its report's failures; for all of it, prepare a new one (its report: {folder.report_uri})"
        )
    changes = {"limits": limits, "priority": priority}
    spec = job.spec.model_copy(update={name: value for name, value in changes.items() if value is not None})
    # A job that had failed before it was this owner's: their retry is the first to reach it, and may open it.
    reopens = reopens or not is_owners
    async with _ended_if_stopped(folder, now):
        await _settle(folder, job, now, waits=confirmation_required, reopens=reopens, taker=tuple(owner))
        return await _renewed(folder, job, spec)


def _not_prepared(folder: JobFolder, report: CompletionReport, state: JobState | None) -> JobConflict:
    named = "see that report= is the location the job was prepared with, and job_id what its prepare task gave"
    if state is None:
        return NoSuchJob(f"job {folder.job_id} can't be run: there is none in {printable(report.place.uri)}; {named}")
    if state.status in _NO_JOB:
        return JobConflict(f"job {folder.job_id} can't be run: it is {state.status.value}; let its prepare task end")
    reasons = "; ".join(f"{code}: {reason}" for code, reason in state.failures) or state.reason or "no reason recorded"
    return JobOver(f"job {folder.job_id} was never prepared: it is {state.status.value} ({reasons}); prepare a new one")


async def _look(folder: JobFolder) -> tuple[JobState | None, Job | None]:
    try:
        return await folder.read_state(), await folder.read_job()
    except ReportError as error:
        raise ReportError(f"{UNWRITABLE} {error}") from error


async def _renewed(folder: JobFolder, job: Job, spec: JobSpec) -> Job:
    """The job that was prepared before, with the limits, the threshold, the description and the priority of now.

    Not before it is known that it may be run: one that is cancelled stays as it is.
    """
    spec = spec.model_copy(update={"manifest": job.spec.manifest})
    if job.spec == spec:
        return job
    job = job.model_copy(update={"spec": spec})
    await folder.write_job(job)
    return job


async def _begin(folder: JobFolder, now: Callable[[], datetime], *, reopens: bool) -> JobState:
    """Write down that the job is being prepared; return where it stands."""

    def begun(state: JobState | None) -> JobState:
        if state is not None and not reopens:
            _going_on(state)
        state = state or JobState(job_id=folder.job_id, status=JobStatus.NEW, created=iso(now()))
        return state.moved(JobStatus.PREPARING, at=now())

    return await folder.change_state(begun)


async def _settle(
    folder: JobFolder,
    job: Job,
    now: Callable[[], datetime],
    *,
    waits: bool,
    reopens: bool,
    taker: tuple[str, ...] | None = None,
) -> None:
    """Write down where a job stands that was prepared before, and who runs it by its id, if that has changed."""

    def settled(state: JobState | None) -> JobState:
        if state is not None and not reopens:
            _going_on(state)
        if state is None or state.status is JobStatus.PREPARING:  # an earlier try died between its last two writes
            state = JobState(job_id=job.job_id, status=JobStatus.PREPARING, created=job.created)
            return _prepared(state, job, now, waits=waits)
        if state.status in _REOPENED:
            return _prepared(state.moved(JobStatus.PREPARING, at=now()), job, now, waits=waits)
        if state.status is JobStatus.SUSPENDED and not waits:
            return state.moved(JobStatus.READY, at=now())
        return state

    state = await folder.change_state(settled if taker is None else lambda state: settled(state).taken_up(taker))
    log.info("Job %s was prepared before (%s): %s", job.job_id, state.status.value, folder.uri)
    if state.status is JobStatus.COMPLETE:
        another = "make it another job, by another group_id, report location or run id"
        log.warning(
            "Job %s is Complete already: %s of its %s objects have succeeded, and aren't done again; to do so, %s",
            *(job.job_id, f"{state.succeeded:,}", f"{state.total:,}"),
            another if taker is None else "prepare a new one",
        )


async def _surveyed(spec: JobSpec, s3: S3Engine, now: datetime) -> Survey:
    wanted = spec.operation.manifest_columns
    if wanted and spec.operation.columns_needed:
        spec.operation.check_columns(await spec.manifest.find_columns(s3, wanted))
    survey = await spec.manifest.survey(s3, wanted)
    for warning in survey.warnings:
        log.warning("%s", warning)
    spec.operation.check_job(survey.rows, survey.buckets, now)
    for bucket in survey.buckets:
        s3.check(spec.operation, bucket)
    await each(lambda bucket: spec.operation.look(bucket, s3), survey.buckets)
    return survey


def _prepared(state: JobState, job: Job, now: Callable[[], datetime], *, waits: bool) -> JobState:
    status, reason = (JobStatus.SUSPENDED, AWAITING) if waits else (JobStatus.READY, "")
    state = state.moved(status, at=now(), reason=reason)
    return state.counted(total=job.total, succeeded=0, failed=0, active_seconds=0)


def _going_on(state: JobState) -> JobState:
    """The job, if nobody and nothing has stopped it."""
    if state.status in {JobStatus.CANCELLING, JobStatus.CANCELLED}:
        raise JobCancelled(state.job_id, state.reason)
    if state.status is JobStatus.FAILING or any(failure.code in FINAL for failure in state.failures):
        raise JobFailed(state.job_id, state.failures)
    return state


@asynccontextmanager
async def _ended_if_stopped(folder: JobFolder, now: Callable[[], datetime]) -> AsyncGenerator[None, None]:
    """Have a job that is told to stop meanwhile end, if possible: no report task follows a prepare that fails."""
    try:
        yield
    except JobFailed:
        try:
            state, job = await _look(folder)
            if job is not None and state is not None and not state.status.ended:
                await wind_up_stopped(job, folder, BEAT, now)
        except S3BatchError as error:
            log.warning("Job %s could not be ended: %s", folder.job_id, error)
        raise


async def _write_failed(folder: JobFolder, reason: FailureReason, now: Callable[[], datetime]) -> None:
    """Write down that the job failed, if possible: the error that made it fail is the one to raise.

    Not over what somebody else has made of it meanwhile: cancelled it, or prepared it in another try.
    """

    def failed(state: JobState | None) -> JobState:
        if state is None or state.status is not JobStatus.PREPARING:
            raise JobConflict("it isn't being prepared any more")
        return state.moved(JobStatus.FAILED, at=now(), failures=[reason])

    try:
        await folder.change_state(failed)
    except S3BatchError as error:
        log.warning("That job %s failed could not be written down: %s", folder.job_id, error)
