"""The manifests, and the one dispatch from AWS's JobManifest to them."""

from __future__ import annotations

from typing import Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.manifest.base import Manifest, Survey
from airflow_s3batch.core.manifest.csv import CsvManifest

__all__ = ["MANIFESTS", "CsvManifest", "Manifest", "Survey", "manifest_from_aws"]

MANIFESTS: dict[str, type[Manifest]] = {manifest.aws_format: manifest for manifest in (CsvManifest,)}
"""Every manifest by AWS's JobManifestFormat."""


def manifest_from_aws(manifest: dict[str, Any]) -> Manifest:
    """Build a manifest from AWS's JobManifest, as strictly as its constructor.

    Raises:
        InvalidInput: its format is unknown, or a field is missing or wrong.
    """
    try:
        name = manifest["Spec"]["Format"]
    except (KeyError, TypeError):
        raise InvalidInput("a manifest needs Spec.Format and Location.ObjectArn") from None
    known = MANIFESTS.get(name)
    if known is None:
        raise InvalidInput(f"manifest format {printable(repr(name))} is unknown; known are {', '.join(MANIFESTS)}")
    return known.from_arguments(manifest)
