"""`look_again`: how far S3 is with the objects that a RestoreObject job asked for.

A restore takes minutes to days, and ends without telling anybody. So the rows of the job's report are looked at in
their order, up to a handful of objects that S3 is still at; next time only at these, and beyond them once they are
restored. What has to be remembered in between is small, and an object is asked about a few times at most.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from typing_extensions import Self

from airflow_s3batch.core.at_once import each
from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, S3BatchError, S3Error, printable
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.operations.base import with_version
from airflow_s3batch.core.reported import find_report
from airflow_s3batch.core.rows import Outcome
from airflow_s3batch.core.wording import counted

__all__ = ["Archived", "Restores", "look_again", "still_ongoing"]

_AT_ONCE = 256
"""Objects that are looked at at once."""
_ENOUGH = 100
"""Ongoing restores after which it isn't worth looking further."""
_EXAMPLES = 5
_ONGOING = 'ongoing-request="true"'
# Classes whose objects can't be read where no restore has been: https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_GONE = frozenset({404, 405})
_UNDER_WAY = "RestoreAlreadyInProgress"


class Archived(NamedTuple):
    """An object that was asked for."""

    bucket: str
    key: str
    version: str | None

    @property
    def uri(self) -> str:
        """``s3://bucket/key``."""
        return S3Location(self.bucket, self.key).uri


@dataclass(frozen=True, kw_only=True)
class Restores:
    """How far the restores of one report are, as far as has been looked."""

    report: str = ""
    """The fingerprint of the report that they are of: its rows are counted in its order."""
    rows: int = 0
    """Rows of the report that have been looked at."""
    restored: int = 0
    """Objects of these that can be read."""
    ongoing: tuple[Archived, ...] = ()
    """Those of them that S3 was still at."""
    ended: bool = False
    """Whether no row is left and nothing is ongoing: all of them can be read."""

    def to_json(self) -> dict[str, Any]:
        """What `from_json` makes the same of."""
        ongoing = [list(one) for one in self.ongoing]
        return {"report": self.report, "rows": self.rows, "restored": self.restored, "ongoing": ongoing}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        ongoing = tuple(Archived(*one) for one in told["ongoing"])
        return cls(report=told["report"], rows=told["rows"], restored=told["restored"], ongoing=ongoing)


async def look_again(
    report_uri: str, s3: S3Calls, so_far: Restores, *, expected: int | None = None, plus_is_space: bool = False
) -> Restores:
    """Look at what was ongoing, and if nothing of it is any more, at further rows of the report.

    A report that was written again meanwhile, since the job was run again, is looked at from its start.

    Waited for are the objects whose restore S3 has taken, or had taken before (RestoreAlreadyInProgress).

    Args:
        report_uri: the completion report's ``manifest.json``.
        s3: S3.
        so_far: what the look before returned; `Restores()` at first.
        expected: how many objects the job succeeded with, to compare with the report.
        plus_is_space: as `read_report` takes it.

    Raises:
        S3BatchError: objects will never be restored: they are gone, or archived without a restore under way.
        InvalidInput: the report has no rows for what succeeded.
        ReportError: there is no such report.
        S3Error: S3 doesn't tell about an object.
    """
    ongoing = await still_ongoing(so_far.ongoing, s3)
    so_far = replace(so_far, ongoing=ongoing, restored=so_far.restored + len(so_far.ongoing) - len(ongoing))
    if ongoing:
        return so_far
    report = await find_report(report_uri, s3)
    if so_far.report != report.fingerprint:
        so_far = Restores(report=report.fingerprint)
    succeeded = 0
    async with aclosing(_in_hundreds(report.outcomes(s3, plus_is_space=plus_is_space))) as outcomes:
        async for some in outcomes:
            succeeded += sum(outcome.succeeded for outcome in some)
            some = [outcome for outcome in some if outcome.entry.row > so_far.rows]  # noqa: PLW2901
            if not some:
                continue
            asked = [_archived(outcome) for outcome in some if outcome.succeeded or outcome.code == _UNDER_WAY]
            ongoing = await still_ongoing(asked, s3)
            so_far = replace(
                so_far,
                rows=some[-1].entry.row,
                restored=so_far.restored + len(asked) - len(ongoing),
                ongoing=(*so_far.ongoing, *ongoing),
            )
            if len(so_far.ongoing) >= _ENOUGH:
                return so_far
    if expected is not None and succeeded < expected:  # more, where the job was run again
        raise InvalidInput(
            f"{printable(report_uri)} has rows for {succeeded:,} of the {expected:,} objects that were asked for; "
            "to wait for them, give the job a CompletionReport with scope='AllTasks'"
        )
    return replace(so_far, ended=not so_far.ongoing)


async def still_ongoing(asked: Sequence[Archived], s3: S3Calls) -> tuple[Archived, ...]:
    """Those of the objects that S3 is still restoring.

    Raises:
        S3BatchError: some of them never will be.
        S3Error: S3 doesn't tell.
    """
    looks = await each(lambda one: _standing(one, s3), asked, at_once=_AT_ONCE)
    if lost := [(one, look) for one, look in zip(asked, looks, strict=True) if isinstance(look, str)]:
        raise _never(lost)
    return tuple(one for one, look in zip(asked, looks, strict=True) if look is True)


async def _standing(one: Archived, s3: S3Calls) -> bool | str:
    """Whether it is being restored; or why it never will be."""
    try:
        head = await s3.call("HeadObject", **with_version({"Bucket": one.bucket, "Key": one.key}, one.version))
    except S3Error as error:
        if error.status in _GONE:
            return "it isn't there any more"
        raise
    if told := head.get("Restore"):
        return _ONGOING in told
    if head.get("ArchiveStatus") or head.get("StorageClass") in _ARCHIVES:
        return "it is archived and no restore is under way: the restored copy has expired, or was never asked for"
    return False


def _never(lost: Sequence[tuple[Archived, str]]) -> S3BatchError:
    shown = "; ".join(f"{printable(one.uri)}: {why}" for one, why in lost[:_EXAMPLES])
    more = "; …" if len(lost) > _EXAMPLES else ""
    return S3BatchError(
        f"{counted(len(lost), 'object')} will not be restored by waiting: {shown}{more}; ask for them again"
    )


def _archived(outcome: Outcome) -> Archived:
    _, bucket, key, version, _ = outcome.entry
    return Archived(bucket, key, version)


async def _in_hundreds(report: AsyncGenerator[Outcome, None]) -> AsyncGenerator[list[Outcome], None]:
    some: list[Outcome] = []
    async with aclosing(report) as outcomes:
        async for outcome in outcomes:
            some.append(outcome)
            if len(some) == _AT_ONCE:
                yield some
                some = []
    if some:
        yield some
