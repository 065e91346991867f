"""Operations of io_uring have the kernel's results: the same program runs with it and with us."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.compile.toolchain import any_compiler

Program = Callable[[str], Path]
PROGRAMS = Path(__file__).with_name("programs")
ROOT = Path(__file__).parents[2]
#: They hold each result to what the kernel gave them without ``exec``.
JUDGING = ["operations", "files", "apart"]
#: They tell each result; beside them is what Linux 6.18 made them tell.
TELLING = ["groups", "work", "messages", "settings", "sockets", "bytes"]


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


def test_bytes_are_moved_where_the_machine_forbids_its_io_uring(
    script: Any, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = script.folder / "forbidden.so"
    words = ["-O2", "-shared", "-fPIC", "-o", library, PROGRAMS / "forbidden.c"]
    subprocess.run([any_compiler().path, *words], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    ended = script.run("exec", program("bytes"))
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == told_by_linux("bytes")


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


def test_probe_says_what_the_documents_say(script: Any, program: Program) -> None:
    """And what it does not say is refused, which the program looks at itself."""
    names = re.findall(
        r"^\tIORING_OP_(\w+)", (ROOT / "cext/exec/uring.h").read_text(), re.MULTILINE
    )
    text = (ROOT / "docs/exec.md").read_text()
    paragraphs = text.partition("\nOperations: ")[2].partition("\n## ")[0]
    documented = [name for name in names if f"`{name}`" in paragraphs]
    ended = script.run("exec", program("probe"))
    assert (ended.code, ended.stderr) == (0, "")
    assert [names[int(line)] for line in ended.stdout.split()] == documented
