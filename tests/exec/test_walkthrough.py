"""docs/exec-walkthrough.md, step by step: what it quotes is what is printed, but for numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emu.compile.toolchain import any_compiler
from emu.library.files import header_folder

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "exec"
EXIT_FOUND = 99


@dataclass(slots=True)
class Step:
    """A command of the walk-through, with what it is said to print."""

    mistakes: int
    options: list[str]
    lines: list[str] = field(default_factory=list)


def read_steps() -> list[Step]:
    text = (ROOT / "docs" / "exec-walkthrough.md").read_text()
    steps: list[Step] = []
    mistakes = 0
    for line in text[: text.index("## In CI")].splitlines():
        if found := re.match(r"    cc (?:-DMISTAKES=(\d) )?server\.c ", line):
            mistakes = int(found[1] or 0)
        elif found := re.match(r"    sh check\.sh \./server ?(.*)", line):
            steps.append(Step(mistakes, found[1].split()))
        elif re.match(r"    (zcrx-emu: |sum |\d+ bytes, )", line):
            steps[-1].lines.append(line.strip())
    return steps


def without_numbers(line: str) -> str:
    """Threads, counts and times are other ones each time."""
    return re.sub(r" \(given [^)]+ ago\)|0x[0-9a-f]+|\d+", "", line)


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Step], tuple[int, set[str]]]:
    """``check.sh`` with a server that has these mistakes: its exit code, and its lines."""
    folder = tmp_path_factory.mktemp("walkthrough")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(step: Step) -> tuple[int, set[str]]:
        server = folder / f"server{step.mistakes}"
        flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{header_folder()}"]
        define = f"-DMISTAKES={step.mistakes}"
        source = EXAMPLE / "server.c"
        subprocess.run([any_compiler().path, *flags, define, "-o", server, source], check=True)
        ended = subprocess.run(
            ["sh", EXAMPLE / "check.sh", server, *step.options],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        lines = (ended.stdout + ended.stderr).splitlines()
        return ended.returncode, set(map(without_numbers, lines))

    return run


@pytest.mark.parametrize(
    "step", read_steps(), ids=lambda step: f"{step.mistakes} {' '.join(step.options)}"
)
def test_walkthrough_prints_what_it_says(
    check: Callable[[Step], tuple[int, set[str]]], step: Step
) -> None:
    code, lines = check(step)
    finds = any(" found: " in line for line in step.lines)
    assert code == (EXIT_FOUND if finds else 0)
    assert set(map(without_numbers, step.lines)) <= lines


def test_guessed_place_is_right_where_it_was_guessed_from(
    check: Callable[[Step], tuple[int, set[str]]],
) -> None:
    code, lines = check(Step(1, ["--kernel", "7.2"]))
    assert code == 0
    assert not any(line.startswith("zcrx-emu") for line in lines)
