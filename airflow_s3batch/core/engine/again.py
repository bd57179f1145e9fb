"""`Again`: whether one request may be sent again."""

from __future__ import annotations

from airflow_s3batch.core.engine.conversation import ConnectFault, Fault, Reset
from airflow_s3batch.core.engine.retry import is_transient

__all__ = ["Again"]

_STALE_MOST = 3
"""How many kept-alive connections in a row may turn out closed before it counts as a fault."""


class Again:
    """Whether one request may be sent again, and what has been tried already.

    Args:
        retries: attempts after the first that failed in a way that may pass.
        final: faults after which it is not sent again.
    """

    def __init__(self, retries: int, *, final: tuple[type[Fault], ...]) -> None:
        self._retries = retries
        self._final = final
        self._stale = 0
        self.faults = 0
        """Attempts that failed in a way that may pass."""
        self.wait = False
        """Whether to back off before the next attempt."""
        self.elsewhere = True
        """A redirect may be followed (once)."""
        self.as_another = True
        """The credentials may be renewed (once)."""

    def after_fault(self, fault: Fault) -> bool:
        """Whether to send it again after it got no usable answer."""
        if isinstance(fault, Reset) and fault.stale and self._stale < _STALE_MOST:
            self._stale += 1
            return True
        if isinstance(fault, self._final):
            return False
        return not (isinstance(fault, ConnectFault) and fault.permanent) and self._one_more()

    def after_error(self, status: int, code: str) -> bool:
        """Whether to send it again after an answer with this status and S3's code."""
        return is_transient(status, code) and self._one_more()

    def _one_more(self) -> bool:
        self.faults += 1
        self.wait = True
        return self.faults <= self._retries
