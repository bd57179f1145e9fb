"""The documentation says what is there: its examples run, and no public name is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import airflow_s3batch
from airflow_s3batch.core.operations import OPERATIONS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")

# Other tests define operations of their own.
OURS = [operation for operation in OPERATIONS.values() if operation.__module__.startswith("airflow_s3batch.")]

EXAMPLES = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(_BLOCK.findall(page.read_text()), 1)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs(example: str) -> None:
    exec(compile(example, "an example of the documentation", "exec"), {"__name__": "example"})


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 10


@pytest.mark.parametrize("name", airflow_s3batch.__all__)
def test_public_name_is_documented(name: str) -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert re.search(rf"\b{name}\b", text), f"no page of docs/ mentions {name}"


@pytest.mark.parametrize("operation", OURS, ids=lambda operation: operation.__name__)
def test_operation_has_a_page_that_names_its_parameters(operation: type) -> None:
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", operation.__name__).lower()
    page = (ROOT / "docs" / "operations" / f"{name}.md").read_text()
    missing = [field for field in operation.model_fields if f"`{field}`" not in page]  # type: ignore[attr-defined]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not broken
