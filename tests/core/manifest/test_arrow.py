"""pyarrow is an extra: nothing needs it before a manifest does, and then the error says how to get it."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import asyncio, sys
sys.modules["pyarrow"] = None  # as if it weren't installed
from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.manifest import CsvManifest, ParquetManifest
from airflow_s3batch.testing import MemoryS3

s3 = MemoryS3("lake")
s3.put("lake", "m.csv", "data,k")
s3.put("lake", "m.parquet", "PAR1")

async def surveyed(manifest):
    return await (await manifest.pin(s3)).survey(s3)

async def columns(manifest):
    async for _ in (await manifest.pin(s3)).batches(s3):
        pass

assert asyncio.run(surveyed(CsvManifest("s3://lake/m.csv"))).rows == 1
for asked in (surveyed(ParquetManifest("s3://lake/m.parquet")), columns(CsvManifest("s3://lake/m.csv"))):
    try:
        asyncio.run(asked)
    except InvalidInput as error:
        assert "pip install 'airflow-provider-s3batch[parquet]'" in str(error), error
    else:
        raise AssertionError("no error")
"""
LAZILY = """
import sys
import airflow_s3batch.core.manifest
from airflow_s3batch import InventoryManifest, ParquetManifest
InventoryManifest("s3://lake/manifest.json"), ParquetManifest("s3://lake/m.parquet")
assert "pyarrow" not in sys.modules
"""


@pytest.mark.parametrize("script", [WITHOUT, LAZILY], ids=["without", "lazily"])
def test_pyarrow_is_asked_for_when_it_is_needed(script: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
