"""Rows of CSV manifests, as those who write them do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

__all__ = ["KINDS", "text"]

_INVENTORY = ("Bucket", "Key", "Size", "LastModifiedDate", "ETag", "StorageClass")
_VERSION = "3HL4kqtJlcpXroDTDmJ_rmSpXd3dIbrH"


def _key(row: int) -> str:
    return f"data/year%3D2026/part%3D{row // 1000}/file-{row}.parquet"


def _inventory(row: int, key: str, version: str = "") -> str:
    etag = hashlib.md5(str(row).encode()).hexdigest()
    return f'"lake-bucket","{key}",{version}"{row * 977}","2026-11-24T10:00:00.000Z","{etag}","STANDARD"'


def _version(row: int) -> str:
    """Every tenth is an old one, and every fiftieth a delete marker."""
    flags = f'"{str(row % 10 > 0).lower()}","{str(row % 50 == 1).lower()}"'
    return f'"{_VERSION}{row:06}",{flags},'


KINDS: dict[str, tuple[tuple[str, ...], Callable[[int], str]]] = {
    "two columns": (("Bucket", "Key"), lambda row: f"lake-bucket,{_key(row)}"),
    "with versions": (("Bucket", "Key", "VersionId"), lambda row: f"lake-bucket,{_key(row)},{_VERSION}{row:06}"),
    "all quoted": (("Bucket", "Key"), lambda row: f'"lake-bucket","{_key(row)}"'),
    "three buckets in turn": (("Bucket", "Key"), lambda row: f"lake-bucket-{row % 3},{_key(row)}"),
    "keys beyond ASCII": (
        ("Bucket", "Key"),
        lambda row: f"lake-bucket,%E6%97%A5%E6%9C%AC/%C3%BCber/file-{row}.parquet",
    ),
    "an inventory's six columns": (_INVENTORY, lambda row: _inventory(row, _key(row))),
    "an inventory of all versions": (
        (*_INVENTORY[:2], "VersionId", "IsLatest", "IsDeleteMarker", *_INVENTORY[2:]),
        lambda row: _inventory(row, _key(row), _version(row)),
    ),
    "an inventory of hashes": (_INVENTORY, lambda row: _inventory(row, hashlib.sha512(str(row).encode()).hexdigest())),
}
"""The columns of each kind, and what makes one of its rows."""


def text(kind: str, rows: int) -> bytes:
    """So many rows."""
    line = KINDS[kind][1]
    return "".join(f"{line(row)}\n" for row in range(rows)).encode()
