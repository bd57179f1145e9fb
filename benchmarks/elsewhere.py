"""What the last runs on other machines came to: ratios depend on the processor, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.results import WHOLE_TLS, Results, median, ratio

__all__ = ["known", "remember"]

_REMEMBERED = Path(__file__).with_name("elsewhere.json")


def remember(found: Results) -> None:
    """Keep what this run came to, as the last one of its machine."""
    others = [told for told in known() if told["machine"] != found.told["machine"]]
    _REMEMBERED.write_text(json.dumps([_told(found), *others], indent=1) + "\n")


def known() -> list[dict[str, Any]]:
    """A machine each, the last run first; costs in µs of CPU an object."""
    told: list[dict[str, Any]] = json.loads(_REMEMBERED.read_text()) if _REMEMBERED.exists() else []
    return told


def _told(found: Results) -> dict[str, Any]:
    whole, boto3 = found.whole("100,000"), found.best_boto3()
    wrk = found.rounds("transport", "wrk", "HTTP, 256 in flight")
    return {
        "machine": found.told["machine"],
        "when": found.told["when"],
        "whole": median(whole),
        "wrk": median(wrk),
        "of_wrk": ratio(whole, wrk),
        "boto3": median(boto3),
        "of_boto3": ratio(boto3, whole),
        "tls": median(found.rounds("run_partition", "airflow_s3batch", WHOLE_TLS)),
        "sizes": [[objects, median(samples)] for objects, samples in found.sizes()],
    }
