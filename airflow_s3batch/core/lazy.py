"""`loaded_lazily`: names of a package that load when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["loaded_lazily"]


def loaded_lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """What a package has as its ``__getattr__``: https://peps.python.org/pep-0562/.

    Args:
        package: its name.
        modules: the names, and the module inside the package that has each.
    """

    def load(name: str) -> Any:
        module = modules.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{module}"), name)
        setattr(sys.modules[package], name, found)
        return found

    return load
