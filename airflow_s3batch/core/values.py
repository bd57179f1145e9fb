"""`Value`, the base of everything an author writes down: frozen, checked when built, JSON in and out.

Text that holds a Jinja expression can't be checked before Airflow renders it, so validators let it pass
(`is_template`), and a job refuses what of it is left (:func:`require_rendered`).
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PrivateAttr, ValidationError
from typing_extensions import Self

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.rendering import is_template

__all__ = [
    "Flag",
    "Moment",
    "Text",
    "Value",
    "WholeNumber",
    "as_create_job_takes",
    "as_datetime",
    "as_written",
    "is_reference",
    "is_templated",
    "known_arguments",
    "no_parameter",
    "one_of",
    "read_list",
    "require_rendered",
]


_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Value(BaseModel):
    """A frozen value, valid once built.

    Raises:
        InvalidInput: (when built) a field is missing, unknown, or can never work; one line that names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)

    instead_of_an_output: ClassVar[str] = "write it down in the DAG file"
    """What to do about a parameter that no task's output can be given for; for errors."""

    _references: tuple[Any, ...] = PrivateAttr(default=())

    if not TYPE_CHECKING:  # which goes by the constructors: they tell it more

        def __new__(cls, *_: Any, **fields: Any) -> Self:
            """Look at the names before the constructor gets them: Python would only say that it doesn't take one."""
            known = _parameters(cls)
            if known is not None and (unknown := [name for name in fields if name not in known]):
                raise InvalidInput(f"{cls.__name__}: {no_parameter(unknown[0], known)}")
            return super().__new__(cls)

    def __init__(self, *unnamed: Any, **fields: Any) -> None:
        if unnamed:
            names = ", ".join(f"{name}=" for name in type(self).model_fields)
            raise InvalidInput(f"{type(self).__name__} takes its parameters by keyword: {names or 'it has none'}")
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InvalidInput(_explained(type(self), error)) from None
        self._references = tuple(_references(fields))

    @property
    def references(self) -> tuple[Any, ...]:
        """The XComArgs given for texts in it (templates now): a task that uses the value runs after their tasks."""
        return self._references

    def to_aws(self) -> dict[str, Any]:
        """The value as JSON in the words of AWS's CreateJob."""
        raise NotImplementedError

    def serialize(self) -> dict[str, Any]:
        """What Airflow stores in the serialized DAG and shows in its rendered-template view."""
        return self.to_aws()


@functools.cache
def _parameters(kind: type[Value]) -> tuple[str, ...] | None:
    """What the constructor takes by name; None if it takes whatever name it is given, and looks at it itself."""
    _, *parameters = inspect.signature(kind.__init__).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None
    return tuple(one.name for one in parameters)


def _explained(kind: type[Value], error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
            problems.append(no_parameter(place, list(kind.model_fields)))
            continue
        if is_reference(problem["input"]):
            given = printable(repr(problem["input"]), 80)
            wrong = f"only a text can be another task's output (got {given})"
            problems.append(f"{place}: {wrong}; {kind.instead_of_an_output}")
            continue
        what = problem["msg"].removeprefix("Value error, ")
        given = (
            "" if problem["type"] in {"value_error", "missing"} else f" (got {printable(repr(problem['input']), 80)})"
        )
        problems.append(f"{place}: {what}{given}" if place else what)
    return f"{kind.__name__}: " + "; ".join(problems)


def read_list(text: str) -> list[object] | None:
    """The list that is written in a text, as a template writes one: as Python does, or as JSON; None if it is none."""
    if not text.lstrip().startswith(("[", "(")):
        return None
    for read in (json.loads, ast.literal_eval):  # what is both means the same; Python takes JSON's surrogates apart
        try:
            found = read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, (list, tuple)):
            return list(found)
    return None


def no_parameter(name: str, known: Sequence[str]) -> str:
    """What is wrong with a parameter of this name: with the one that was meant, or all that there are."""
    meant = [one for one in known if one.endswith(f"_{name}") or one.startswith(f"{name}_")]
    meant = meant or difflib.get_close_matches(name, known, n=1)
    way_out = f"did you mean {' or '.join(meant)}?" if meant else f"it has {', '.join(known) or 'none'}"
    return f"no parameter {printable(repr(name))}; {way_out}"


