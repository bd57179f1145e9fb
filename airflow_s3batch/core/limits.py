"""How far a job may go: `Limits` against S3, `FailureThreshold` against failing objects.

`Allowance` is what of the limits one partition may use right now.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field, field_validator

from airflow_s3batch.core.values import Value, known_arguments

__all__ = ["AWS_RULE", "Allowance", "FailureThreshold", "Limits"]


class Allowance:
    """What one partition may use at the moment.

    It changes while the partition runs: others share the job's rate, and a person may change the limits.
    """

    __slots__ = ("in_flight", "requests_per_second")

    def __init__(self, requests_per_second: float | None = None, in_flight: int | None = None) -> None:
        self.requests_per_second = requests_per_second
        """None for no limit but S3's own."""
        self.in_flight = in_flight
        """Most requests in flight at once; None for what the engine was made with."""


class Limits(Value):
    """How hard a job may drive S3. The defaults suit Amazon S3; every field can be set alone."""

    in_flight: int = Field(default=256, ge=1, le=10_000)
    """Most requests in flight at once, a partition. Fewer are used when S3 throttles, or queues instead."""
    requests_per_second: float | None = Field(default=None, gt=0)
    """Most requests a second, all partitions of the job together; None: as many as S3 takes without throttling."""
    retries: int = Field(default=8, ge=0, le=100)
    """How often one object is tried again after a fault that may pass, with full-jitter backoff."""
    connect_timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Seconds to open a connection, TLS included."""
    read_timeout: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Seconds to wait for an answer once a request is sent; every 16 KiB of its body begin them anew, and, at most
    fifteen times, white space by which S3 says that it is still at it."""

    @field_validator("requests_per_second")
    @classmethod
    def _check_rate(cls, rate: float | None) -> float | None:
        return None if rate == math.inf else rate  # JSON has no word for the infinite

    def to_aws(self) -> dict[str, Any]:
        """The limits as JSON (AWS has none)."""
        return self.model_dump()


class FailureThreshold(Value):
    """When so many objects fail that the job as a whole does: AWS's rule by default.

    The job fails once at least `minimum` objects have been run, in all partitions together, and more than `percent` of
    those have failed.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-status.html
    """

    percent: float = Field(default=50.0, ge=0, lt=100)
    """Most objects that may fail, in percent of those that ran."""
    minimum: int = Field(default=1_000, ge=1)
    """Objects that must have been run before it counts."""

    def is_passed(self, ran: int, failed: int) -> bool:
        """Whether so many failures of so many objects are too many."""
        return ran >= self.minimum and 100 * failed > self.percent * ran

    def told(self, ran: int, failed: int) -> str:
        """The reason of a job in which so many failures of so many objects were too many."""
        return f"{failed:,} of {ran:,} objects have failed: more than {self.percent:g} % of at least {self.minimum:,}"

    def to_aws(self) -> dict[str, Any]:
        """The threshold as JSON (AWS's can't be set)."""
        return {"Percent": self.percent, "Minimum": self.minimum}

    @classmethod
    def from_aws(cls, threshold: dict[str, Any] | None) -> FailureThreshold | None:
        """Read what `to_aws` wrote; None stands for none.

        Raises:
            InvalidInput: it isn't that.
        """
        if threshold is None:
            return None
        known_arguments(cls.__name__, threshold, {"Percent", "Minimum"})
        return cls(**{name.lower(): value for name, value in threshold.items()})


AWS_RULE = FailureThreshold()
"""What AWS's own jobs go by."""
