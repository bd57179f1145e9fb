"""`estimate`: what a prepared job would do, cost and take, for a person to look at before it runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import printable
from airflow_s3batch.core.job import BUCKETS_KEPT, Job
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.markdown import code_block, in_code, plain
from airflow_s3batch.core.operations import BatchOperation
from airflow_s3batch.core.prices import OTHER, Prices, kind_of
from airflow_s3batch.core.rows import Entry
from airflow_s3batch.core.wording import duration, first_of

__all__ = ["Estimate", "Requests", "Sample", "estimate"]

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html, and for restores
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html
_WRITES, _READS, _RESTORES = 3_500, 5_500, 1_000
"""Requests a second that S3 takes a prefix; restores, an account."""
_SAMPLES = 3
"""Objects shown of the manifest's beginning, of its middle and of its end."""
_FEW = 4 * _SAMPLES
"""Objects of a job that are all shown."""
_CHECKPOINT_ROWS = 5_000
"""Outcomes that a run commits at once."""
_URI_SHOWN, _JSON_SHOWN, _BUCKETS_SHOWN = 200, 2_000, 10
_LINES_SHOWN = 40
"""Lines of a question, which may be a long list."""
_FOLDER = "PutObject, for the job's folder"
_CENT = 0.01
_FOREIGN = frozenset({"description", "manifest", "objects", "versioning"})
"""Facts in which stands what the manifest says, or a template has rendered to."""


class Sample(NamedTuple):
    """One of the job's objects."""

    row: int
    """1-based number of its row in the manifest."""
    uri: str
    version: str | None


class Requests(NamedTuple):
    """How often the job makes a call."""

    action: str
    times: int
    dollars: float | None
    """None if no price is known."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a prepared job would do, cost and take.

    The requests are those of objects that are as usual: retries, multipart copies of large objects and objects that
    fail early aren't in it, nor is what S3 charges besides requests (storage, retrieved bytes, transfer, KMS).
    """

    job_id: str
    description: str
    """What the author says of the job; may be empty."""
    operation: str
    """AWS's name of it: ``S3PutObjectTagging``."""
    parameters: dict[str, Any]
    """The operation's parameters, in AWS's words."""
    manifest: str
    question: dict[str, Any] | None
    """What the objects were found by, in AWS's words (ManifestGenerator); None if the manifest is the author's list."""
    objects: int
    partitions: int
    buckets: tuple[str, ...]
    versioning: str
    """What is gone for good of what the operation deletes; empty if it deletes nothing."""
    samples: tuple[Sample, ...]
    """The manifest's first objects, some in its middle, and its last ones, in order; all, if they are 12 at most."""
    requests: tuple[Requests, ...]
    seconds: float | None
    """How long the requests take, under `assumption`; None if nobody knows."""
    assumption: str
    prices: str | None
    """Whose prices the dollars are, None if none are known."""

    @property
    def dollars(self) -> float | None:
        """What the requests cost, None if the price of one isn't known."""
        total = 0.0
        for made in self.requests:
            if made.dollars is None:
                return None
            total += made.dollars
        return total

    def to_json(self) -> dict[str, Any]:
        """The estimate as JSON."""
        return {
            "job_id": self.job_id,
            "description": self.description,
            "operation": self.operation,
            "parameters": self.parameters,
            "manifest": self.manifest,
            "found_by": None if self.question is None else _json_line(self.question),
            "objects": self.objects,
            "partitions": self.partitions,
            "buckets": list(self.buckets),
            "versioning": self.versioning or None,
            "samples": [sample._asdict() for sample in self.samples],
            "requests": [made._asdict() for made in self.requests],
            "dollars": self.dollars,
            "prices": self.prices,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "assumption": self.assumption,
        }

    def table(self) -> str:
        """The estimate as text for a log."""
        facts = self._facts()
        width = max(len(name) for name, _ in facts)
        lines = [f"{name:<{width}}  {text}" for name, text in facts]
        if self.question is not None:
            lines += [f"{'found by':<{width}}  {_json_line(self.question)}"]
        lines += [f"{'parameters':<{width}}  {_json_line(self.parameters)}"]
        lines += ["for example", *(f"  {line}" for line in self._sampled())]
        rule = "─" * max(len(line) for line in lines[: len(facts)])
        return "\n".join([rule, *lines, rule])

    def markdown(self) -> str:
        """The estimate as Markdown for Airflow's approval page; what comes from the manifest can't become markup."""
        facts = [f"| {name} | {in_code(text) if name in _FOREIGN else plain(text)} |" for name, text in self._facts()]
        return "\n".join(
            [
                "| | |",
                "|---|---|",
                *facts,
                "",
                *self._question_block(),
                "Parameters:",
                "",
                *code_block(_json_lines(self.parameters)),
                "",
                "For example:",
                "",
                *code_block(self._sampled()),
            ]
        )

    def _question_block(self) -> list[str]:
        if self.question is None:
            return []
        lines = _json_lines(self.question)
        more = ["…"] if len(lines) > _LINES_SHOWN else []
        return ["Found by:", "", *code_block([*lines[:_LINES_SHOWN], *more]), ""]

    def _facts(self) -> list[tuple[str, str]]:
        return [
            ("job", self.job_id),
            *((("description", printable(self.description, _JSON_SHOWN)),) if self.description else ()),
            ("operation", self.operation),
            ("manifest", printable(self.manifest)),
            ("objects", f"{self.objects:,} in {first_of(self.buckets, _BUCKETS_SHOWN)}"),
            *((("versioning", printable(self.versioning, _JSON_SHOWN)),) if self.versioning else ()),
            ("partitions", f"{self.partitions:,}"),
            *(("" if n else "requests", _counted(made)) for n, made in enumerate(self.requests)),
            ("price", f"{_money(self.dollars)}; {self.prices or 'no prices are known for this store'}"),
            ("time", f"{_lasting(self.seconds)}, {self.assumption}"),
        ]

    def _sampled(self) -> list[str]:
        width = max((len(f"{sample.row:,}") for sample in self.samples), default=0)
        return [f"row {sample.row:>{width},}  {_shown(sample)}" for sample in self.samples]


