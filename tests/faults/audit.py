"""The audit of a job that was killed again and again: its folder and report against the server's record.

By other means than the package's: json, csv and hashlib. Every finding is a sentence about what is wrong.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from typing import Any, NamedTuple

from tests.faults.recording_s3 import MISSING, Put, Record

__all__ = ["Attempt", "Evidence", "Lake", "findings", "rows_of"]

_CHECKPOINT = re.compile(r"partitions/(\d+)/checkpoint-(\d+)\.json")
_SHOWN = 5
_ATTEMPT = re.compile(r"partitions/(\d+)/attempt\.json")


@dataclass(frozen=True)
class Lake:
    """The objects of a job: rows 1 to `rows` of its manifest, every so many of which are missing in S3."""

    bucket: str
    rows: int
    missing_every: int = 200

    def key(self, row: int) -> str:
        """The row's object."""
        return f"events/{MISSING if self.is_missing(row) else 'part-'}{row:08}"

    def is_missing(self, row: int) -> bool:
        """Whether the operation on it must fail."""
        return row % self.missing_every == 0

    def manifest(self) -> bytes:
        """The manifest, CSV."""
        return "".join(f"{self.bucket},{self.key(row)}\n" for row in range(1, self.rows + 1)).encode()


class Attempt(NamedTuple):
    """What one attempt at a partition left behind."""

    partition: int
    number: int
    served: int
    """Operations that S3 carried out for it."""
    committed: int
    """Rows that its checkpoints name."""
    finished: bool

    @property
    def lost(self) -> int:
        """Operations that no checkpoint tells of: what a kill makes the next attempt do again."""
        return self.served - self.committed


@dataclass(frozen=True)
class Evidence:
    """What the server says about one job."""

    lake: Lake
    folder: str
    """Key of the job's folder, with a slash at the end."""
    puts: list[Put]
    """Below the folder, in order."""
    tagged: list[int]
    """Rows, at their place among everything the server served; 0 for other buckets'."""
    get: Callable[[str], bytes]
    """An object of the report's bucket by its key."""

    @classmethod
    def take(cls, record: Record, lake: Lake, reports: str, folder: str) -> Evidence:
        """Ask the server, about the job in `folder` of the bucket `reports`."""
        tagged, puts = record.tagged(lake.bucket), record.puts(reports, folder)
        return cls(lake, folder, puts, tagged, lambda key: record.get(reports, key))

    @cached_property
    def job(self) -> dict[str, Any]:
        """``job.json``."""
        return dict(json.loads(self.get(f"{self.folder}job.json")))

    @cached_property
    def repeats(self) -> int:
        """How often an object that succeeded was done again."""
        counts = Counter(row for row in self.tagged if row and not self.lake.is_missing(row))
        return counts.total() - len(counts)

    def named(self, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], Put]]:
        """The PUTs whose name in the folder matches."""
        for put in self.puts:
            if found := pattern.fullmatch(put.key[len(self.folder) :]):
                yield found, put

    def checkpoints(self) -> Iterator[tuple[int, Put, dict[str, Any]]]:
        """Partition, PUT and content of each checkpoint."""
        return ((int(found[1]), put, json.loads(put.body)) for found, put in self.named(_CHECKPOINT))

    def attempts(self) -> list[Attempt]:
        """Every attempt at every partition, in order."""
        begun: dict[int, dict[int, int]] = {part["number"]: {} for part in self.job["Partitions"]}
        finished, committed = set(), Counter[tuple[int, int]]()
        for found, put in self.named(_ATTEMPT):
            told, partition = json.loads(put.body), int(found[1])
            begun[partition].setdefault(told["Attempt"], put.at)
            if told["Summary"] is not None:
                finished.add((partition, told["Attempt"]))
        for partition, _, told in self.checkpoints():
            committed[partition, told["Attempt"]] += told["Succeeded"]["Count"] + told["Failed"]["Count"]
        return [
            Attempt(
                partition := part["number"],
                number,
                bisect_left(self._places[partition], end) - bisect_left(self._places[partition], start),
                committed[partition, number],
                (partition, number) in finished,
            )
            for part in self.job["Partitions"]
            for (number, start), (_, end) in pairwise([*begun[part["number"]].items(), (0, len(self.tagged))])
        ]

    @cached_property
    def _places(self) -> list[list[int]]:
        """The places of the operations on each partition's rows among all that was served."""
        firsts = [part["first_row"] for part in self.job["Partitions"]]
        found: list[list[int]] = [[] for _ in firsts]
        for at, row in enumerate(self.tagged):
            if 0 < row <= self.lake.rows:
                found[bisect_right(firsts, row) - 1].append(at)
        return found


