"""What an object costs, in ratios to what else the same machine does in the same minute: never in microseconds.

Every bound is less than twice what is measured, and the best of some rounds counts, since noise only adds: what got
twice as dear fails.
The absolute numbers are in docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.listed_s3 import listed_s3
from benchmarks.sample import run_client
from benchmarks.slow_s3 import SlowS3, slow_s3
from benchmarks.wrk import prebuilt

ROUNDS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[SlowS3]:
    with slow_s3() as running:
        yield running


def least(client: str, told: dict[str, Any]) -> float:
    """CPU seconds an object, in the best of the rounds."""
    costs: list[float] = []
    for _ in range(ROUNDS):
        run = run_client(client, told)
        costs.append(run["cpu"] / run["objects"])
    return min(costs)


@pytest.fixture(scope="module")
def bare(server: SlowS3) -> float:
    """The least that asyncio can do for a request."""
    return least("bare", {**fixed_request(server), "protocol": "BufferedProtocol"})


def fixed_request(server: SlowS3) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": int(server.url.rpartition(":")[2]),
        "certificate": "",
        "wire": prebuilt(server.url).decode("latin-1"),
        "objects": 20_000,
        "in_flight": 64,
        "loop": "uvloop",
    }


def test_the_transport_costs_hardly_more_than_the_least_that_asyncio_can_do(server: SlowS3, bare: float) -> None:
    assert least("transport", fixed_request(server)) / bare < 2.2


@pytest.fixture(scope="module")
def whole_path(server: SlowS3) -> float:
    """From the rows of a manifest to result files and checkpoints, which are kept in memory here."""
    told = {
        "url": server.url,
        "certificate": "",
        "files_in_memory": True,
        "manifest": "manifests/30000.csv",
        "report": "reports",
        "objects": 30_000,
        "in_flight": 64,
        "operation": "PutObjectTagging",
        "loop": "uvloop",
    }
    return least("run_partition", told)


def test_the_whole_path_costs_a_few_times_the_least_that_asyncio_can_do(whole_path: float, bare: float) -> None:
    assert whole_path / bare < 6


def test_boto3_costs_thirty_times_the_whole_path(server: SlowS3, whole_path: float) -> None:
    told = {"url": server.url, "certificate": "", "objects": 600, "threads": 8, "operation": "PutObjectTagging"}
    boto3 = run_client("boto3_threads", told)
    assert boto3["cpu"] / boto3["objects"] / whole_path > 30


def test_botocore_signs_fifteen_times_as_dear() -> None:
    signing = run_client("signing", {"objects": 50_000})
    assert signing["botocore_us"] / (signing["cpu"] / signing["objects"] * 1e6) > 15


def test_a_row_of_the_manifest_is_checked_at_the_price_of_reading_it_with_the_csv_module() -> None:
    manifest = run_client("manifest", {"objects": 500_000, "kind": "two columns"})
    surveyed, read = manifest["cpu"] / manifest["objects"] * 1e6, manifest["read_us"]
    assert surveyed / manifest["csv_us"] < 1.3
    assert read / manifest["csv_us"] < 2.4


@pytest.mark.parametrize(("file_format", "small"), [("CSV", 500_000), ("Parquet", 1_000_000), ("CSV.gz", 10_000_000)])
def test_a_manifest_four_times_as_large_is_prepared_in_the_same_memory(file_format: str, small: int) -> None:
    once, four = (run_client("prepare", {"format": file_format, "size": size}) for size in (small, 4 * small))
    assert four["objects"] > 3 * once["objects"]
    assert four["rss_mb"] / once["rss_mb"] < 1.2
    assert four["largest"] < 1.2


@pytest.mark.parametrize("layout", ["folders by day", "numbered, flat"])
def test_a_bucket_is_listed_four_times_as_fast_as_page_by_page(layout: str) -> None:
    with listed_s3(layout, 60_000, latency=0.03) as url:
        told = {"url": url, "objects": 60_000}
        assert run_client("paginator", told)["wall"] / run_client("list_objects", told)["wall"] > 4
