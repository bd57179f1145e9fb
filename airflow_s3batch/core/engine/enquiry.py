"""`Enquiry`: what a refusal leaves out, asked of S3 apart: where the bucket is, and whether it was for who asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from airflow_s3batch.core.engine.conversation import Answer, Fault
from airflow_s3batch.core.engine.retry import is_refused, read_error

__all__ = ["Enquiry"]

_BAD_REQUEST, _FORBIDDEN = 400, 403
_PERMANENT, _TEMPORARY = 301, 307
# Regions that an account opts in to are unknown to the others, and so is where else to go.
_UNKNOWN_REGION = "IllegalLocationConstraintException"
# A HEAD that went to the wrong region is a bare 400.
_WRONG_REGION = frozenset({"AuthorizationHeaderMalformed", "BadRequest", _UNKNOWN_REGION})
_REGION_TOLD = re.compile(rb"<Region>([^<]*)</Region>")
_REGION = re.compile(r"[a-z0-9-]{1,63}")
_HOLDS = 1.0
"""Seconds for which S3's word about the credentials holds for all that are refused."""


class Enquiry:
    """Asks S3 what its refusals don't say.

    Args:
        ask: makes one attempt at an action about a bucket.
        clock: monotonic seconds.
    """

    def __init__(self, ask: Callable[[str, str], Awaitable[Answer | Fault]], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = asyncio.Lock()
        self._regions: dict[str, str] = {}
        self._refusal: tuple[str, str] | None = None
        self._asked = float("-inf")

    async def why(self, bucket: str, answer: Answer, *, region: str, bodyless: bool, anew: bool) -> tuple[str, str]:
        """S3's code and message in an answer that is an error.

        An answer to HEAD (`bodyless`) has no room for them, so that refused credentials look like an object that can't
        be read, or like another `region` than the one that was asked, but that is named. What S3 said of the
        credentials a moment ago counts for all, unless `anew`: they may be others now.
        """
        code, message = read_error(answer.status, answer.body, answer.header("x-amzn-errortype"))
        if not bodyless or answer.status not in {_BAD_REQUEST, _FORBIDDEN}:
            return code, message
        if _named_region(answer) not in {"", region}:
            return code, message
        return await self._refused(bucket, anew=anew) or (code, message)

    async def region(self, bucket: str, answer: Answer, code: str) -> str:
        """The region where a request belongs that came to another; empty if that isn't why it failed, or not known."""
        if answer.status not in {_PERMANENT, _TEMPORARY} and code not in _WRONG_REGION:
            return ""
        region = _named_region(answer)
        if region or (answer.status != _PERMANENT and code != _UNKNOWN_REGION):
            return region
        async with self._lock:
            if bucket not in self._regions:  # as boto3 does, but once a bucket
                told = await self._ask("HeadBucket", bucket)
                if isinstance(told, Fault):
                    return ""
                self._regions[bucket] = _named_region(told)
            return self._regions[bucket]

    async def _refused(self, bucket: str, *, anew: bool) -> tuple[str, str] | None:
        async with self._lock:
            if anew or self._clock() - self._asked >= _HOLDS:
                told = await self._ask("GetBucketLocation", bucket)
                why = None if isinstance(told, Fault) else read_error(told.status, told.body)
                self._refusal = why if why is not None and is_refused(why[0]) else None
                self._asked = self._clock()
            return self._refusal


def _named_region(answer: Answer) -> str:
    """The region that the answer names, empty if it names none."""
    found = _REGION_TOLD.search(answer.body)
    region = answer.header("x-amz-bucket-region") or (found[1].decode("ascii", "replace") if found else "")
    # It becomes part of a host's name: an answer mustn't choose where requests go.
    return region if _REGION.fullmatch(region) else ""
