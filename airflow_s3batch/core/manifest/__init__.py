"""The manifests, and the one dispatch from AWS's JobManifest to them."""

from __future__ import annotations

from typing import Any

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.manifest.base import Manifest, Survey
from airflow_s3batch.core.manifest.csv import CsvManifest
from airflow_s3batch.core.manifest.failed import FailedObjects
from airflow_s3batch.core.manifest.filtered import FilteredManifest
from airflow_s3batch.core.manifest.generated import GeneratedManifest
from airflow_s3batch.core.manifest.inventory import InventoryManifest
from airflow_s3batch.core.manifest.list_objects import ListObjects
from airflow_s3batch.core.manifest.objects import Objects
from airflow_s3batch.core.manifest.parquet import ParquetManifest

__all__ = [
    "GENERATORS",
    "MANIFESTS",
    "CsvManifest",
    "FailedObjects",
    "FilteredManifest",
    "GeneratedManifest",
    "InventoryManifest",
    "ListObjects",
    "Manifest",
    "Objects",
    "ParquetManifest",
    "Survey",
    "manifest_from_aws",
]

MANIFESTS: dict[str, type[Manifest]] = {
    manifest.aws_format: manifest for manifest in (CsvManifest, InventoryManifest, ParquetManifest)
}
"""Every manifest by AWS's JobManifestFormat."""
GENERATORS: dict[str, type[GeneratedManifest]] = {
    generator.aws_name: generator for generator in (ListObjects, FailedObjects, Objects, FilteredManifest)
}
"""Every manifest that is first to be found, by its member of AWS's JobManifestGenerator."""
_SHOWN = 80
"""Characters of what isn't one, in errors."""


def manifest_from_aws(manifest: Any) -> Manifest:
    """Build a manifest from AWS's JobManifest or JobManifestGenerator, as strictly as its constructor.

    Raises:
        InvalidInput: its format is unknown, or a field is missing or wrong.
    """
    if isinstance(manifest, dict) and len(manifest) == 1 and (generator := GENERATORS.get(next(iter(manifest)))):
        return generator.from_arguments(manifest[generator.aws_name])
    try:
        name = manifest["Spec"]["Format"]
    except (KeyError, TypeError):
        raise InvalidInput(
            f"{printable(repr(manifest), _SHOWN)} is no manifest: write one of this package's, as "
            f'CsvManifest("s3://…"); or as JSON, with Spec.Format and Location.ObjectArn, or one of '
            f"{', '.join(GENERATORS)}"
        ) from None
    known = MANIFESTS.get(name)
    if known is None:
        raise InvalidInput(f"manifest format {printable(repr(name))} is unknown; known are {', '.join(MANIFESTS)}")
    return known.from_arguments(manifest)
