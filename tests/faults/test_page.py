"""docs/reliability.md says what was measured."""

from __future__ import annotations

from tests.faults import page


def test_page_is_what_the_last_run_wrote() -> None:
    assert page.PAGE.read_text() == page.rendered(), "write it by: python -m tests.faults.page"
