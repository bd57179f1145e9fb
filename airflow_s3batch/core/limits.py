"""`Limits`: how hard a job may drive S3; `Allowance`: what of it one partition may use right now."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from airflow_s3batch.core.values import Value

__all__ = ["Allowance", "Limits"]


class Allowance:
    """How many requests a second one partition may send, which changes while it runs: the job's partitions share."""

    __slots__ = ("requests_per_second",)

    def __init__(self, requests_per_second: float | None = None) -> None:
        self.requests_per_second = requests_per_second
        """None for no limit but S3's own."""


class Limits(Value):
    """How hard a job may drive S3. The defaults suit Amazon S3; every field can be set alone."""

    in_flight: int = Field(default=256, ge=1, le=10_000)
    """Most requests in flight at once, a partition. Fewer are used when S3 throttles, or queues instead."""
    requests_per_second: float | None = Field(default=None, gt=0)
    """Most requests a second, all partitions of the job together; None: as many as S3 takes without throttling."""
    retries: int = Field(default=8, ge=0, le=100)
    """How often one object is tried again after a fault that may pass, with full-jitter backoff."""
    connect_timeout: float = Field(default=10.0, gt=0)
    """Seconds to open a connection, TLS included."""
    read_timeout: float = Field(default=60.0, gt=0)
    """Seconds to wait for an answer once a request is sent."""

    def to_aws(self) -> dict[str, Any]:
        """The limits as JSON (AWS has none)."""
        return self.model_dump()
