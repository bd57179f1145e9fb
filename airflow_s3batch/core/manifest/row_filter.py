"""`RowFilter`: a SQL expression that rows are filtered by, in a DuckDB that can do nothing else.

It sees no file and no network, its configuration is locked, and the expression is one, about the columns of one row: no
second statement, no other table, no subquery.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_s3batch.core.errors import InvalidInput, printable

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["RowFilter", "locked_down"]

_ROWS = "manifest"
_SELECT = f"SELECT * FROM {_ROWS} WHERE "  # noqa: S608 - the name is ours, and what follows is parsed first
_OURS = ("(\n", "\n)")
"""What an expression stands between, on lines of its own: a comment at its end comments nothing else."""
_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "threads": "1",
}
_NOW = {
    "TIMESTAMPTZ": ("now", "get_current_timestamp", "current_timestamp", "transaction_timestamp"),
    "DATE": ("today", "current_date"),
    "TIMESTAMP": ("current_localtimestamp",),
    "TIME": ("get_current_time", "current_time", "current_localtime"),
}
"""DuckDB's functions that tell the time, by what they give."""


class RowFilter:
    """Filters rows by a SQL expression.

    Args:
        where: what would follow WHERE.
        now: what ``now()`` is in it.

    Raises:
        InvalidInput: it isn't one expression, or DuckDB isn't installed.
    """

    def __init__(self, where: str, now: datetime) -> None:
        self._where = where
        self._connection = locked_down(now)
        self._check()

    def kept(self, batch: pa.RecordBatch) -> pa.Table:
        """The rows for which the expression is true, with all their columns.

        Raises:
            InvalidInput: it is no condition, there is no such column or function, or a value isn't what the expression
                takes it for.
        """
        import duckdb
        import pyarrow as pa

        self._connection.register(_ROWS, pa.Table.from_batches([batch]))
        try:
            chosen = self._connection.sql(f"{_SELECT}{self._where.join(_OURS)}")
            self._check_type()
            return chosen.to_arrow_table()
        except duckdb.Error as error:
            columns = ", ".join(map(printable, batch.schema.names))
            raise self._wrong(f"{_first_line(error)} (columns: {columns})") from None
        finally:
            self._connection.unregister(_ROWS)

    def _check_type(self) -> None:
        """See that it is a condition: of a number, WHERE would keep every row in which that isn't zero."""
        told = self._connection.sql(f"SELECT {self._where.join(_OURS)} FROM {_ROWS}")  # noqa: S608 - as `_SELECT`
        if others := [str(kind) for kind in told.types if str(kind) != "BOOLEAN"]:
            raise self._wrong(f"no condition, but a value of type {printable(others[0])}; compare it: size > 1024")

    def _check(self) -> None:
        if any("\ud800" <= character <= "\udfff" for character in self._where):
            raise self._wrong("half a character (a lone surrogate), which no text in SQL can hold")
        # In parentheses nothing parses that is more than an expression (LIMIT), but for what closes them.
        for before, after in (_OURS, ("\n", "")):
            parsed = self._parsed(f"{_SELECT}{before}{self._where}{after}")
            if parsed.get("error"):
                raise self._wrong(self._place(parsed, len(_SELECT + before)))
        (where,) = (statement["node"]["where_clause"] for statement in parsed["statements"])
        if any(node.get("class") == "SUBQUERY" for node in _nodes(where)):
            raise self._wrong("a subquery; an expression is about the columns of one row")
        if any(node.get("class") == "PARAMETER" for node in _nodes(where)):
            raise self._wrong("a parameter (? or $1) without a value")

    def _parsed(self, statement: str) -> dict[str, Any]:
        found = self._connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchall()
        parsed: dict[str, Any] = json.loads(found[0][0])
        return parsed

    def _place(self, parsed: dict[str, Any], begin: int) -> str:
        """What is wrong, and at which character of the expression."""
        told = printable(parsed.get("error_message", "no SQL").replace(f'{_OURS[1]}"', '"'))
        if not parsed.get("position"):
            return told
        at = int(parsed["position"]) - begin
        if "location" in parsed:  # since DuckDB 2 in bytes, before that in characters
            at = len(self._where.encode()[: max(0, at)].decode("utf-8", "ignore"))
        if at < len(self._where.rstrip()):
            return f"{told}, at character {at + 1}"
        # The parenthesis that DuckDB stumbles over there is ours.
        return "something is missing at its end, or a ')' is one too many"

    def _wrong(self, problem: str) -> InvalidInput:
        return InvalidInput(f"where={printable(repr(self._where))}: {problem}")


def locked_down(now: datetime) -> duckdb.DuckDBPyConnection:
    """A database in memory that can reach nothing else, and whose time is `now`.

    Raises:
        InvalidInput: DuckDB isn't installed.
    """
    try:
        import duckdb
        import pyarrow  # noqa: F401, ICN001 - rows come and go as Arrow's
    except ImportError:
        raise InvalidInput("where= needs DuckDB: pip install 'airflow-provider-s3batch[sql]'") from None
    connection = duckdb.connect(":memory:", config=_LOCKED)
    connection.execute("SET TimeZone = 'UTC'")
    moment = f"TIMESTAMP '{now.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S.%f}'"
    for kind, names in _NOW.items():
        value = f"TIMESTAMPTZ '{moment[11:-1]}+00'" if kind == "TIMESTAMPTZ" else f"CAST({moment} AS {kind})"
        for name in names:
            connection.execute(f"CREATE MACRO {name}() AS {value}")
    # Of one moment it tells the time that has passed since then.
    since = f"system.main.age(CAST(CAST({moment} AS DATE) AS TIMESTAMP), a)"
    connection.execute(f"CREATE MACRO age(a) AS {since}, (a, b) AS system.main.age(a, b)")
    connection.execute("SET lock_configuration = true")
    return connection


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for inner in tree.values():
            yield from _nodes(inner)
    elif isinstance(tree, list):
        for inner in tree:
            yield from _nodes(inner)


def _first_line(error: Exception) -> str:
    """The first line of DuckDB's message, which names the column, function or value."""
    return printable(str(error).strip().partition("\n")[0])
