"""`Route`: a compiled request on its way to one bucket, wherever that is found to be."""

from __future__ import annotations

from collections.abc import Callable

from airflow_s3batch.core.engine.access import Credentials
from airflow_s3batch.core.engine.compiled import Compiled, Origin
from airflow_s3batch.core.engine.conversation import Answer
from airflow_s3batch.core.engine.retry import is_error_inside
from airflow_s3batch.core.engine.signing import Signer

__all__ = ["Route"]


class Route:
    """A compiled request on its way to one bucket.

    Keeps the region that a redirect taught, and the signature's state.
    """

    def __init__(
        self,
        bucket: str,
        compile_for: Callable[[str | None], Compiled],
        region: str | None,
        *,
        error_in_body: bool,
        targeted: bool = False,
    ) -> None:
        self.bucket = bucket
        self._compile_for = compile_for
        self._signer: Signer | None = None
        self._signed_as: Credentials | None = None
        self.error_in_body = error_in_body
        self.targeted = targeted
        """Whether every object has a target key of its own."""
        self.move(region)

    def move(self, region: str | None) -> None:
        """Send to another region from now on (None: the access's own)."""
        self.compiled = compiled = self._compile_for(region)
        self.region = compiled.region
        self.origin: Origin = compiled.origin
        self.bodyless = compiled.method == "HEAD"
        self._signer = None

    def carrying(self, change: Callable[[Compiled], Compiled]) -> Route:
        """The same route, for a request with a body of its own: `change` makes it of this one's."""
        return Route(
            self.bucket, lambda region: change(self._at(region)), self.region, error_in_body=self.error_in_body
        )

    def _at(self, region: str | None) -> Compiled:
        """The compiled request for this region, where it is sent from now on."""
        if region != self.region:
            self.move(region)
        return self.compiled

    def succeeded(self, answer: Answer) -> bool:
        """Whether the answer says that it is done."""
        return answer.status < 300 and not (self.error_in_body and is_error_inside(answer.body))  # noqa: PLR2004

    def signer(self, credentials: Credentials | None) -> Signer:
        """What makes the bytes to send, signed by these credentials."""
        signer = self._signer
        if signer is None or credentials is not self._signed_as:
            self._signer = signer = Signer(self.compiled, credentials)
            self._signed_as = credentials
        return signer
