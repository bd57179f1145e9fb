"""Text in Markdown that can't become markup, whoever wrote it: GitHub's Markdown, as Airflow's approval page shows it.

https://github.github.com/gfm/
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["code_block", "in_code", "plain"]

_BAR = re.compile(r"(\\*)\|")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def plain(text: str) -> str:
    """Text of ours, escaped: no tables or HTML come of it."""
    return _PUNCTUATION.sub(r"\\\1", text)


def in_code(text: str) -> str:
    """Anybody's text as inline code in a table's cell.

    Addresses (``www.…``) become links in all text, however its punctuation is escaped, but not in code:
    https://github.github.com/gfm/#autolinks-extension-
    """
    fence = _fence([text], 1)
    # A cell ends at a bar, also in code, unless there is a backslash before it; and two of these are none.
    return f"{fence} {_BAR.sub(_barred, text)} {fence}"


def code_block(lines: Iterable[str]) -> list[str]:
    """A code block of these lines, whatever backticks are in them."""
    lines = list(lines)
    fence = _fence(lines, 3)
    return [f"{fence}text", *lines, fence]


def _barred(bar: re.Match[str]) -> str:
    return f"{2 * bar[1]}\\|"


def _fence(lines: Iterable[str], least: int) -> str:
    """More backticks than there are in a row in these lines."""
    return "`" * max(least, 1 + max((len(run) for line in lines for run in re.findall("`+", line)), default=0))
