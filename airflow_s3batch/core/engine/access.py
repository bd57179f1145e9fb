"""`S3Access`: which S3, where, and as whom. What the engine needs to know and nothing of where it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = ["Credentials", "S3Access"]


class Credentials(NamedTuple):
    """What signs requests. Never printed: its `repr` shows no secret."""

    access_key: str
    secret_key: str
    token: str | None = None
    """The session token of temporary credentials."""

    def __repr__(self) -> str:
        return "Credentials(***)"


def anonymous() -> Credentials | None:
    """No credentials: requests go unsigned."""
    return None


@dataclass(frozen=True, kw_only=True)
class S3Access:
    """Which S3, where, and as whom."""

    credentials: Callable[[], Credentials | None] = anonymous
    """Gives the credentials of now, or None to go unsigned. May block (it is called in a thread, every 30 s and when
    S3 calls a token expired), and renews what expires by itself."""
    region: str = "us-east-1"
    endpoint_url: str | None = None
    """Another S3 than Amazon's (``http://127.0.0.1:9000``), or a way of one's own to Amazon's (a VPC endpoint)."""
    lambda_endpoint_url: str | None = None
    """Likewise, where Lambda is."""
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    """Whether the bucket stands in the path or in the host's name; botocore's words and rules."""
    verify: bool | str = True
    """Whether to verify TLS certificates; a path names a file of CA certificates to trust instead."""
    client_cert: str | tuple[str, str] | None = None
    """What a store that asks for a certificate is shown: a file with certificate and key, or a file of each."""
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    """HTTP proxies by the scheme of what is reached through them: ``{"https": "http://proxy:3128"}``; none if empty.
    None for what boto3 takes then: HTTPS_PROXY and HTTP_PROXY of the environment, less what NO_PROXY names."""
    use_accelerate: bool = False
    """Whether to go to buckets by S3 Transfer Acceleration."""
    use_dualstack: bool = False
    use_fips: bool = False
