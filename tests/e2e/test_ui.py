"""`make ui`, as a person starts and ends it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


def test_it_says_when_it_is_ready_and_ends_by_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "demo", "ui"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as ui:
        try:
            assert ui.stdout is not None
            told: list[str] = []
            for line in ui.stdout:  # it ends if the program does
                told.append(line)
                if "Ctrl-C" in line:
                    break
            found = re.search(r"Airflow +(\S+) +user", "".join(told))
            assert found, "".join(told)
            assert httpx.get(f"{found[1]}/api/v2/version").is_success
            ui.send_signal(signal.SIGINT)
            assert ui.wait(180) == 0
        finally:
            if ui.poll() is None:
                ui.terminate()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{found[1]}/api/v2/version")
