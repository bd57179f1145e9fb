"""`keep_share`: a partition's part of the job's requests a second: as many parts as partitions run at the time.

The partitions run anywhere and know nothing of each other but the job's folder. Each leaves a sign of life there, and
counts the fresh ones. Freshness is measured by S3's own clock, so that no worker's clock matters.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from airflow_s3batch.core.errors import ReportError
from airflow_s3batch.core.limits import Allowance
from airflow_s3batch.core.store import JobFolder

__all__ = ["keep_share"]

log = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two signs of life."""
FRESH = 15.0
"""Seconds for which a sign of life counts; then the others take over what a partition that ended or died has used."""


async def keep_share(
    folder: JobFolder,
    number: int,
    requests_per_second: float,
    allowance: Allowance,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Keep `allowance` at this partition's share, until cancelled.

    Args:
        folder: the job's.
        number: the partition's.
        requests_per_second: what all partitions may send together.
        allowance: is set, at once and then every few seconds.
        sleep: seconds to wait.
    """
    while True:
        try:
            running = await folder.show_running(number, fresh=FRESH)
        except ReportError as error:
            log.warning("The other partitions can't be counted; going on with the share at hand: %s", error)
        else:
            allowance.requests_per_second = requests_per_second / running
        await sleep(EVERY)
