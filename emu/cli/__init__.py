"""The command line ``zcrx-emu``, and what is only about what a person types or sees.

Exit codes: 0 good, 1 a finding, 2 a wrong use or an environment that cannot
run it. A wrong use is answered in one line; no traceback reaches a user.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.cli.root import app, main
    from emu.cli.running import run_function

__all__ = ["app", "main", "run_function"]

#: Imported when they are asked for: the commands import what in turn imports parts of this package.
_HOME = {"app": "root", "main": "root", "run_function": "running"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"emu.cli.{_HOME[name]}"), name)
    globals()[name] = value
    return value
