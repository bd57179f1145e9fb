"""Templates inside values, and how they are rendered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.rendering import is_template

if TYPE_CHECKING:
    from collections.abc import Callable

    import jinja2

__all__ = ["refusing_none", "render_leaves"]


_OF_LOGICAL_DATES = re.compile(r"'((?:ds|ts|logical_date|data_interval|prev_)\w*)' is undefined")


class _IsNone(Exception):
    """An expression of a template has come to None."""


def refusing_none(environment: jinja2.Environment) -> jinja2.Environment:
    """The environment, for which None is no text: Jinja would write ``None`` into a prefix, a tag or a key.

    One whose author says what becomes of an expression's value (``finalize``) stays as it is.
    """
    return environment if environment.finalize else environment.overlay(finalize=_no_none)


def _no_none(value: object) -> object:
    if value is None:
        raise _IsNone
    return value


def render_leaves(document: Any, render: Callable[[str], Any]) -> Any:
    """The JSON document with every text that holds a template rendered, to text again; names as well.

    Texts without one stay as they are, byte for byte: native rendering would make the tag ``"1"`` a number.

    Raises:
        InvalidInput: a text is no template, in spite of its braces; an expression in it is None, or not there; or two
            names are the same once rendered.
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
    from jinja2 import TemplateSyntaxError, UndefinedError

    try:
        return str(render(text))
    except TemplateSyntaxError as error:
        way_out = "what holds braces of its own has to come from a task or a file, where they are data"
        raise InvalidInput(f"{printable(repr(text))} is no template: {printable(error)}; {way_out}") from None
    except UndefinedError as error:
        way_out = ""
        if found := _OF_LOGICAL_DATES.search(str(error)):
            way_out = (
                f"; a run that was triggered without a logical date has no {found[1]}: trigger it with one "
                "(--logical-date), or use dag_run.run_after"
            )
        raise InvalidInput(f"{printable(repr(text))} can't be rendered: {printable(error)}{way_out}") from None
    except _IsNone:
        why = "what it asks for gave nothing, or there is none of this name"
        way_out = "where that may be, say in the template what to write instead: {{ … or 'nothing' }}"
        raise InvalidInput(f"{printable(repr(text))} comes to None: {why}; {way_out}") from None
