"""Templates inside values, and how they are rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.location import is_template

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["render_leaves"]


def render_leaves(document: Any, render: Callable[[str], Any]) -> Any:
    """The JSON document with every text that holds a template rendered, to text again; names as well.

    Texts without one stay as they are, byte for byte: native rendering would make the tag ``"1"`` a number.

    Raises:
        InvalidInput: two names are the same once rendered.
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
        return str(render(document))
    return document
