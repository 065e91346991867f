"""How the package is built: by meson-python, the same from whatever folder it comes.

A wheel notes of each file who may read it. That is as the checkout has it, and so as the umask
was when it was made; here it is as it ought to be, and equal sources make equal wheels.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import mesonpy
from mesonpy import (
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

_FILE, _PROGRAM = 0o644, 0o755


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the wheel; its name in that folder. (Of a build backend: PEP 517.)"""
    name = str(mesonpy.build_wheel(wheel_directory, config_settings, metadata_directory))
    _with_usual_modes(Path(wheel_directory) / name)
    return name


def _with_usual_modes(wheel: Path) -> None:
    """Write it again, each file as everybody may read it, and execute it if the owner may."""
    written = wheel.with_name(f"{wheel.name}.new")
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(written, "w") as after:
        for entry in before.infolist():
            is_program = entry.external_attr >> 16 & stat.S_IXUSR
            mode = stat.S_IFREG | (_PROGRAM if is_program else _FILE)
            content = before.read(entry)
            entry.external_attr = mode << 16
            after.writestr(entry, content)
    os.replace(written, wheel)
