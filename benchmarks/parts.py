"""Suite *parts*: what signing costs alone."""

from __future__ import annotations

from benchmarks.sample import Case, run_client

__all__ = ["cases"]


def cases() -> list[Case]:
    """All of the suite."""
    return [Case("parts", "signing", "PutObjectTagging", lambda: run_client("signing", {"objects": 200_000}))]
