"""What Airflow is told about this provider."""

from __future__ import annotations

from typing import Any

__all__ = ["get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata.

    https://airflow.apache.org/docs/apache-airflow-providers/howto/create-custom-providers.html
    """
    from airflow_s3batch import __version__

    return {
        "package-name": "airflow-provider-s3batch",
        "name": "Amazon S3 Batch Operations",
        "description": "One operation on every object of a manifest, on Airflow's workers, with a completion report.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Amazon S3 Batch Operations",
                "external-doc-url": "https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops.html",
                "tags": ["aws"],
            }
        ],
        "operators": [_modules("operators")],
        "sensors": [_modules("sensors"), _modules("restore_sensor")],
        "hooks": [_modules("hooks")],
        "triggers": [_modules("triggers"), _modules("restore_trigger")],
        "task-decorators": [{"class-name": "airflow_s3batch.decorators.s3_batch_task", "name": "s3_batch"}],
        "extra-links": ["airflow_s3batch.links.S3BatchReportLink"],
    }


def _modules(name: str) -> dict[str, Any]:
    return {
        "integration-name": "Amazon S3 Batch Operations",
        "python-modules": [f"airflow_s3batch.{name}"],
    }
