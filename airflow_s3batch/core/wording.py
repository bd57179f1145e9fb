"""How numbers and lists are told to a person: in logs, errors and on Airflow's pages."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_s3batch.core.errors import printable

__all__ = ["counted", "duration", "first_of"]

_MOMENT, _MINUTE, _HOUR = 10, 60, 3600


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``0.4 s``, ``42 s``, ``3 min 20 s``, ``27 h 5 min``."""
    whole = round(seconds)
    if seconds < _MOMENT:
        return f"{seconds:.1f} s"
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def counted(number: int, what: str) -> str:
    """So many of something, as a person says it: ``1 object``, ``3,000 objects``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def first_of(texts: Sequence[object], most: int) -> str:
    """The first so many of them, made safe to print, with an ellipsis if there are more: ``a, b, …``."""
    return ", ".join(map(printable, texts[:most])) + (", …" if len(texts) > most else "")
