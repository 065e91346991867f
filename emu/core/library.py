"""A provider of somebody else's, as a shared library (``cext/zcrx_provider.h``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from emu.core._lib import ffi, lib
from emu.errors import ConfigError

_WHY_MAX = 1024


class ProviderLibrary:
    """A library opened in this process; its code stays loaded until the process ends.

    The control process of a run never makes one (see :mod:`emu.runtime.keeper`): what a library
    does when it is loaded, it does to the process that loads it.

    Args:
        path: The file, relative to the working directory or absolute; it is never searched for.

    Raises:
        ConfigError: It cannot be opened, or offers no provider that this program can use.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._ops = ffi.NULL
        why = "there is no such file"
        if "\0" not in path and Path(self.path).exists():
            text = ffi.new("char[]", _WHY_MAX)
            self._ops = lib.zcrx_plugin_open(os.fsencode(self.path), text, _WHY_MAX)
            why = os.fsdecode(ffi.string(text))
        if self._ops == ffi.NULL:
            raise ConfigError.of(
                "provider", path, f"name a shared library made for zcrx_provider.h ({why})"
            )

    @property
    def name(self) -> str:
        """What it calls itself; its file's name if it does not say."""
        if self._ops.name == ffi.NULL:
            return Path(self.path).name
        return bytes(ffi.string(self._ops.name)).decode(errors="backslashreplace")

    def raw(self) -> Any:
        """Its operations in C; for this package only."""
        return self._ops
