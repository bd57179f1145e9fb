"""Templates inside values, and how they are rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.rendering import is_template

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["render_leaves"]


def render_leaves(document: Any, render: Callable[[str], Any]) -> Any:
    """The JSON document with every text that holds a template rendered, to text again; names as well.

    Texts without one stay as they are, byte for byte: native rendering would make the tag ``"1"`` a number.

    Raises:
        InvalidInput: a text is no template, in spite of its braces; or two names are the same once rendered.
    """
    if isinstance(document, dict):
        rendered = {render_leaves(name, render): render_leaves(inner, render) for name, inner in document.items()}
        if len(rendered) < len(document):
            names = printable(", ".join(map(repr, document)))
            raise InvalidInput(f"of the names {names} two are the same once rendered; write names that differ")
        return rendered
    if isinstance(document, (list, tuple)):
        return [render_leaves(inner, render) for inner in document]
    if isinstance(document, str) and is_template(document):
        return _rendered(document, render)
    return document


def _rendered(text: str, render: Callable[[str], Any]) -> str:
    from jinja2 import TemplateSyntaxError

    try:
        return str(render(text))
    except TemplateSyntaxError as error:
        way_out = "what holds braces of its own has to come from a task or a file, where they are data"
        raise InvalidInput(f"{printable(repr(text))} is no template: {printable(error)}; {way_out}") from None
