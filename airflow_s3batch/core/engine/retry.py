"""Which answers may pass, and how long to wait before trying again.

Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Backoff", "is_error_inside", "is_refused", "is_throttle", "is_transient", "read_error"]

_TRANSIENT_STATUS = frozenset({429, 500, 502, 503, 504})
_THROTTLE = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "TooManyRequestsException",
        "BandwidthLimitExceeded",
        "ServiceUnavailable",
    }
)
# S3's codes that ask for another try under a status which doesn't say so, or inside a 200.
_TRANSIENT_CODE = _THROTTLE | {"InternalError", "OperationAborted", "RequestTimeout", "ConditionalRequestConflict"}
# What is about who asks and when, never about an object. Not SignatureDoesNotMatch: stores that encode keys in ways of
# their own say that about single objects.
_REFUSED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "InvalidTokenId",
        "ProxyAuthenticationRequired",
        "RequestTimeTooSkewed",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)

_TOLD = 200
_ERROR_MOST = 16 * 1024
"""Bytes of an answer in which an error is looked for; S3's are some hundred."""
_ERROR = re.compile(rb"<Error[\s>]")
_TEXT = rb"(\s*<!\[CDATA\[.*?\]\]>\s*|[^<]*)"
_CODE = re.compile(rb"<Code>" + _TEXT + rb"</Code>", re.DOTALL)
_MESSAGE = re.compile(rb"<Message>" + _TEXT + rb"</Message>", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How often to try again, and how long to wait: a random share of a bound that doubles."""

    retries: int
    first: float = 0.1
    """Seconds: the bound before the first retry."""
    most: float = 20.0
    """Seconds: the bound stops doubling here."""

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Seconds to wait after the attempt (0 is the first), `random` in [0, 1)."""
        return random() * min(self.most, self.first * 2.0 ** min(attempt, 60))


def is_transient(status: int, code: str) -> bool:
    """Whether the same request may succeed later."""
    return status in _TRANSIENT_STATUS or code in _TRANSIENT_CODE


def is_throttle(status: int, code: str) -> bool:
    """Whether S3 asks for fewer requests."""
    return status in {429, 503} or code in _THROTTLE


def is_refused(code: str) -> bool:
    """Whether the credentials are refused, and fresh ones (or a fresh signature) would help."""
    return code in _REFUSED


def is_error_inside(body: bytes) -> bool:
    """Whether the body of a 200 says that the call failed after all: an error, or no result at all."""
    return _ERROR.search(body) is not None or not body.strip()


def read_error(status: int, body: bytes, kind: str = "") -> tuple[str, str]:
    """S3's error code and message in an answer's body; from the status where the body holds none (HEAD). Never empty.

    Services that speak JSON tell the code in the header ``x-amzn-errortype``, here `kind`.
    """
    by_status = _BARE.get(status, str(status))
    if kind:
        return kind.partition(":")[0].strip() or by_status, _json_message(body)
    head = body[:_ERROR_MOST]
    code, message = _CODE.search(head), _MESSAGE.search(head)
    told = _plain(message[1]) if message else ""
    if code:
        return _plain(code[1]) or by_status, told
    return by_status, told or f"HTTP status {status} without an S3 error body"


def _json_message(body: bytes) -> str:
    try:
        told = json.loads(body)
        return str(told.get("message") or told.get("Message") or "")
    except (ValueError, AttributeError):
        return body[:_TOLD].decode("utf-8", "replace")


def _plain(text: bytes) -> str:
    told = text.decode("utf-8", "replace").strip()
    if told.startswith("<![CDATA["):
        return told.removeprefix("<![CDATA[").removesuffix("]]>")
    return html.unescape(told)


# What S3 means by a status when a body is missing: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_BARE = {
    200: "InternalError",  # a copy whose answer ended before it held a result
    301: "PermanentRedirect",
    304: "NotModified",
    400: "BadRequest",
    403: "AccessDenied",
    404: "NotFound",
    405: "MethodNotAllowed",
    407: "ProxyAuthenticationRequired",
    409: "Conflict",
    412: "PreconditionFailed",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}
