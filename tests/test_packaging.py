"""What someone gets who installs the distribution, or clones the repository."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airflow_s3batch
from airflow_s3batch.provider_info import get_provider_info

ROOT = Path(__file__).parent.parent
DISTRIBUTION = "airflow-provider-s3batch"
PINS = sorted((ROOT / "requirements").glob("airflow-*.txt"))


def test_airflow_finds_the_provider_by_its_entry_point() -> None:
    (entry,) = importlib.metadata.distribution(DISTRIBUTION).entry_points.select(group="apache_airflow_provider")

    assert entry.load() is get_provider_info
    assert get_provider_info()["package-name"] == DISTRIBUTION


def test_installed_version_is_the_packages_own() -> None:
    assert importlib.metadata.version(DISTRIBUTION) == airflow_s3batch.__version__


def test_every_name_in_the_provider_info_exists(tmp_path: Path) -> None:
    info = get_provider_info()
    kinds = ("operators", "sensors", "hooks", "triggers")
    modules = [module for kind in kinds for entry in info[kind] for module in entry["python-modules"]]
    links = [link.rpartition(".") for link in info["extra-links"]]
    code = [f"import {module}" for module in modules] + [f"from {module} import {name}" for module, _, name in links]

    # In a process of its own: Airflow writes its configuration where it is imported.
    subprocess.run(
        [sys.executable, "-c", "\n".join(code)], env={**os.environ, "AIRFLOW_HOME": str(tmp_path)}, check=True
    )


def test_wheel_holds_the_package_with_its_types_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    files = zipfile.ZipFile(wheel).namelist()

    assert "airflow_s3batch/py.typed" in files
    assert {file.split("/")[0] for file in files} == {
        "airflow_s3batch",
        f"airflow_provider_s3batch-{airflow_s3batch.__version__}.dist-info",
    }
    assert any(file.endswith("licenses/LICENSE") for file in files)


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.stem)
def test_pins_satisfy_what_the_distribution_asks_for(pins: Path) -> None:
    pinned = [Requirement(line) for line in pins.read_text().splitlines() if line and not line.startswith("#")]
    asked = [Requirement(line) for line in importlib.metadata.requires(DISTRIBUTION) or ()]

    for wanted in asked:
        found = [pin for pin in pinned if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
        assert found, f"{wanted.name} isn't pinned"
        for pin in found:
            (version,) = pin.specifier
            assert wanted.specifier.contains(version.version), f"{pin} doesn't satisfy {wanted}"


@pytest.mark.parametrize("pins", PINS, ids=lambda path: path.stem)
def test_pins_name_no_place_to_install_from(pins: Path) -> None:
    assert not re.search(r"https?:|file:|^-|/", pins.read_text(), re.MULTILINE)


def test_make_lists_every_word_it_knows() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)

    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert set(re.findall(r"make (\w+)", listed)) >= set(phony.split())
