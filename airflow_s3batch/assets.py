"""The job's asset event: other DAGs can be scheduled on a report, and find its summary in the event's ``extra``.

The tasks declare an `AssetAlias` and not an `Asset`: the report's location may be a template, and to build an ``s3://``
Asset makes Airflow load boto3 (0.5 s) every time the DAG file is parsed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.definitions.asset import AssetRef

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["announce", "report_alias"]


def report_alias(location: str) -> AssetAlias:
    """Return the alias under which a location's reports are announced, named by the location as the author wrote it."""
    return AssetAlias(location)


def announce(context: Context, outlets: list[Any], location: str, summary: dict[str, Any]) -> None:
    """Let every outlet of the task have an event that carries the summary.

    Args:
        context: the running task's.
        outlets: the task's assets, and aliases: those have the event on the asset of the report's location.
        location: ``s3://bucket/prefix``, where the reports are; that asset's URI and name.
        summary: what becomes the event's ``extra``, what isn't a number or a text in it as JSON text.
    """
    events, extra = context["outlet_events"], _flat(summary)
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            events[outlet].add(Asset(location), extra=extra)
        elif isinstance(outlet, (Asset, AssetRef)):
            events[outlet].extra.update(extra)


def _flat(summary: dict[str, Any]) -> dict[str, Any]:
    # Airflow 3.1's API server fails on an alias's event whose extra holds a list or a dictionary.
    return {name: json.dumps(value) if isinstance(value, (dict, list)) else value for name, value in summary.items()}
