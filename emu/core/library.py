"""A provider of somebody else's, as a shared library (``cext/zcrx_provider.h``)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from emu.core._lib import ffi, lib
from emu.errors import ConfigError

_WHY_MAX = 1024
#: What cannot be opened is no news here: the one who asks finds that out, with the reason.
_TRY = """
import contextlib, ctypes, os, sys
with contextlib.suppress(OSError):
    ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW)
"""


class ProviderLibrary:
    """A library opened in this process; its code stays loaded until the process ends.

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
            self._ops = lib.zcrx_foreign_open(os.fsencode(self.path), text, _WHY_MAX)
            why = os.fsdecode(ffi.string(text))
        if self._ops == ffi.NULL:
            raise ConfigError.of(
                "provider", path, f"name a shared library made for zcrx_provider.h ({why})"
            )

    @classmethod
    def open_with_care(cls, path: str) -> ProviderLibrary:
        """Open it in a process of its own first: some end the process that opens them.

        A library with AddressSanitizer does, unless the sanitizer's runtime was loaded before.
        """
        command = [sys.executable, "-I", "-c", _TRY, os.path.abspath(path)]
        tried = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if tried.returncode:
            said = os.fsdecode(tried.stderr).strip().rpartition("\n")[2]
            why = said or f"exit code {tried.returncode}"
            raise ConfigError.of("provider", path, f"opening it ends the process ({why})")
        return cls(path)

    @property
    def name(self) -> str:
        """What it calls itself; its file's name if it does not say."""
        if self._ops.name == ffi.NULL:
            return Path(self.path).name
        return os.fsdecode(ffi.string(self._ops.name))

    def raw(self) -> Any:
        """Its operations in C; for this package only."""
        return self._ops
