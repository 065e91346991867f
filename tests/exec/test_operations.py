"""Operations of io_uring have the kernel's results: the same program runs with it and with us."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[[str], Path]
PROGRAMS = Path(__file__).with_name("programs")
#: They hold each result to what the kernel gave them without ``exec``.
JUDGING = ["operations", "files", "apart"]
#: They tell each result; beside them is what Linux 6.18 made them tell.
TELLING = ["groups", "work", "messages", "settings"]


def told_by_linux(name: str) -> list[str]:
    return (PROGRAMS / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("name", JUDGING)
def test_results_are_the_kernels(script: Any, program: Program, name: str) -> None:
    ended = script.run("exec", program(name))
    assert (ended.code, ended.stderr) == (0, "")


@pytest.mark.parametrize("name", TELLING)
def test_each_result_is_what_linux_says(script: Any, program: Program, name: str) -> None:
    ended = script.run("exec", program(name))
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == told_by_linux(name)


@pytest.mark.long
@pytest.mark.skipif(not os.uname().release.startswith("6.18."), reason="another kernel's results")
@pytest.mark.parametrize("name", [*JUDGING, *TELLING, "waits", "leaderless"])
def test_programs_are_right_about_linux(program: Program, tmp_path: Path, name: str) -> None:
    """By this machine's own io_uring, where it lets us use it."""
    ended = subprocess.run(
        [program(name)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    if ended.returncode and "ring_open" in ended.stderr:
        pytest.skip("io_uring is forbidden here")
    assert (ended.returncode, ended.stderr) == (0, "")
    if name in TELLING:
        assert ended.stdout.splitlines() == told_by_linux(name)