async def estimate(job: Job, s3: S3Calls, *, prices: Prices | None) -> Estimate:
    """Tell what a prepared job would do. Reads parts of its manifest, and touches no object.

    Args:
        job: the prepared job.
        s3: S3.
        prices: of requests, None if nobody knows them.

    Raises:
        ManifestError: the manifest changed, or can't be read any more.
    """
    samples = [entry async for entry in _sampled(job, s3)]
    calls = _calls(job, samples)
    seconds, assumption = _time(job, calls)
    requests = [
        Requests(action, count, prices.of(kind, count) if prices else None) for (action, kind), count in calls.items()
    ]
    buckets = job.buckets or tuple(dict.fromkeys(entry.bucket for entry in samples))
    written = _written(job)
    requests.append(Requests(_FOLDER, written, prices.of("PUT", written) if prices else None))
    return Estimate(
        job_id=job.job_id,
        description=job.spec.description,
        operation=job.spec.operation.aws_name,
        parameters=job.spec.operation.arguments(),
        manifest=job.spec.manifest.location.uri,
        question=None if job.question is None else job.question.to_aws(),
        objects=job.total,
        partitions=len(job.partitions),
        buckets=buckets,
        versioning=await _versioning(job, buckets, samples, s3),
        samples=tuple(Sample(e.row, S3Location(e.bucket, e.key).uri, e.version) for e in samples),
        requests=tuple(requests),
        seconds=seconds,
        assumption=assumption,
        prices=prices.source if prices else None,
    )


async def _sampled(job: Job, s3: S3Calls) -> AsyncGenerator[Entry, None]:
    """The manifest's first entries, some in its middle, and its last ones, in order."""
    wanted = _wanted(job.total)
    for partition in job.partitions:
        last = partition.first_row + partition.rows - 1
        here = [row for row in wanted if partition.first_row <= row <= last]
        if not here:
            continue
        async with aclosing(job.spec.manifest.read(s3, partition)) as entries:  # type: ignore[type-var]
            async for some in entries:
                for entry in some:
                    if entry.row in here:
                        yield entry
                if some and some[-1].row >= max(here):
                    break


