"""pyarrow, which only columns need: an extra of the package."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from airflow_s3batch.core.errors import InvalidInput

__all__ = ["arrow"]


def arrow(module: str) -> ModuleType:
    """A module of pyarrow (``pyarrow.parquet``). What imports pyarrow at its top is imported after asking here.

    Raises:
        InvalidInput: pyarrow isn't installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        way_out = "pip install 'airflow-provider-s3batch[parquet]'"
        raise InvalidInput(f"this manifest takes pyarrow, which can't be imported ({error}): {way_out}") from error
