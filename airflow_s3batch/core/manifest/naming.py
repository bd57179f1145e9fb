"""How a manifest's author says which column is which, and which bucket all rows are about."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_s3batch.core.errors import InvalidInput, ManifestInvalid, printable
from airflow_s3batch.core.location import S3Location, is_bucket
from airflow_s3batch.core.rendering import is_template
from airflow_s3batch.core.wording import first_of

__all__ = [
    "as_bucket_of_all",
    "bucket_of_all",
    "check_bucket_or_column",
    "column_at",
    "columns_at",
    "found_column",
    "instead_of_commas",
]

_SHOWN = 20
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
"""What other programs put between columns, and its name."""


def bucket_of_all(bucket: str | None) -> str | None:
    """The bucket that ``s3://name`` names for all rows; None if `bucket` is a column's name, or nothing."""
    return S3Location.parse(bucket).bucket if bucket is not None and "://" in bucket else None


def as_bucket_of_all(column: str) -> str:
    """How to say that a column's name is the bucket of all rows: the end of an error, empty where it can't be one."""
    return f"; if it is the bucket of all rows, write bucket='s3://{column}'" if is_bucket(column) else ""


def check_bucket_or_column(bucket: str | None) -> str | None:
    """Return what tells the rows' bucket: a column's name, or ``s3://name``.

    Raises:
        InvalidInput: it is a URI, and not that of a bucket.
    """
    if bucket is not None and not is_template(bucket) and "://" in bucket and S3Location.parse(bucket).key:
        raise InvalidInput(f"{printable(repr(bucket))} names more than a bucket; write s3://bucket")
    return bucket


def found_column(uri: str, names: Sequence[str], wanted: str | None, field: str) -> int:
    """As `column_at`, for a column that has to be there.

    Raises:
        ManifestError: there is none, or there are several.
    """
    at = column_at(uri, names, wanted, field)
    if at is None:
        raise _unclear(uri, names, field, "no column is")
    return at


def column_at(uri: str, names: Sequence[str], wanted: str | None, field: str) -> int | None:
    """Which of a file's columns is meant: the one of this name, in upper or lower case.

    Without a name it is the one that is called as the field is (``version_id`` for VersionId, too), if there is one.

    Raises:
        ManifestError: several are called so, or none is called as was wanted.
    """
    if wanted is not None and names.count(wanted) == 1:
        return names.index(wanted)
    plain = _plain(wanted or field)
    found = [at for at, name in enumerate(names) if _plain(name) == plain]
    if len(found) > 1:
        raise _unclear(uri, names, wanted or field, "several columns are")
    if not found and wanted is not None:
        raise _unclear(uri, names, wanted, "no column is", as_bucket_of_all(wanted) if field == "Bucket" else "")
    return found[0] if found else None


def columns_at(uri: str, names: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Which of a file's columns are called as these are; without those that it lacks.

    Raises:
        ManifestError: several are called so.
    """
    found = {name: column_at(uri, names, None, name) for name in wanted}
    return {name: at for name, at in found.items() if at is not None}


def _unclear(uri: str, names: Sequence[str], wanted: str, problem: str, way_out: str = "") -> ManifestInvalid:
    there = f"the columns are {first_of(names, _SHOWN)}{instead_of_commas(names)}{way_out}"
    return ManifestInvalid(uri, f"{problem} named {printable(wanted)}; {there}")


def instead_of_commas(columns: Sequence[str]) -> str:
    """What to mend where one column looks like several: the end of an error, empty where none does."""
    found = [name for sign, name in _SEPARATORS.items() if len(columns) == 1 and sign in columns[0]]
    return f"; commas separate columns, not {found[0]}" if found else ""


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "")
