"""`PlainFailures`: how a task fails, for the person who reads its log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_s3batch.core.errors import (
    InvalidInput,
    JobCancelled,
    JobFailed,
    JobOver,
    ManifestChanged,
    ManifestInvalid,
    NoSuchJob,
    S3BatchError,
)

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # where it was up to Airflow 3.1
    from airflow.exceptions import AirflowFailException  # type: ignore[no-redef]

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["AirflowFailException", "PlainFailures", "is_final"]

log = logging.getLogger(__name__)

_FINAL = (InvalidInput, JobFailed, JobOver, ManifestChanged, ManifestInvalid, NoSuchJob)
"""What no retry mends: a person has to change something, or has wanted it so."""
_REOPENED = "; to have it go on after all, clear the task that prepared it, and what comes after that"


def is_final(error: BaseException) -> bool:
    """Whether no retry is of use."""
    return isinstance(error, _FINAL)


class PlainFailures:
    """``with PlainFailures():`` what this package raises on purpose fails the task with its message alone.

    The message names the thing, the place and the way out; the way through threads and event loops that it came is at
    level DEBUG. Where a retry is of no use (input that can't work, a job that was cancelled or has failed, is over or
    never was, a manifest that is wrong or has changed) the task fails without one, as AirflowFailException. Other
    exceptions pass as they are.
    """

    def __enter__(self) -> None:
        """Nothing is needed."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, S3BatchError):
            return
        log.debug("The failure in full", exc_info=error)
        if is_final(error):
            way_out = _REOPENED if isinstance(error, JobCancelled) else ""
            raise AirflowFailException(f"{error}{way_out}") from None
        raise error.with_traceback(None) from None
