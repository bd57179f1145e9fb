"""The file of an inventory in Parquet, written to stdout: by a process of its own, whose memory isn't prepare's."""

from __future__ import annotations

import io
import sys

import pyarrow as pa
from pyarrow import parquet

__all__ = ["ROWS"]

ROWS = 250_000
_GROUP = 50_000
"""Rows of the file, and of a row group in it."""


def _file() -> bytes:
    file, schema = io.BytesIO(), pa.schema([("bucket", pa.string()), ("key", pa.string())])
    with parquet.ParquetWriter(file, schema) as writer:
        for first in range(0, ROWS, _GROUP):
            keys = [f"data/year=2026/part={row // 1000}/file-{row}.parquet" for row in range(first, first + _GROUP)]
            writer.write_table(pa.table({"bucket": ["lake-bucket"] * _GROUP, "key": keys}, schema))
    return file.getvalue()


if __name__ == "__main__":
    sys.stdout.buffer.write(_file())
