"""Suite *parts*: what signing and the manifest cost alone."""

from __future__ import annotations

from benchmarks.sample import Case, run_client

__all__ = ["cases"]


def cases() -> list[Case]:
    """All of the suite."""
    return [
        Case("parts", "signing", "PutObjectTagging", lambda: run_client("signing", {"objects": 200_000})),
        Case("parts", "manifest", "CSV, two columns", lambda: run_client("manifest", {"objects": 1_000_000})),
    ]
