"""`Performing`: what an operation does itself to its objects, by code of its own, and what became of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from airflow_s3batch.core.calls import RawCalls
from airflow_s3batch.core.engine.conversation import ConnectFault
from airflow_s3batch.core.errors import (
    CredentialsRefused,
    ObjectFailed,
    ReportError,
    S3Error,
    Stopped,
    Unreachable,
    printable,
)
from airflow_s3batch.core.operations import BatchOperation, RequestOperation, StepsOperation
from airflow_s3batch.core.rows import Entry, Outcome

if TYPE_CHECKING:
    from airflow_s3batch.core.engine.client import S3

__all__ = ["Performing", "failed"]

log = logging.getLogger(__name__)

_MESSAGE_MOST = 1_000
"""Characters of a message that are kept: those of thousands of objects wait for a checkpoint."""


def failed(entry: Entry, status: int, code: str, message: object) -> Outcome:
    """The outcome of an object that has failed."""
    return Outcome(entry, False, status, _short(code), _short(message))  # noqa: FBT003


class Performing:
    """Asks operations to do it, and tells every object's outcome, whatever their code comes to.

    All three methods raise `Unreachable` if no connection could be opened in all that time, `CredentialsRefused`, and
    `Stopped` and `ReportError`, by which an operation ends the run.

    Args:
        s3: whose answers show that S3 is there.
        calls: what operations call S3 by.
        is_stopped: whether the run is being ended, so that a cancellation is the engine's.
    """

    def __init__(self, s3: S3, calls: RawCalls, is_stopped: Callable[[], bool]) -> None:
        self._s3 = s3
        self._calls = calls
        self._is_stopped = is_stopped
        self._told: set[type[BaseException]] = set()

    async def one(self, operation: StepsOperation | RequestOperation, entry: Entry) -> list[Outcome]:
        """The outcome of an object that takes several calls."""
        return await self._outcomes(operation, [entry], partial(self._message, operation.perform, entry))

    async def batch(self, operation: BatchOperation, entries: list[Entry]) -> list[Outcome]:
        """The outcomes of objects that take one call; its failure is that of all of them."""
        return await self._outcomes(operation, entries, partial(self._each, operation, entries))

    async def rescue(self, operation: RequestOperation, entry: Entry, error: S3Error) -> Outcome:
        """The outcome of an object whose request was refused, and which may be done by other means."""
        rescued = partial(self._message, partial(_rescued, operation, error), entry)
        (outcome,) = await self._outcomes(operation, [entry], rescued)
        return outcome

    async def _message(self, perform: Callable[[Entry, RawCalls], Awaitable[object]], entry: Entry) -> list[Outcome]:
        message = await perform(entry, self._calls)
        if message is not None and not isinstance(message, str):
            raise ObjectFailed("TypeError", f"the operation returned {type(message).__name__}, not a text")
        return [Outcome(entry, True, 200, "", _short(message or "Successful"))]  # noqa: FBT003

    async def _each(self, operation: BatchOperation, entries: list[Entry]) -> list[Outcome]:
        outcomes = await operation.perform_many(entries, self._calls)
        if [one[0] for one in outcomes] != entries and not _each_once(
            outcomes, entries
        ):  # the first is usual, and fast
            told = f"the operation told {len(outcomes)} outcomes of {len(entries)} objects, not one of each"
            raise ObjectFailed("OutcomesMissing", told)
        texts = [text for one in outcomes for text in one[3:5]]
        if max(map(len, texts)) > _MESSAGE_MOST or not "".join(texts).isprintable():
            return [one._replace(code=_short(one.code), message=_short(one.message)) for one in outcomes]
        return outcomes

    async def _outcomes(
        self,
        operation: StepsOperation | RequestOperation | BatchOperation,
        entries: list[Entry],
        perform: Callable[[], Awaitable[list[Outcome]]],
    ) -> list[Outcome]:
        before = self._s3.answers
        try:
            return await perform()
        except (CredentialsRefused, Stopped, ReportError):
            raise
        except Unreachable as error:
            # What was sent and got no answer in all that time may be for the object's own sake: it would hold up a run
            # of no others, again and again.
            if error.code == ConnectFault.code and self._s3.answers == before:
                raise
            told = (0, error.code, error.message)
        except S3Error as error:
            told = (error.status, error.code, error.message)
        except ObjectFailed as error:
            told = (error.http_status, error.code, error.message)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            # Somebody's own code, for which the object was too odd; or which waited for a task that it had cancelled.
            if isinstance(error, asyncio.CancelledError) and self._is_stopped():
                raise
            self._log(operation, entries[0], error)
            told = (0, type(error).__name__, printable(error, _MESSAGE_MOST))
        return [failed(entry, *told) for entry in entries]

    def _log(self, operation: object, entry: Entry, error: BaseException) -> None:
        """Tell where an exception that no operation means to raise comes from, once a kind."""
        if type(error) in self._told:
            return
        self._told.add(type(error))
        told = "%s failed for %s by an error of its own; further errors of this kind are only in the report"
        at = printable(f"s3://{entry.bucket}/{entry.key}")
        log.error(told, type(operation).__qualname__, at, exc_info=error)


def _each_once(outcomes: list[Outcome], entries: list[Entry]) -> bool:
    return sorted(outcome.entry.row for outcome in outcomes) == sorted(entry.row for entry in entries)


async def _rescued(operation: RequestOperation, error: S3Error, entry: Entry, calls: RawCalls) -> str:
    message = await operation.rescue(entry, error, calls)
    if message is None:
        raise error
    return message


def _short(message: object) -> str:
    """The message on one line: not every reader of CSV files takes a row of several, or a NUL."""
    text = str(message)
    return text if text.isprintable() and len(text) <= _MESSAGE_MOST else printable(text, _MESSAGE_MOST)
