"""Templates inside values, and how they are rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_s3batch.core.location import is_template

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["render_leaves"]


def render_leaves(document: Any, render: Callable[[str], Any]) -> Any:
    """The JSON document with every text that holds a template rendered, to text again.

    Texts without one stay as they are, byte for byte: native rendering would make the tag ``"1"`` a number.
    """
    if isinstance(document, dict):
        return {name: render_leaves(inner, render) for name, inner in document.items()}
    if isinstance(document, (list, tuple)):
        return [render_leaves(inner, render) for inner in document]
    if isinstance(document, str) and is_template(document):
        return str(render(document))
    return document
