from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import airflow
import jsonschema  # type: ignore[import-untyped]

from airflow_s3batch.provider_info import get_provider_info


def test_provider_info_is_what_airflow_expects() -> None:
    schema = json.loads(Path(airflow.__path__[0], "provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)


def test_provider_info_names_what_there_is() -> None:
    info = get_provider_info()

    for kind in ("operators", "sensors", "hooks", "triggers"):
        for part in info[kind]:
            for module in part["python-modules"]:
                import_module(module)
    for path in info["extra-links"]:
        module, _, name = path.rpartition(".")
        assert getattr(import_module(module), name)
