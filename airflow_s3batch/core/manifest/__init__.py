"""The manifests, and the one dispatch from AWS's JobManifest to them.

They load when they are first used: a DAG file pays for those it names, and a worker, which reads them from JSON, for
all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow_s3batch.core.errors import InvalidInput, printable
from airflow_s3batch.core.lazy import loaded_lazily
from airflow_s3batch.core.manifest.base import Manifest, Survey
from airflow_s3batch.core.values import as_create_job_takes

if TYPE_CHECKING:
    from airflow_s3batch.core.manifest.csv import CsvManifest
    from airflow_s3batch.core.manifest.failed import FailedObjects
    from airflow_s3batch.core.manifest.filtered import FilteredManifest
    from airflow_s3batch.core.manifest.generated import GeneratedManifest
    from airflow_s3batch.core.manifest.inventory import InventoryManifest
    from airflow_s3batch.core.manifest.list_objects import ListObjects
    from airflow_s3batch.core.manifest.objects import Objects
    from airflow_s3batch.core.manifest.parquet import ParquetManifest

__all__ = [
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

_LISTS = {"CsvManifest": "csv", "InventoryManifest": "inventory", "ParquetManifest": "parquet"}
"""Those that AWS's JobManifest can be, and their modules."""
_QUESTIONS = {
    "ListObjects": "list_objects",
    "FailedObjects": "failed",
    "Objects": "objects",
    "FilteredManifest": "filtered",
}
"""Those that are first to be found: members of AWS's JobManifestGenerator, or ours beside it."""
_MODULES = {**_LISTS, **_QUESTIONS, "GeneratedManifest": "generated"}
_SHOWN = 80
"""Characters of what isn't one, in errors."""


__getattr__ = loaded_lazily(__name__, _MODULES)


def _questions() -> dict[str, type[GeneratedManifest]]:
    kinds = [cast("type[GeneratedManifest]", __getattr__(name)) for name in _QUESTIONS]
    return {kind.aws_name: kind for kind in kinds}


def _lists() -> dict[str, type[Manifest]]:
    kinds = [cast("type[Manifest]", __getattr__(name)) for name in _LISTS]
    return {kind.aws_format: kind for kind in kinds}


def manifest_from_aws(manifest: Any) -> Manifest:
    """Build a manifest from AWS's JobManifest or JobManifestGenerator, as strictly as its constructor.

    Raises:
        InvalidInput: its format is unknown, or a field is missing or wrong.
    """
    questions = _questions()
    if isinstance(manifest, dict) and len(manifest) == 1 and (question := questions.get(next(iter(manifest)))):
        with as_create_job_takes(question.aws_name):
            return question.from_arguments(manifest[question.aws_name])
    try:
        name = manifest["Spec"]["Format"]
    except (KeyError, TypeError):
        raise InvalidInput(
            f"{printable(repr(manifest), _SHOWN)} is no manifest: write one of this package's, as "
            f'CsvManifest("s3://…"); or as JSON, with Spec.Format and Location.ObjectArn, or one of '
            f"{', '.join(questions)}"
        ) from None
    lists = _lists()
    if not isinstance(name, str) or name not in lists:
        raise InvalidInput(f"manifest format {printable(repr(name))} is unknown; known are {', '.join(lists)}")
    with as_create_job_takes(name):
        return lists[name].from_arguments(manifest)
