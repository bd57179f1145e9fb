"""`PacedCalls`: calls each of which takes its turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["PacedCalls"]


class PacedCalls:
    """`RawCalls` for what an operation does to its objects.

    Args:
        call: makes a call, by its action and parameters.
        post: makes one with a body of the caller's, by action, body and parameters.
    """

    def __init__(
        self,
        call: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]],
        post: Callable[[str, bytes, dict[str, Any]], Awaitable[bytes]],
    ) -> None:
        self._call = call
        self._post = post

    async def call(self, action: str, /, **parameters: Any) -> dict[str, Any]:
        """See `S3Calls.call`."""
        return await self._call(action, parameters)

    async def post(self, action: str, body: bytes, /, **parameters: Any) -> bytes:
        """See `RawCalls.post`."""
        return await self._post(action, body, parameters)
