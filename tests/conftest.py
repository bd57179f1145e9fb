"""What all tests have in common."""

from __future__ import annotations

import contextlib
import signal
from typing import NoReturn

import psutil
from hypothesis import settings

# A deadline an example measures the machine, not the code.
settings.register_profile("everywhere", deadline=None)
settings.load_profile("everywhere")


def _end_as_with_ctrl_c(*_: object) -> NoReturn:
    # The fixtures may be those of pytest-xdist's processes, which it would end by SIGKILL.
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()
    raise KeyboardInterrupt


# A test run that is ended from outside ends the processes that its fixtures have started, too.
signal.signal(signal.SIGTERM, _end_as_with_ctrl_c)
