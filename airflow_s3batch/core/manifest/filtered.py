"""`FilteredManifest`: the rows of another manifest for which a SQL expression is true."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator
from typing_extensions import Self

from airflow_s3batch.core.calls import S3Calls
from airflow_s3batch.core.errors import InvalidInput, ManifestInvalid, printable
from airflow_s3batch.core.location import S3Location
from airflow_s3batch.core.manifest.base import Manifest
from airflow_s3batch.core.manifest.generated import GeneratedManifest
from airflow_s3batch.core.manifest.row_filter import RowFilter
from airflow_s3batch.core.manifest.written import ManifestWriter, encoded
from airflow_s3batch.core.values import Text, known_arguments

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FilteredManifest"]

_FIELDS = {"e_tag": "ETag"}
"""Fields of S3 Inventory that aren't their column's name in camel case."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class FilteredManifest(GeneratedManifest):
    """Some rows of a manifest with columns, chosen by SQL.

    ``FilteredManifest(InventoryManifest("s3://…/manifest.json"), where="size > 134217728 AND key LIKE 'raw/%'")``

    DuckDB evaluates the expression for each row, on a stream of columns; ``now()`` is the time of prepare. The rows
    that are kept are written down in the job's folder. Needs ``pip install 'airflow-provider-s3batch[sql]'``.

    Args:
        manifest: an inventory, a listing, a Parquet or CSV file.
        where: what follows WHERE in SQL: an expression about the columns of a row, which have the names of S3
            Inventory's Parquet files (``key``, ``size``, ``last_modified_date``, ``storage_class``), or the file's own.
    """

    aws_name: ClassVar[str] = "S3FilteredManifest"

    manifest: Manifest
    where: Text

    def __init__(self, manifest: Manifest, *, where: str) -> None:
        super().__init__(manifest=manifest, where=where)

    @field_validator("where")
    @classmethod
    def _check_where(cls, where: str) -> str:
        if not where.strip():
            raise InvalidInput("write an expression, as after WHERE in SQL: size > 1024")
        return where

    async def pin(self, s3: S3Calls) -> Self:
        """See `Manifest.pin`."""
        return self.model_copy(update={"manifest": await self.manifest.pin(s3)})

    @property
    def is_fixed(self) -> bool:
        """See `Manifest.is_fixed`."""
        return self.manifest.is_fixed

    async def resolve(self, s3: S3Calls, place: S3Location, now: datetime) -> Manifest:
        """See `Manifest.resolve`."""
        rows = RowFilter(self.where, now)
        manifest = await self.manifest.resolve(s3, place, now)
        async with aclosing(manifest.batches(s3)) as batches:  # type: ignore[type-var] # batches are async generators
            batch = await anext(batches, None)
            while batch is not None and not batch.num_rows:  # says nothing about whether rows have versions
                batch = await anext(batches, None)
            columns = _Columns(manifest.location.uri, batch)
            asked = f"{manifest.location.uri}, where={self.where!r}"
            written = ManifestWriter(s3, place, columns.fields, now, asked=asked, of="row", final=self.is_fixed)
            async with written as writer:
                while batch is not None:
                    columns.check(batch)
                    writer.seen += batch.num_rows
                    kept = await asyncio.to_thread(rows.kept, batch)
                    await writer.add(await asyncio.to_thread(_rows, kept, columns.names))
                    batch = await anext(batches, None)
                return await writer.finish()

    def arguments(self) -> dict[str, Any]:
        """``{"Manifest": …, "Where": "…"}``, the manifest as AWS's JobManifest or JobManifestGenerator."""
        return {"Manifest": self.manifest.to_aws(), "Where": self.where}

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Self:
        """Build it from `arguments`' JSON."""
        from airflow_s3batch.core.manifest import manifest_from_aws

        known_arguments(cls.aws_name, arguments, {"Manifest", "Where"})
        if "Manifest" not in arguments:
            raise InvalidInput(f"{cls.aws_name} needs a Manifest")
        return cls(manifest_from_aws(arguments["Manifest"]), where=arguments.get("Where", ""))


class _Columns:
    """The columns that are written: those that an inventory in CSV can hold, versions only if rows have them.

    Every batch has to be like the first.
    """

    def __init__(self, uri: str, first: pa.RecordBatch | None) -> None:
        self._uri = uri
        types = {} if first is None else dict(zip(first.schema.names, first.schema.types, strict=True))
        self._all = list(types)
        self._versioned = first is not None and _versions(first) > 0
        written: dict[str, str] = {}
        # Of two names that are one in camel case, the one that S3 Inventory could have written stays: key, not Key.
        for name in sorted(self._all, key=lambda name: name != name.lower()):
            if _is_name(name) and _is_text(types[name]) and (name != "version_id" or self._versioned):
                written.setdefault(_FIELDS.get(name, _camel(name)), name)
        self.names = list(written.values())
        """As `Manifest.batches` calls them."""
        self.fields = list(written)
        """As an inventory's manifest.json does."""

    def check(self, batch: pa.RecordBatch) -> None:
        """See that the batch has these columns, and versions if they have.

        Raises:
            ManifestError: it hasn't.
        """
        if list(batch.schema.names) != self._all:
            here, there = ", ".join(map(printable, batch.schema.names)), ", ".join(map(printable, self._all))
            raise ManifestInvalid(self._uri, f"its files have different columns: {there}; but also {here}")
        if _versions(batch) != (batch.num_rows if self._versioned else 0):
            raise ManifestInvalid(self._uri, "some rows have a version ID and others have none; give all one, or none")


def _versions(batch: pa.RecordBatch) -> int:
    """How many rows name a version."""
    if "version_id" not in batch.schema.names:
        return 0
    return int(batch.num_rows - batch.column("version_id").null_count)


def _camel(name: str) -> str:
    """A column of S3 Inventory's Parquet files as its CSV files call it."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _is_name(name: str) -> bool:
    """Whether a name can stand in manifest.json's fileSchema, between commas and blanks."""
    return name.isprintable() and "," not in name and bool(name) and name == name.strip()


def _is_text(kind: pa.DataType) -> bool:
    """Whether values of this type can be written as text, as `_texts` does it."""
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    # Not bytes, of which only some are text, nor spans of time, for which Arrow has no words.
    return "string" in str(kind) or any(
        getattr(pa.types, f"is_{one}")(kind)
        for one in ("nested", "boolean", "integer", "floating", "decimal", "date", "time", "timestamp", "null")
    )


def _rows(table: pa.Table, names: Sequence[str]) -> list[tuple[str, ...]]:
    columns = [_texts(table.column(name)) for name in names]
    at = names.index("key")
    keys = encoded(columns[at])
    columns = [keys if column is columns[at] else list(map(_on_one_line, column)) for column in columns]
    return list(zip(*columns, strict=True))


def _on_one_line(text: str) -> str:
    """The text with its control characters as Python writes them: a line break in a row would end it."""
    return text if text.isprintable() else _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _texts(column: pa.ChunkedArray) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_timestamp(kind):
        column = pc.strftime(column.cast(pa.timestamp("ms", "UTC"), safe=False), format="%Y-%m-%dT%H:%M:%SZ")
    elif pa.types.is_nested(kind):
        return ["" if value is None else str(value) for value in column.to_pylist()]
    return ["" if text is None else text for text in column.cast(pa.string()).to_pylist()]
