"""RestoreObject: start bringing archived objects back."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import StrictBool, field_validator
from typing_extensions import Self

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.operations.base import RequestOperation, with_version
from airflow_s3batch.core.values import Text, WholeNumber, known_arguments, one_of

__all__ = ["RestoreObject"]

_DAYS_MOST = 2**31 - 1


class RestoreObject(RequestOperation):
    """Start to restore every object from its archive: ``RestoreObject(days=7, tier="BULK")``.

    It is done when S3 has taken the request; the restored copy is there minutes to days later, depending on class and
    tier. An object whose restore is under way fails with RestoreAlreadyInProgress unless S3 can speed it up; one
    that is restored already succeeds, and its copy stays for `days` from now.

    Args:
        days: how many days the restored copy stays (at least 1) for GLACIER and DEEP_ARCHIVE; None for the archive
            tiers of INTELLIGENT_TIERING, which return for good.
        tier: ``STANDARD`` or ``BULK`` (cheaper, slower), as AWS's batch jobs have it.
        wait: whether `s3_batch_job` waits, at its end, until all the objects can be read. It is no part of the job.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-initiate-restore-object.html
    """

    aws_name: ClassVar[str] = "S3InitiateRestoreObject"

    days: WholeNumber | None = None
    tier: Annotated[Text, one_of("BULK", "STANDARD")] = "BULK"
    wait: StrictBool = False

    def __init__(self, days: int | str | None = None, *, tier: str = "BULK", wait: bool = False) -> None:
        super().__init__(days=days, tier=tier, wait=wait)

    @field_validator("days")
    @classmethod
    def _check_days(cls, days: int | str | None) -> int | str | None:
        if isinstance(days, int) and not 1 <= days <= _DAYS_MOST:
            raise InvalidInput(f"{days} days; S3 takes 1 or more (None for the archive tiers of INTELLIGENT_TIERING)")
        return days

    def request(self, bucket: str, key: str, version: str | None) -> tuple[str, dict[str, Any]]:
        """One RestoreObject."""
        # S3's own words for the tiers are capitalised: https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html
        restore: dict[str, Any] = {} if self.days is None else {"Days": self.days}
        restore["GlacierJobParameters"] = {"Tier": self.tier.capitalize()}
        parameters: dict[str, Any] = {"Bucket": bucket, "Key": key, "RestoreRequest": restore}
        return "RestoreObject", with_version(parameters, version)

    def arguments(self) -> dict[str, Any]:
        """AWS's S3InitiateRestoreObjectOperation."""
        arguments: dict[str, Any] = {"GlacierJobTier": self.tier}
        return arguments if self.days is None else {"ExpirationInDays": self.days, **arguments}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from AWS's S3InitiateRestoreObjectOperation."""
        known_arguments(cls.__name__, arguments, {"ExpirationInDays", "GlacierJobTier"})
        return cls(arguments.get("ExpirationInDays"), tier=arguments.get("GlacierJobTier", "BULK"))
