"""`list_jobs`: the jobs at one report location, as AWS's ListJobs.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_ListJobs.html
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.control.controls import Controls
from airflow_s3batch.core.errors import InvalidInput, JobConflict, ReportError, S3Error, printable
from airflow_s3batch.core.folder.sign import BEAT
from airflow_s3batch.core.folder.status import JobState, utc_now
from airflow_s3batch.core.folder.store import JobFolder
from airflow_s3batch.core.job import JobStatus
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.pages import list_pages
from airflow_s3batch.core.values import as_datetime

__all__ = ["list_jobs"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_AT_ONCE = 4
"""Jobs described at once, each of which may read the signs of many partitions."""
_KEPT = timedelta(days=90)
"""How long a job that has ended is listed: AWS's ListJobs."""


async def list_jobs(
    s3: S3Calls,
    place: S3Location,
    *,
    statuses: Iterable[JobStatus] = (),
    limit: int = 1_000,
    beat: float = BEAT,
    now: Callable[[], datetime] = utc_now,
) -> list[dict[str, Any]]:
    """The jobs whose reports go to one place, as `Controls.describe` tells them, the newest first.

    As with AWS's ListJobs, those that haven't ended, and those that have in the last 90 days. A folder that can't be
    understood is left out, with a warning in the log.

    Args:
        s3: S3.
        place: the report's location.
        statuses: only jobs in one of these; empty for all.
        limit: most jobs.
        beat: seconds between two signs of life of a run.
        now: the time.

    Raises:
        InvalidInput: the limit isn't at least 1.
        ReportError: the place can't be read.
    """
    if limit < 1:
        raise InvalidInput(f"limit={limit}: at least 1")
    wanted, oldest = frozenset(statuses), now() - _KEPT
    ids = await _job_ids(s3, place)
    states = await each(lambda job_id: _readable(JobFolder(s3, place, job_id).read_state()), ids)
    listed = [
        state
        for state in states
        if state is not None and (not wanted or state.status in wanted) and not _ended_before(state, oldest)
    ]
    listed.sort(key=lambda state: (state.created, state.job_id), reverse=True)
    controls = [Controls(s3, place, state.job_id, beat=beat, now=now) for state in listed[:limit]]
    described = await each(lambda control: _readable(control.describe()), controls, at_once=_AT_ONCE)
    return [told for told in described if told is not None]


async def _readable(told: Awaitable[T | None]) -> T | None:
    """What a job's folder tells; None if it isn't what this package writes, so that it doesn't hide the other jobs."""
    try:
        return await told
    except JobConflict as conflict:
        log.warning("%s; the job is left out", conflict)
        return None


async def _job_ids(s3: S3Calls, place: S3Location) -> list[str]:
    folder = f"{place.key}/job-" if place.key else "job-"
    try:
        return [
            group["Prefix"][len(folder) : -1]
            async for page in list_pages(s3, **place.in_bucket, Prefix=folder, Delimiter="/")
            for group in page.get("CommonPrefixes", ())
        ]
    except S3Error as error:
        raise ReportError(f"the jobs in {printable(place.uri)} can't be listed: {error}") from error


def _ended_before(state: JobState, moment: datetime) -> bool:
    return state.ended is not None and as_datetime(state.ended) < moment