def _wanted(total: int) -> Collection[int]:
    """The rows to show: all, if they are few."""
    if total <= _FEW:
        return range(1, total + 1)
    beginnings = (1, (total - _SAMPLES) // 2 + 1, total - _SAMPLES + 1)
    return {row for first in beginnings for row in range(first, first + _SAMPLES)}


async def _versioning(job: Job, buckets: Sequence[str], samples: Sequence[Entry], s3: S3Calls) -> str:
    """What is gone for good; and that more than what was asked may be."""
    versions = any(entry.version is not None for entry in samples)
    told = await job.spec.operation.tell_loss(buckets, s3, versions=versions)
    if not told or versions or len(job.buckets) < BUCKETS_KEPT:
        return told
    return f"{told}; of buckets beyond these {BUCKETS_KEPT}, nobody has asked S3"


def _calls(job: Job, samples: Iterable[Entry]) -> dict[tuple[str, str], int]:
    """How often the job makes which call, by (action, what it is charged as), if all objects are like the first."""
    operation = job.spec.operation
    first = next(iter(samples))
    an_object = Counter(
        (action, kind_of(action, parameters))
        for action, parameters in operation.requests(first.bucket, first.key, first.version)
    )
    if not an_object:  # a function of the author's
        an_object[operation.aws_name, OTHER] = 1
    times = job.total
    if isinstance(operation, BatchOperation):
        times = sum(-(-part.rows // operation.entries_per_request) for part in job.partitions)
    return {call: count * times for call, count in an_object.items()}


def _written(job: Job) -> int:
    """About how many objects the job writes into its folder: checkpoints, files of rows, and what a partition takes."""
    return sum(2 * -(-part.rows // _CHECKPOINT_ROWS) + 3 for part in job.partitions)


def _time(job: Job, calls: dict[tuple[str, str], int]) -> tuple[float | None, str]:
    """Seconds, and what they assume."""
    limit = job.spec.limits.requests_per_second
    if limit is not None:
        requests = "1 request" if limit == 1 else f"{limit:,g} requests"
        return sum(calls.values()) / limit, f"at the job's limit of {requests} a second; more on a slower S3"
    if any(kind == OTHER for _, kind in calls):
        return None, "because not all of the calls are S3's"
    rates = {"GET": (_READS, "reads"), "RESTORE": (_RESTORES, "restores")}
    seconds, told = 0.0, {}
    for (_, kind), count in calls.items():
        rate, name = rates.get(kind.partition(" ")[0], (_WRITES, "writes"))
        seconds += count / rate
        told[name] = rate
    at = " and ".join(f"{rate:,} {name}" for name, rate in told.items())
    return seconds, f"at {at} a second, what S3 takes on one prefix; less on several, more on a slower S3"


def _shown(sample: Sample) -> str:
    version = "" if sample.version is None else f"  version {printable(sample.version)}"
    return printable(sample.uri, _URI_SHOWN) + version


def _counted(made: Requests) -> str:
    price = "" if made.dollars is None else f", {_money(made.dollars)}"
    return f"{made.times:,} {made.action}{price}"


def _lasting(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return "under a second" if seconds < 1 else f"about {duration(seconds)}"


def _money(dollars: float | None) -> str:
    if dollars is None:
        return "unknown"
    return f"${dollars:,.2f}" if not dollars or dollars >= _CENT else "under $0.01"


def _json_line(document: Any) -> str:
    """The beginning of a JSON document, safe to show."""
    return printable(json.dumps(document, ensure_ascii=False), _JSON_SHOWN)


def _json_lines(document: Any) -> list[str]:
    """A JSON document on several lines, safe to show."""
    return [printable(line, _JSON_SHOWN) for line in json.dumps(document, indent=2, ensure_ascii=False).splitlines()]
