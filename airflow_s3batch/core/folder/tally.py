"""`Tally`: how many objects succeeded and failed, by which codes, and a few failures to look at. A few KB, always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from airflow_s3batch.core.errors import printable
from airflow_s3batch.core.rows import Outcome

__all__ = ["OTHER", "Failure", "Tally"]

OTHER = "other"
"""What codes beyond the most frequent 50 are counted as."""
_CODES_MOST = 50
_CODE_LENGTH = 64
_EXAMPLES_MOST = 5


class Failure(NamedTuple):
    """One object that failed, for a person to look at: made safe to print."""

    uri: str
    """``s3://bucket/key``, with ``?versionId=`` where the manifest names a version."""
    code: str
    message: str

    @classmethod
    def of(cls, outcome: Outcome) -> Failure:
        """The failure that an outcome tells of."""
        _, bucket, key, version, _ = outcome.entry
        uri = f"s3://{bucket}/{key}" + (f"?versionId={version}" if version else "")
        return cls(printable(uri, 300), printable(outcome.code, _CODE_LENGTH), printable(outcome.message))


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts of outcomes."""

    succeeded: int = 0
    failed: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    """Failures by error code, the most frequent first; at most 50 codes, the rest as ``other``."""
    examples: tuple[Failure, ...] = ()
    """Up to 5 failures, of as many codes as possible."""

    @classmethod
    def of(cls, succeeded: int, failed: Sequence[Outcome]) -> Tally:
        """Count so many successes and these failures."""
        first: dict[str, Outcome] = {}
        for outcome in failed:
            first.setdefault(outcome.code, outcome)
        shown = dict.fromkeys(map(Failure.of, (*list(first.values())[:_EXAMPLES_MOST], *failed[:_EXAMPLES_MOST])))
        codes = Counter([outcome.code for outcome in failed])
        return cls(succeeded=succeeded, failed=len(failed), codes=_most_frequent(codes), examples=_various(shown))

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            succeeded=self.succeeded + other.succeeded,
            failed=self.failed + other.failed,
            codes=_most_frequent(Counter(self.codes) + Counter(other.codes)),
            examples=_various(dict.fromkeys((*self.examples, *other.examples))),
        )


def _most_frequent(codes: Counter[str]) -> dict[str, int]:
    """The codes printable and in order: most frequent first, then by name."""
    shown: Counter[str] = Counter()
    for code, count in codes.items():
        shown[printable(code, _CODE_LENGTH)] += count
    rest = shown.pop(OTHER, 0)
    ordered = sorted(shown.items(), key=lambda counted: (-counted[1], counted[0]))
    kept = dict(ordered[:_CODES_MOST])
    rest += sum(count for _, count in ordered[_CODES_MOST:])
    return {**kept, OTHER: rest} if rest else kept


def _various(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    """Up to 5 of them: the first of every code before the second of any."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, Failure]] = []
    for failure in failures:
        ranked.append((seen[failure.code], failure))
        seen[failure.code] += 1
    return tuple(failure for _, failure in sorted(ranked, key=lambda one: one[0]))[:_EXAMPLES_MOST]
