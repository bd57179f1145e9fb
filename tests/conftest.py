"""What all tests have in common."""

from __future__ import annotations

import signal
from typing import NoReturn

from hypothesis import settings

# A deadline an example measures the machine, not the code.
settings.register_profile("everywhere", deadline=None)
settings.load_profile("everywhere")


def _end_as_with_ctrl_c(*_: object) -> NoReturn:
    raise KeyboardInterrupt


# A test run that is ended from outside ends the processes that its fixtures have started, too.
signal.signal(signal.SIGTERM, _end_as_with_ctrl_c)
