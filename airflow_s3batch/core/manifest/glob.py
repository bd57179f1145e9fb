"""`Glob`: a pattern for whole keys, matched in time that no key can blow up.

Who may write to a bucket chooses its keys, and Python's ``re`` tries every way to share a key among a pattern's stars:
of four, on a key of a thousand dashes, for minutes. Where a key has many such ways, all are followed at once instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from airflow_s3batch.core.errors import InvalidInput, printable

__all__ = ["WILDCARDS", "Glob"]

WILDCARDS = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]")
"""What stands for more than itself: ``*`` for any text without a slash, ``**`` for any text, ``**/`` for any number of
folders, also none, ``?`` for a character that is no slash, ``[a-z]`` for one of these, ``[!a-z]`` for any other one."""

_STARS = {"*": "[^/]*", "**": ".*", "**/": "(?:.*/)?"}
_WAYS_TRIED = 1_000
"""Ways up to which ``re``, twenty times as fast on usual keys, tries them one by one: at worst some milliseconds."""


class _Step(NamedTuple):
    """A star, and what follows up to the next one."""

    star: str
    fixed: re.Pattern[str]
    """Finds where the text after the star matches."""
    length: int
    """Characters of it."""


class Glob:
    """A pattern that matches whole keys or doesn't.

    Args:
        text: the pattern.
        wildcards: what of it stands for more than itself.
        tried: ways to share a key among the stars that are tried one by one.

    Raises:
        InvalidInput: it isn't one.
    """

    def __init__(self, text: str, wildcards: re.Pattern[str] = WILDCARDS, *, tried: int = _WAYS_TRIED) -> None:
        parts, at = [], 0
        for wild in wildcards.finditer(text):
            parts += [*map(re.escape, text[at : wild.start()]), _wild(wild[0])]
            at = wild.end()
        parts += map(re.escape, text[at:])
        try:
            self._whole = re.compile("".join(_STARS.get(part, part) for part in parts), re.DOTALL)
        except re.error as error:
            raise InvalidInput(f"{printable(repr(text))} is no glob: {error}") from None
        stars = [place for place, part in enumerate(parts) if part in _STARS]
        begins = [0, *stars]
        head, *steps = [parts[a:b] for a, b in zip(begins, [*stars, len(parts)], strict=True)]
        self._tried = tried
        self._head = re.compile("".join(head), re.DOTALL)
        self._steps = tuple(map(_step, steps))
        self._marks = tuple(map(_mark, steps[:-1]))

    def matches(self, key: str) -> bool:
        """Whether it matches the whole key."""
        ways = 1
        for mark in self._marks:
            ways *= 1 + key.count(mark)
        if ways <= self._tried:
            return self._whole.fullmatch(key) is not None
        head = self._head.match(key)
        return head is not None and _reaches(self._steps, key, head.end())


def _wild(wildcard: str) -> str:
    """What ``re`` calls it; stars stay as they are."""
    if wildcard in _STARS:
        return wildcard
    if wildcard == "?":
        return "[^/]"
    negated, inside = ("^", wildcard[2:-1]) if wildcard[1] in "!^" else ("", wildcard[1:-1])
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside)
    return f"[{negated}{escaped}]"


def _step(parts: Sequence[str]) -> _Step:
    star, *fixed = parts
    return _Step(star, re.compile(f"(?={''.join(fixed)})", re.DOTALL), len(fixed))


def _mark(parts: Sequence[str]) -> str:
    """What a key has wherever such a star may end, so that its count is the most ways; empty, if that is anywhere."""
    star, first = parts[0], "".join(parts[1:2])
    if star == "**/":
        return "/"
    return first[-1:] if len(first) == 1 or first.startswith("\\") else ""


def _reaches(steps: Sequence[_Step], key: str, begin: int) -> bool:
    """Whether the steps lead from this place in the key to its end.

    A set of places in the key is a number: bit n is set for the place before the nth character.
    """
    end = 1 << len(key)
    slashes = sum(1 << found.start() for found in re.finditer("/", key))
    places = 1 << begin
    for step in steps:
        places = _spread(step.star, places, slashes, end)
        if step.length:
            found = step.fixed.finditer(key, _lowest(places).bit_length() - 1)
            places = (places & sum(1 << match.start() for match in found)) << step.length
        if not places:
            return False
    return bool(places & end)


def _spread(star: str, places: int, slashes: int, end: int) -> int:
    """The places that a star leads to."""
    if star == "*":
        # Adding carries a bit up through the others that are set, which are no slashes, to the first slash after them.
        others = (end - 1) & ~slashes
        return places | (((places & others) + others) ^ others)
    behind = -_lowest(places)
    return (2 * end - 1) & behind if star == "**" else places | ((slashes & behind) << 1)


def _lowest(places: int) -> int:
    return places & -places
