"""`Wanted`: which of the objects in a listing are wanted, as far as the listing tells.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_JobManifestGeneratorFilter.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.manifest.glob import Glob

__all__ = ["Wanted", "heads", "regex_pattern"]

_WILDCARD = re.compile(r"[*?\[]")
_Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Wanted:
    """What is wanted; an object has to pass all of it."""

    prefixes: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    substrings: tuple[str, ...] = ()
    globs: tuple[Glob, ...] = ()
    """One of them has to match the whole key …"""
    regexes: tuple[re.Pattern[str], ...] = ()
    """… and one of these has to be found in it."""
    excluded: tuple[Glob, ...] = ()
    """None of them may match the whole key."""
    after: datetime | None = None
    before: datetime | None = None
    larger_than: int | None = None
    smaller_than: int | None = None
    storage_classes: frozenset[str] = frozenset()

    def tests(self) -> list[_Test]:
        """What an item of a listing has to pass. A delete marker has no size and no class."""
        tests = [_by_key(test) for test in self._key_tests()]
        after, before, larger, smaller = self.after, self.before, self.larger_than, self.smaller_than
        if after is not None:
            tests.append(lambda item: item["LastModified"] > after)
        if before is not None:
            tests.append(lambda item: item["LastModified"] < before)
        if larger is not None:
            tests.append(lambda item: item.get("Size", -1) > larger)
        if smaller is not None:
            tests.append(lambda item: "Size" in item and item["Size"] < smaller)
        if self.storage_classes:
            tests.append(lambda item: item.get("StorageClass") in self.storage_classes)
        return tests

    def _key_tests(self) -> list[Callable[[str], bool]]:
        tests: list[Callable[[str], bool]] = []
        if self.prefixes:
            tests.append(lambda key: key.startswith(self.prefixes))
        if self.suffixes:
            tests.append(lambda key: key.endswith(self.suffixes))
        if self.substrings:
            tests.append(lambda key: any(part in key for part in self.substrings))
        if self.globs:
            tests.append(lambda key: any(glob.matches(key) for glob in self.globs))
        if self.regexes:
            tests.append(lambda key: any(pattern.search(key) for pattern in self.regexes))
        if self.excluded:
            tests.append(lambda key: not any(glob.matches(key) for glob in self.excluded))
        return tests


def _by_key(test: Callable[[str], bool]) -> _Test:
    return lambda item: test(item["Key"])


def regex_pattern(regex: str) -> re.Pattern[str]:
    """A regular expression, in Python's words.

    Raises:
        InvalidInput: it isn't one; names the place.
    """
    try:
        return re.compile(regex, re.DOTALL)
    except re.error as error:
        raise InvalidInput(f"{printable(repr(regex))} is no regular expression: {error}") from None


def heads(prefixes: Sequence[str], globs: Sequence[str]) -> tuple[str, ...]:
    """How all keys begin that are wanted; empty when anything may be."""
    return tuple(prefixes) or tuple(_WILDCARD.split(glob, maxsplit=1)[0] for glob in globs)
