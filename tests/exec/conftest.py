"""Programs in C that know nothing of the project, each compiled once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.compile.toolchain import any_compiler

PROGRAMS = Path(__file__).with_name("programs")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The program of that name, for anybody to run."""
    folder = tmp_path_factory.mktemp("programs")
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            target = folder / name
            flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
            source = PROGRAMS / f"{name}.c"
            subprocess.run([any_compiler().path, *flags, "-o", target, source], check=True)
            built[name] = target
        return built[name]

    return build
