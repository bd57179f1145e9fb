from __future__ import annotations

from typing import Any

import pytest

from airflow_s3batch.core.errors import InvalidInput
from airflow_s3batch.core.prices import Prices, check_prices, kind_of


@pytest.mark.parametrize(
    ("action", "parameters", "kind"),
    [
        ("GetObjectTagging", {}, "GET"),
        ("HeadObject", {}, "GET"),
        ("PutObjectTagging", {}, "PUT"),
        ("ListObjectsV2", {}, "PUT"),
        ("CopyObject", {"StorageClass": "STANDARD"}, "PUT"),
        ("CopyObject", {"StorageClass": "GLACIER_IR"}, "PUT GLACIER_IR"),
        ("DeleteObjects", {}, "DELETE"),
        ("AbortMultipartUpload", {}, "DELETE"),
        ("RestoreObject", {"RestoreRequest": {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}}, "RESTORE BULK"),
        ("RestoreObject", {"RestoreRequest": {"Tier": "Standard"}}, "RESTORE STANDARD"),
        ("RestoreObject", {"RestoreRequest": {"Days": 1}}, "RESTORE STANDARD"),
        ("lambda:Invoke", {}, "OTHER"),
    ],
)
def test_call_is_charged_by_its_kind(action: str, parameters: dict[str, Any], kind: str) -> None:
    assert kind_of(action, parameters) == kind


@pytest.mark.parametrize(
    ("kind", "dollars"),
    [("PUT", 5.0), ("GET", 0.4), ("PUT GLACIER_IR", 20.0), ("PUT INTELLIGENT_TIERING", 5.0), ("DELETE", 0.0)],
)
def test_a_million_requests_cost_what_amazons_list_says(kind: str, dollars: float) -> None:
    assert Prices.of_region("us-east-1").of(kind, 1_000_000) == pytest.approx(dollars)


def test_region_has_its_own_prices_and_the_defaults_for_the_rest() -> None:
    prices = Prices.of_region("eu-central-1")

    assert prices.of("PUT", 1000) == 0.0054
    assert prices.of("PUT GLACIER", 1000) == 0.03
    assert "eu-central-1" in prices.source


def test_region_that_is_not_in_the_table_has_the_defaults_prices_and_says_so() -> None:
    prices = Prices.of_region("mars-north-1")

    assert prices.by_kind == Prices.of_region("us-east-1").by_kind
    assert "in us-east-1, none being known for mars-north-1" in prices.source


def test_an_authors_prices_go_over_the_list() -> None:
    prices = Prices.of_region("us-east-1", {"PUT": 0.001})

    assert (prices.of("PUT", 1000), prices.of("GET", 1000)) == (0.001, 0.0004)
    assert "prices of yours" in prices.source


def test_price_that_nobody_gave_is_unknown() -> None:
    assert Prices.given({"PUT": 0.1}).of("GET", 1) is None
    assert Prices.given({"GET": 0.1}).of("PUT GLACIER", 1) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("PUT", r"prices='PUT' is no dictionary, but of type str; write {'PUT': 0\.0045"),
        ([], r"prices=\[\] is no dictionary"),
        ({"POST": 1.0}, "no request is 'POST'; known are GET, PUT"),
        ({"PUT": -1.0}, "-1.0 is no price"),
        ({"PUT": float("nan")}, "nan is no price"),
        ({"PUT": "0.005"}, "'0.005' is no price of 1,000 requests, for PUT"),
        ({"PUT": True}, "True is no price"),
    ],
)
def test_wrong_price_is_refused(given: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        check_prices(given)


def test_given_prices_are_returned() -> None:
    assert check_prices({"PUT": 1, "GET": 0.0}) == {"PUT": 1, "GET": 0.0}


def test_no_prices_are_fine() -> None:
    assert check_prices(None) == {}


@pytest.mark.parametrize(
    "endpoint_url",
    [
        None,
        "https://s3.eu-west-1.amazonaws.com",
        "https://bucket.vpce-0a1b2c3d4e5f-6g7h8i9j.s3.eu-west-1.vpce.amazonaws.com",
        "https://s3.cn-north-1.amazonaws.com.cn",
    ],
)
def test_amazons_prices_hold_wherever_amazon_is_behind_the_endpoint(endpoint_url: str | None) -> None:
    assert Prices.at(endpoint_url, "eu-west-1") == Prices.of_region("eu-west-1")


def test_at_another_store_an_authors_prices_hold_and_no_others() -> None:
    for endpoint_url in ("http://127.0.0.1:9000", "https://amazonaws.com.store.example"):
        assert Prices.at(endpoint_url, "us-east-1") is None
        assert Prices.at(endpoint_url, "us-east-1", {"PUT": 1.0}) == Prices.given({"PUT": 1.0})