def findings(evidence: Evidence, *, repeats_committed: bool = False) -> list[str]:
    """What is wrong with a job that has its report.

    Args:
        evidence: the job's.
        repeats_committed: whether two runs at once may have done what the other committed meanwhile.
    """
    looks = [_unserved, _report, _order]
    looks += [] if repeats_committed else [_committed_repeats]
    return [found for look in looks for found in islice(look(evidence), _SHOWN)]


def rows_of(intervals: str) -> Iterator[int]:
    """The rows of a checkpoint's ``1-4017,4019``."""
    for interval in intervals.split(",") if intervals else ():
        first, _, last = interval.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _unserved(evidence: Evidence) -> Iterator[str]:
    """Objects that were never done, and operations on objects that aren't in the manifest."""
    served, wanted = set(evidence.tagged) - {0}, set(range(1, evidence.lake.rows + 1))
    if lost := sorted(wanted - served):
        yield f"{len(lost)} objects were never done: rows {lost[:5]}"
    if more := sorted(served - wanted):
        yield f"{len(more)} objects were done that are in no manifest: rows {more[:5]}"


def _committed_repeats(evidence: Evidence) -> Iterator[str]:
    """Objects that were done again after a checkpoint said that they had succeeded."""
    last = {row: at for at, row in enumerate(evidence.tagged)}
    for partition, put, told in evidence.checkpoints():
        again = [row for row in rows_of(told["Succeeded"]["Rows"]) if last.get(row, -1) >= put.at]
        if again:
            yield f"partition {partition}, checkpoint {told['Checkpoint']}: rows {again[:5]} ({len(again)}) done again"


def _report(evidence: Evidence) -> Iterator[str]:
    """A report that isn't one row an object with the right outcome, or whose checksums don't match."""
    manifest = evidence.get(f"{evidence.folder}manifest.json")
    if _md5(manifest) != evidence.get(f"{evidence.folder}manifest.json.md5").decode().strip():
        yield "manifest.json.md5 isn't that of manifest.json"
    found: Counter[tuple[str, ...]] = Counter()
    for result in json.loads(manifest)["Results"]:
        body = evidence.get(result["Key"])
        if _md5(body) != result["MD5Checksum"]:
            yield f"{result['Key']} isn't the file that manifest.json names"
        rows = csv.reader(io.StringIO(body.decode(), newline=""))
        found.update((bucket, key, status, http, code) for bucket, key, _, status, http, code, _ in rows)
    lake = evidence.lake
    outcomes = {True: ("failed", "404", "NoSuchKey"), False: ("succeeded", "200", "")}
    wanted: Counter[tuple[str, ...]] = Counter(
        (lake.bucket, lake.key(row), *outcomes[lake.is_missing(row)]) for row in range(1, lake.rows + 1)
    )
    if less := list((wanted - found).elements()):
        yield f"the report lacks {len(less)} rows, like {less[0]}"
    if more := list((found - wanted).elements()):
        yield f"the report has {len(more)} rows too many or wrong, like {more[0]}"
    status = json.loads(evidence.get(f"{evidence.folder}status.json"))
    failed = sum(map(lake.is_missing, range(1, lake.rows + 1)))
    told = {name: status["ProgressSummary"][f"NumberOfTasks{name}"] for name in ("Succeeded", "Failed")}
    told["Total"] = status["ProgressSummary"]["TotalNumberOfTasks"]
    if told != {"Succeeded": lake.rows - failed, "Failed": failed, "Total": lake.rows}:
        yield f"the job counts {told} of {lake.rows} objects, {failed} of them missing"


def _order(evidence: Evidence) -> Iterator[str]:
    """A ``manifest.json`` that was there before all that it speaks of, or not last."""
    there: set[str] = set()
    done: dict[int, bool] = {part["number"]: False for part in evidence.job["Partitions"]}
    names = [put.key[len(evidence.folder) :] for put in evidence.puts]
    reports = [at for at, name in enumerate(names) if name == "manifest.json"]
    if not reports:
        yield "there is no manifest.json"
        return
    yield from (
        f"{name} was written after manifest.json"
        for name in names[reports[-1] :]
        if name.startswith(("results/", "partitions/"))
    )
    for name, put in zip(names, evidence.puts, strict=True):
        if found := _ATTEMPT.fullmatch(name):
            done[int(found[1])] = json.loads(put.body)["Summary"] is not None
        if name == "manifest.json":
            files = {result["Key"] for result in json.loads(put.body)["Results"]}
            if missing := files - there:
                yield f"manifest.json was written before {sorted(missing)[:3]}"
            if open_ := [number for number, ended in done.items() if not ended]:
                yield f"manifest.json was written while partitions {open_[:5]} were not done"
            if f"{evidence.folder}manifest.json.md5" not in there:
                yield "manifest.json was written before its MD5"
        there.add(put.key)


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
