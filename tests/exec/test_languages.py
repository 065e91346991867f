"""Programs that are not C, by system calls alone: the gateway sees no difference."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).with_name("programs")
#: Set where nothing may be left out: what is not installed fails its tests.
NOTHING_LEFT_OUT = "ZCRX_EMU_NOTHING_LEFT_OUT"


def build(compiler: str, *words: str, **variables: str) -> None:
    """Compile a program, or leave the test out for want of the compiler."""
    if shutil.which(compiler) is None:
        say = pytest.fail if os.environ.get(NOTHING_LEFT_OUT) else pytest.skip
        say(f"not installed: {compiler}")
    subprocess.run([compiler, *words], check=True, env={**os.environ, **variables})


def receives(script: Any, program: Path) -> None:
    ended = script.run("exec", program, 1_000_001)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("1000001 bytes, ")


def test_go_receives(script: Any, tmp_path: Path) -> None:
    """Its threads come and go, its memory is its own collector's, and it has no C library."""
    program = tmp_path / "receiver"
    source = str(PROGRAMS / "receiver.go")
    build("go", "build", "-o", str(program), source, GO111MODULE="off", GOCACHE=str(tmp_path / "c"))
    receives(script, program)


def test_rust_receives(script: Any, tmp_path: Path) -> None:
    """With the refill ring in memory of the kernel's."""
    program = tmp_path / "receiver"
    words = ["--edition", "2021", "-D", "warnings", "-o", str(program)]
    build("rustc", *words, str(PROGRAMS / "receiver.rs"))
    receives(script, program)
