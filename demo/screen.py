"""`Screen`: what a demo tells the person at the terminal; plain lines where the output is no terminal."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Screen"]

_BOLD, _DIM, _RED, _GREEN = "1", "2", "31", "32"
_QUIET = 10.0
"""Seconds between two lines about the same thing where nothing can be redrawn."""


class Screen:
    """Headings, steps with their times, and some lines that are redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty() and os.environ.get("TERM") != "dumb" and "NO_COLOR" not in os.environ
        self._began = time.monotonic()
        self._drawn = 0
        self._told = ("", 0.0)

    def heading(self, text: str) -> None:
        """Something new begins."""
        self._print(f"\n{self._styled(_BOLD, text)}")

    def step(self, text: str) -> None:
        """Something is done; with the seconds since the demo began."""
        seconds = f"{time.monotonic() - self._began:5.0f} s"
        self._print(f"{self._styled(_DIM, seconds)}  {text}")

    def check(self, text: str, *, good: bool) -> None:
        """Something was looked at, and was right or wrong."""
        mark = self._styled(_GREEN, "✓") if good else self._styled(_RED, "✗ WRONG")
        self._print(f"     {mark}  {text}")

    def lines(self, lines: Iterable[str]) -> None:
        """Text as it stands."""
        for line in lines:
            self._print(f"     {line}")

    def live(self, lines: list[str]) -> None:
        """Some lines that change: redrawn on a terminal; elsewhere the first is told when it changes, not too often."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 6
            self._erase()
            for line in lines:
                self._stream.write(f"     {line[:width]}\n")
            self._drawn = len(lines)
            self._stream.flush()
            return
        before, when = self._told
        if lines and lines[0] != before and time.monotonic() - when >= _QUIET:
            self._told = (lines[0], time.monotonic())
            self._stream.write(f"     {lines[0]}\n")
            self._stream.flush()

    def _print(self, text: str) -> None:
        self._erase()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _styled(self, style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._terminal else text