def _leaves(document: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(document, Mapping):
        for name, inner in document.items():
            yield f"a name in {place}" if place else "a name", name
            yield from _leaves(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(document, (list, tuple)):
        for index, inner in enumerate(document):
            yield from _leaves(inner, f"{place}[{index}]")
    else:
        yield place, document


def require_rendered(document: Mapping[str, Any]) -> None:
    """Refuse a document (a value's ``to_aws()``) in which a template was never rendered.

    Raises:
        InvalidInput: names the field.
    """
    for place, leaf in _leaves(document, ""):
        if isinstance(leaf, str) and is_template(leaf):
            raise InvalidInput(f"{printable(place)} holds a template that was never rendered: {printable(repr(leaf))}")


def is_templated(document: Mapping[str, Any]) -> bool:
    """Whether something in a document has yet to be rendered: a template, or what stands for another task's output."""
    return any(is_reference(leaf) or (isinstance(leaf, str) and is_template(leaf)) for _, leaf in _leaves(document, ""))


def is_reference(given: object) -> bool:
    """Whether it is an Airflow XComArg, which stands for what exists only later."""
    return hasattr(given, "iter_references") and hasattr(given, "resolve")


def _references(fields: Mapping[str, Any]) -> Iterator[Any]:
    for _, leaf in _leaves(fields, ""):
        if isinstance(leaf, Value):
            yield from leaf.references
        elif is_reference(leaf):
            yield leaf


def _as_text(given: object) -> object:
    # An Airflow XComArg stands for text that exists only later; its text form is the template that pulls it.
    given = str(given) if is_reference(given) else given
    if isinstance(given, str) and not given.isascii() and _SURROGATE.search(given):
        raise InvalidInput(f"{printable(repr(given))} holds half a character (a surrogate), which no text in UTF-8 can")
    return given


# ISO 8601 in its extended and its basic form; what looks like neither is left to Python.
_ISO = re.compile(
    r"(\d{4})(?P<dash>-?)(\d\d)(?P=dash)(\d\d)\D"
    r"(?P<hour>\d\d)(?:(?P<colon>:?)(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
    r"(?:(?P<utc>Z)|(?P<sign>[+-]\d\d)(?::?(?P<minutes>\d\d))?)?",
    re.ASCII,
)


def as_datetime(moment: str) -> datetime:
    """What a `Moment` tells, or other text in ISO 8601; what is behind microseconds is left out.

    Up to Python 3.10 a datetime reads no Z, no basic form, and no fraction but of three or six digits.

    Raises:
        ValueError: it isn't that.
    """
    return datetime.fromisoformat(_extended(found) if (found := _ISO.fullmatch(moment)) else moment)


def _extended(found: re.Match[str]) -> str:
    """The same in the one form that every Python reads."""
    part = found.groupdict(default="")
    date = "-".join(found.group(1, 3, 4))
    time = ":".join(part[name] or "00" for name in ("hour", "minute", "second"))
    zone = "+00:00" if part["utc"] else part["sign"] and f"{part['sign']}:{part['minutes'] or '00'}"
    return f"{date}T{time}.{part['fraction'][:6]:0<6}{zone}"


def _as_moment(given: object) -> object:
    given = _as_text(given)
    if isinstance(given, str) and not is_template(given):
        try:
            given = as_datetime(given)
        except ValueError:
            raise InvalidInput(f"{printable(repr(given))} is not a date and time; write 2026-12-31T00:00:00Z") from None
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise InvalidInput(f"{given.isoformat()} has no time zone; add one (Z for UTC)")
        try:
            return given.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
        except OverflowError:
            raise InvalidInput(f"{given.isoformat()} is not a date and time in UTC: years are 1 to 9999") from None
    return given


def _as_flag(given: object) -> object:
    given = _as_text(given)
    if isinstance(given, bool) or (isinstance(given, str) and is_template(given)):
        return given
    known = {"true": True, "false": False}.get(given.lower()) if isinstance(given, str) else None
    if known is None:
        raise InvalidInput(f"{printable(repr(given))} is neither True nor False")
    return known


def _as_whole_number(given: object) -> object:
    given = _as_text(given)
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        raise InvalidInput(f"{printable(repr(given))} is not a whole number")
    if isinstance(given, int) or is_template(given):
        return given
    if not (given.strip().isascii() and given.strip().isdecimal()):
        raise InvalidInput(f"{printable(repr(given))} is not a whole number")
    return int(given)


Text = Annotated[str, BeforeValidator(_as_text)]
"""Text an author writes: as it is, a template, or an XComArg (which becomes the template that pulls it)."""

Moment = Annotated[str, BeforeValidator(_as_moment)]
"""A date and time, kept as ISO 8601 in UTC: an aware datetime, such text, or a template."""

Flag = Annotated[bool | str, BeforeValidator(_as_flag)]
"""True or False, also as the text that a rendered template gives; or a template."""

WholeNumber = Annotated[int | str, BeforeValidator(_as_whole_number)]
"""A whole number, also as the text that a rendered template gives; or a template."""


def one_of(*words: str) -> AfterValidator:
    """Let a text pass that is one of these words, in upper or lower case and kept as it stands here; or a template."""
    known = {word.lower(): word for word in words}

    def check(text: str) -> str:
        if is_template(text):
            return text
        if (word := known.get(text.lower())) is not None:
            return word
        raise InvalidInput(f"{printable(repr(text))} is none of {', '.join(words)}")

    return AfterValidator(check)


_OF_ANOTHER_SHAPE = (AttributeError, LookupError, TypeError, ValueError)
"""What Python says of JSON that isn't shaped as it is read: a text for a list, a member that is missing."""


@contextmanager
def as_create_job_takes(name: str) -> Iterator[None]:
    """Read JSON in AWS's words: what Python says of another shape becomes an error about `name`.

    Raises:
        InvalidInput: it is of another shape, or wrong otherwise.
    """
    try:
        yield
    except InvalidInput:
        raise
    except _OF_ANOTHER_SHAPE as error:
        raise InvalidInput(f"{name}: it isn't what CreateJob takes ({printable(repr(error))})") from error


@contextmanager
def as_written(what: str) -> Iterator[None]:
    """Read JSON that this package wrote, ``a checkpoint``: whatever is wrong with it becomes an error about that.

    Raises:
        InvalidInput: it is of another shape, or wrong otherwise.
    """
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f"not {what}: {error}") from error
    except _OF_ANOTHER_SHAPE as error:
        raise InvalidInput(f"not {what}: {printable(repr(error))}") from error


def known_arguments(name: str, arguments: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Return `arguments`, if all their names are known.

    Raises:
        InvalidInput: names those that aren't.
    """
    if not isinstance(arguments, dict):
        raise InvalidInput(f"{name}: {printable(repr(arguments))} is no JSON object of parameters")
    unknown = sorted(set(arguments) - known)
    if unknown:
        raise InvalidInput(
            f"{name}: unknown {', '.join(map(printable, unknown))}; known are {', '.join(sorted(known))}"
        )
    return arguments
