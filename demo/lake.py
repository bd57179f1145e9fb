"""The data lake of the demo: which objects it holds, the manifests of the example DAGs, and what must come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

__all__ = ["AWKWARD_KEYS", "BUCKET", "LOGS", "Lake", "Row"]

BUCKET = "lake"
ARCHIVE = "lake-archive"
LOGS = "lake-logs"
"""The one that keeps versions."""
NO_BUCKET = "lake-decommissioned"

AWKWARD_KEYS = (
    *("a b", " ", " lead", "trail ", "+", "a+b", "%41", "%2F", "100%", "a%20b"),
    *("a//b", "//lead", "/lead", "tr/", "tr//", "..", "../x", "a/../b", "a/./b", ".", "./a"),
    *("q?x=1", "frag#x", "a&b=c", "*", "'q'", '"dq"', "(p)", "!$&,;:@", "~tilde", "back\\slash"),
    *("<x>", "[b]", "{c}", "|^`", "tab\there", "é", "naïve-ü", "日本/キー", "😀"),
)
"""Keys that break clients. A newline would belong here, but moto's server doesn't find keys that hold one."""


class Row(NamedTuple):
    """A row of a manifest, and the error code that its object must end with (empty: it succeeds)."""

    bucket: str
    key: str
    code: str = ""

    @property
    def text(self) -> str:
        """The row as AWS's manifests have it."""
        return f"{self.bucket},{self.encoded_key}\n"

    @property
    def encoded_key(self) -> str:
        """The key as manifest and report spell it."""
        return quote(self.key, safe="/")


@dataclass(frozen=True)
class Lake:
    """A lake with so many objects for the demo's job (1,000 or more), awkward ones among them, and some others."""

    size: int = 8_000
    buckets: tuple[str, ...] = field(default=(BUCKET, ARCHIVE, LOGS), init=False)

    def objects(self) -> Iterator[tuple[str, str]]:
        """Key and storage class of every object in the bucket ``lake``."""
        for key in AWKWARD_KEYS:
            yield key, "STANDARD"
        for key in self._events():
            yield key, "STANDARD"
        for key in self._audited():
            yield key, "STANDARD"
        for key in self._raw():
            yield key, "STANDARD"
        for key in self._archived():
            yield key, "GLACIER"

    def logs(self) -> Iterator[str]:
        """Key of every object in the bucket ``lake-logs``."""
        for number in range(2_400):
            yield f"2025/{1 + number % 12:02d}/{number:04d} + access.log"

    def manifests(self) -> dict[str, list[Row]]:
        """The manifests in ``lake/manifests/``, by name; one for each of the example DAGs."""
        events = [Row(BUCKET, key) for key in self._events()]
        return {
            "cold.csv": self.cold(),
            "archive.csv": events[:500],
            "restore.csv": [
                *(Row(BUCKET, key) for key in self._archived()),
                Row(BUCKET, events[0].key, "InvalidObjectState"),
            ],
            "public.csv": events[500:800],
            "audited.csv": [Row(BUCKET, key) for key in self._audited()],
            "migration.csv": [Row(BUCKET, key) for key in self._raw()],
            "expired.csv": [Row(LOGS, key) for key in self.logs() if key.startswith("2025/01/")],
        }

    def cold(self) -> list[Row]:
        """The demo's own manifest: all objects, and between them a few rows that must fail."""
        rows = [Row(BUCKET, key) for key in (*AWKWARD_KEYS, *self._events())]
        wrong = [
            *(Row(BUCKET, f"events/deleted/{number}.json", "NoSuchKey") for number in range(17)),
            *(Row(NO_BUCKET, f"events/{number}.json", "NoSuchBucket") for number in range(6)),
        ]
        step = len(rows) // len(wrong)
        for number, row in enumerate(wrong):
            rows.insert(number * (step + 1), row)
        return rows

    def _events(self) -> Iterator[str]:
        for number in range(self.size - len(AWKWARD_KEYS)):
            day, part = 1 + number % 28, AWKWARD_KEYS[number % len(AWKWARD_KEYS)]
            name = part if number % 5 == 0 else f"part-{number}.json"
            yield f"events/2026/01/{day:02d}/{number:06d}/{name}"

    def _audited(self) -> Iterator[str]:
        for number in range(25):
            yield f"accounts/audited/{number:02d}.csv"

    def _raw(self) -> Iterator[str]:
        for number in range(40):
            yield f"raw/2026/{1 + number % 12:02d}/part {number:02d}.json"

    def _archived(self) -> Iterator[str]:
        for number in range(60):
            yield f"glacier/2019/{number:03d} + history.parquet"
