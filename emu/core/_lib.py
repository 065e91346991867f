"""The extension module itself: which build of it is in use, and its ``ffi`` and ``lib``."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

from emu.errors import ConfigError


def _load_core() -> Any:
    """Import the extension; ``ZCRX_EMU_CORE`` names another build of it (sanitizers)."""
    path = os.environ.get("ZCRX_EMU_CORE")
    if path is None:
        return importlib.import_module("emu._core")
    spec = importlib.util.spec_from_file_location("emu._core", path)
    if spec is None or spec.loader is None:
        raise ConfigError.of("ZCRX_EMU_CORE", path, "it must name an extension module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


core = _load_core()
ffi = core.ffi
lib = core.lib


def new_struct(kind: str, values: dict[str, Any]) -> Any:
    """A C struct of its own, with some of its fields set."""
    return ffi.new(f"struct {kind} *", values)


def core_path() -> str:
    """The file of the extension module that is in use."""
    return str(core.__file__)
