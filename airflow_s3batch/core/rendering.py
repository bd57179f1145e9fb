"""What is a Jinja template that Airflow has yet to render, and what is plain text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["is_template", "rendered"]

_RENDERED = ContextVar("_RENDERED", default=False)


def is_template(text: object) -> bool:
    """Whether the text still holds a Jinja expression, so that it can only be checked once rendered."""
    return not isinstance(text, str) or (("{{" in text or "{%" in text) and not _RENDERED.get())


@contextmanager
def rendered() -> Iterator[None]:
    """Take what is built in here as rendered: braces in it are data, such as a key that a task has found."""
    before = _RENDERED.set(True)
    try:
        yield
    finally:
        _RENDERED.reset(before)
