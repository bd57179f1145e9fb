"""`Prices`: what S3 charges for requests. Amazon's list prices are data, ``prices.json``; an author's go over them.

https://aws.amazon.com/s3/pricing/
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.location import is_amazons

__all__ = ["OTHER", "Prices", "check_prices", "kind_of"]

OTHER = "OTHER"
"""The kind of what isn't S3's, or whose calls nobody knows."""

_FREE = ("Delete", "Abort")
_READS = ("Get", "Head")


def kind_of(action: str, parameters: Mapping[str, Any]) -> str:
    """What S3 charges a call as: ``GET``, ``PUT``, ``PUT GLACIER_IR``, ``RESTORE BULK``; ``DELETE`` is free.

    A call of another service (``lambda:Invoke``) is `OTHER`.
    """
    if ":" in action:
        return OTHER
    if action.startswith(_FREE):
        return "DELETE"
    if action.startswith(_READS):
        return "GET"
    if action == "RestoreObject":
        request = parameters.get("RestoreRequest", {})
        tier = request.get("GlacierJobParameters", {}).get("Tier") or request.get("Tier") or "Standard"
        return f"RESTORE {str(tier).upper()}"
    storage_class = parameters.get("StorageClass") or "STANDARD"
    return "PUT" if storage_class == "STANDARD" else f"PUT {storage_class}"


def check_prices(given: Mapping[str, float] | None) -> dict[str, float]:
    """Return the prices an author gives.

    Raises:
        InvalidInput: it is no dictionary, a kind is unknown, or a price is none.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        wrong = f"prices={printable(repr(given))} is no dictionary, but of type {type(given).__name__}"
        raise InvalidInput(f"{wrong}; write {{'PUT': 0.0045, 'GET': 0.00036}}")
    known = {kind for region in _table()["regions"].values() for kind in region}
    for kind, price in given.items():
        if kind not in known:
            raise InvalidInput(f"prices: no request is {printable(repr(kind))}; known are {', '.join(sorted(known))}")
        if not _is_price(price):
            raise InvalidInput(f"prices: {printable(repr(price))} is no price of 1,000 requests, for {kind}")
    return dict(given)


def _is_price(given: object) -> bool:
    return isinstance(given, (int, float)) and not isinstance(given, bool) and math.isfinite(given) and given >= 0


class Prices(NamedTuple):
    """Prices of requests, in US dollars for 1,000."""

    by_kind: dict[str, float]
    source: str
    """Whose prices these are, for a person."""

    @classmethod
    def at(cls, endpoint_url: str | None, region: str, given: Mapping[str, float] | None = None) -> Prices | None:
        """What an S3 charges: Amazon's prices where that is behind the endpoint, else an author's; None if none."""
        if is_amazons(endpoint_url):
            return cls.of_region(region, given)
        return cls.given(given) if given else None

    @classmethod
    def of_region(cls, region: str, given: Mapping[str, float] | None = None) -> Prices:
        """Amazon's list prices in a region, the default region's where the table has none, under an author's own."""
        table = _table()
        default = table["default"]
        known = table["regions"].get(region)
        source = f"Amazon's list prices of {table['published']} in {default if known is None else region}"
        if known is None:
            source += f", none being known for {printable(region)}"
        if given:
            source += ", and prices of yours"
        return cls({**table["regions"][default], **(known or {}), **(given or {})}, source)

    @classmethod
    def given(cls, given: Mapping[str, float]) -> Prices:
        """An author's prices alone, for a store that isn't Amazon's."""
        return cls(dict(given), "prices of yours")

    def of(self, kind: str, count: int) -> float | None:
        """What so many requests of a kind cost, None if it isn't known."""
        if kind == "DELETE":
            return 0.0
        # Storage classes without a price of their own (INTELLIGENT_TIERING) cost what STANDARD does.
        price = self.by_kind.get(kind, self.by_kind.get("PUT") if kind.startswith("PUT ") else None)
        return None if price is None else price * count / 1000


def _table() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("prices.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
