"""Suite *prepare*: CSV rows checked and counted, and manifests prepared that are larger than memory should be."""

from __future__ import annotations

from benchmarks.sample import Case, run_client

__all__ = ["LARGE", "SMALL", "cases", "large_cases"]

_ROWS = 4_000_000
_KINDS = (
    "two columns",
    "with versions",
    "all quoted",
    "three buckets in turn",
    "keys beyond ASCII",
    "an inventory's six columns",
    "an inventory of all versions",
)
SMALL, LARGE = 1_000_000, 100_000_000
"""Rows of the manifests whose memory is compared."""
_FILES = {"64 MiB": 64 * 1024**2, "2 GiB": 2 * 1024**3}
"""Bytes of an inventory's file, compressed: the larger one is about what S3 Inventory lets one grow to."""


def cases() -> list[Case]:
    """What a row costs, by what stands in it."""
    return [_rows(kind) for kind in _KINDS]


def large_cases() -> list[Case]:
    """What a whole manifest costs, and the memory that it takes."""
    sizes = [(file_format, size) for file_format in ("CSV", "Parquet") for size in (SMALL, LARGE)]
    cases = [_prepared(file_format, f"{size:,} rows", size) for file_format, size in sizes]
    return [*cases, *(_prepared("CSV.gz", f"an inventory's file of {told}", size) for told, size in _FILES.items())]


def _rows(kind: str) -> Case:
    return Case("rows", "CSV", kind, lambda: run_client("manifest", {"objects": _ROWS, "kind": kind}))


def _prepared(file_format: str, setting: str, size: int) -> Case:
    return Case("prepare", file_format, setting, lambda: run_client("prepare", {"format": file_format, "size": size}))
