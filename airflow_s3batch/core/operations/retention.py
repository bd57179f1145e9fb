"""PutObjectRetention: protect every object until a date; and what Object Lock wants of a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import field_validator, model_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, S3Error, printable
from airflow_s3batch.core.operations.base import RequestOperation, with_version
from airflow_s3batch.core.values import Flag, Moment, Text, WholeNumber, as_datetime, known_arguments, one_of

__all__ = ["PutObjectRetention", "require_future", "require_object_lock"]

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_S3ObjectLockRetentionEventHoldDuration.html
_MOST_DAYS, _MOST_YEARS = 36_500, 100


async def require_object_lock(bucket: str, s3: S3Calls) -> None:
    """Look whether the bucket has Object Lock (and so versions), as AWS's batch jobs do before they touch a key.

    Raises:
        InvalidInput: it hasn't.
        S3Error: S3 doesn't tell (it takes ``s3:GetBucketObjectLockConfiguration``).
    """
    try:
        told = await s3.call("GetObjectLockConfiguration", Bucket=bucket)
    except S3Error as error:
        if error.code != "ObjectLockConfigurationNotFoundError":
            raise
        told = {}
    if told.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") != "Enabled":
        raise InvalidInput(
            f"bucket {printable(bucket)} has no Object Lock: no object in it can have a retention or a legal hold; "
            "enable versioning and Object Lock for the bucket, or leave it out of the manifest"
        )


def require_future(name: str, when: str | None, now: datetime) -> None:
    """See that the moment is still to come: S3 takes no other for a retention, of whatever object.

    Raises:
        InvalidInput: it has passed.
    """
    if when is not None and as_datetime(when) <= now:
        raise InvalidInput(f"{name}: {when} has passed; S3 takes a date that is still to come")


class PutObjectRetention(RequestOperation):
    """Protect every object until a date: ``PutObjectRetention("GOVERNANCE", "2030-01-01T00:00:00Z")``.

    Without mode and date (and event hold) it removes the retention. S3 prolongs one at any time; shortening or removing
    one takes `bypass_governance`, and can't be done under COMPLIANCE.

    Args:
        mode: GOVERNANCE (some may lift it) or COMPLIANCE (nobody can).
        retain_until: until when: an aware datetime, ISO 8601 text, or a template.
        bypass_governance: lift GOVERNANCE where it is in the way (takes ``s3:BypassGovernanceRetention``).
        event_hold: ON protects the object until an event hold is OFF again.
        event_hold_days, event_hold_years: how long an object stays protected after that, by one of the two.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-retention-date.html
    """

    aws_name: ClassVar[str] = "S3PutObjectRetention"

    mode: Annotated[Text, one_of("COMPLIANCE", "GOVERNANCE")] | None = None
    retain_until: Moment | None = None
    bypass_governance: Flag = False
    event_hold: Annotated[Text, one_of("ON", "OFF")] | None = None
    event_hold_days: WholeNumber | None = None
    event_hold_years: WholeNumber | None = None

    def __init__(
        self,
        mode: str | None = None,
        retain_until: datetime | str | None = None,
        *,
        bypass_governance: bool | str = False,
        event_hold: str | None = None,
        event_hold_days: int | str | None = None,
        event_hold_years: int | str | None = None,
    ) -> None:
        super().__init__(
            mode=mode,
            retain_until=retain_until,
            bypass_governance=bypass_governance,
            event_hold=event_hold,
            event_hold_days=event_hold_days,
            event_hold_years=event_hold_years,
        )

    @field_validator("event_hold_days")
    @classmethod
    def _check_days(cls, days: int | str | None) -> int | str | None:
        return _within(days, _MOST_DAYS)

    @field_validator("event_hold_years")
    @classmethod
    def _check_years(cls, years: int | str | None) -> int | str | None:
        return _within(years, _MOST_YEARS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.event_hold_days is not None and self.event_hold_years is not None:
            raise InvalidInput("give event_hold_days or event_hold_years, not both")
        # With an event hold, S3 decides what belongs together: AWS doesn't say.
        holds = any(given is not None for given in (self.event_hold, self.event_hold_days, self.event_hold_years))
        if (self.mode is None) != (self.retain_until is None) and not holds:
            raise InvalidInput("give mode and retain_until, or neither of them to remove the retention")
        return self

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """One PutObjectRetention."""
        parameters: dict[str, Any] = {"Bucket": bucket, "Key": key, **self.arguments()}
        return "PutObjectRetention", with_version(parameters, version)

    def check_job(self, rows: int, buckets: Sequence[str], now: datetime) -> None:  # noqa: ARG002
        """See that the date is still to come; raises as `require_future`."""
        require_future("retain_until", self.retain_until, now)

    async def look(self, bucket: str, s3: S3Calls) -> None:
        """See that the bucket has Object Lock; raises as `require_object_lock`."""
        await require_object_lock(bucket, s3)

    def arguments(self) -> dict[str, Any]:
        """AWS's S3SetObjectRetentionOperation."""
        held = {"Days": self.event_hold_days, "Years": self.event_hold_years}
        retention = {
            "Mode": self.mode,
            "RetainUntilDate": self.retain_until,
            "EventHold": self.event_hold,
            "EventHoldDuration": _given(held) or None,
        }
        bypass = {} if self.bypass_governance is False else {"BypassGovernanceRetention": self.bypass_governance}
        return {"Retention": _given(retention), **bypass}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's S3SetObjectRetentionOperation."""
        known_arguments(cls.__name__, arguments, {"Retention", "BypassGovernanceRetention"})
        if not isinstance(arguments.get("Retention"), dict):
            raise InvalidInput(f"{cls.__name__}: Retention is missing; an empty one removes objects' retention")
        known = {"Mode", "RetainUntilDate", "EventHold", "EventHoldDuration"}
        retention = known_arguments(cls.__name__, arguments["Retention"], known)
        held = known_arguments(cls.__name__, retention.get("EventHoldDuration") or {}, {"Days", "Years"})
        return cls(
            retention.get("Mode"),
            retention.get("RetainUntilDate"),
            bypass_governance=arguments.get("BypassGovernanceRetention", False),
            event_hold=retention.get("EventHold"),
            event_hold_days=held.get("Days"),
            event_hold_years=held.get("Years"),
        )


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _within(number: int | str | None, most: int) -> int | str | None:
    if isinstance(number, int) and not 1 <= number <= most:
        raise InvalidInput(f"{number} is not between 1 and {most:,}")
    return number
