"""Where libzcrx_emu is: its shared object, its archive, its headers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from emu.compile.ondemand import core_sources
from emu.errors import EnvironmentProblem

LIBRARY = "libzcrx_emu.so"


def library_folder() -> Path:
    """The folder of the library: beside the compiled module, or in the build that has both.

    Raises:
        EnvironmentProblem: This installation has none.
    """
    spec = importlib.util.find_spec("emu._core")
    if spec is None or spec.origin is None:
        raise EnvironmentProblem("library: this installation was built without its C core")
    folder = Path(spec.origin).resolve().parent
    for candidate in (folder, folder / "lib"):
        if (candidate / LIBRARY).is_file():
            return candidate
    raise EnvironmentProblem(f"library: {LIBRARY} is missing beside {str(folder)!r}")


def header_folder() -> Path:
    """The folder of its headers.

    Raises:
        EnvironmentProblem: This installation has none.
    """
    return core_sources() / "lib"
