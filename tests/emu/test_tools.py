"""The programs in ``tools``: a wrong use is answered in one line, like one of ``zcrx-emu``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from emu.fuzz import once as fuzz_once
from emu.race import cli as race_cli

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("attack", "nosuch"), "'nosuch' is not known; allowed are malformed"),
        (("attack", "--rounds", "0"), "'--rounds'"),
        (("kills", "--count", "many"), "'--count'"),
        (("bench", "--nosuch"), "--nosuch"),
        (("exec_bench", "--rounds", "0"), "'--rounds'"),
        (("fuzz_power", "--bug", "pad-ignord"), "pad-ignored"),
        (("fuzz_power", "--runs", "0"), "'--runs'"),
    ],
)
def test_wrong_use_is_answered_in_one_line(arguments: tuple[str, ...], named: str) -> None:
    program, *rest = arguments
    ended = subprocess.run(
        [sys.executable, "-m", f"tools.{program}", *rest],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{program}: error: ")
    assert named in line


@pytest.mark.skipif(not (ROOT / ".gitignore").exists(), reason="not a checkout")
def test_what_runs_leave_is_ignored_and_cleaned() -> None:
    """The default folders of ``stress``, ``fuzz`` and ``race``, in a checkout."""
    made = {path.parts[0] for path in (fuzz_once.CORPUS, fuzz_once.FINDINGS, race_cli._FINDINGS)}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(r"^clean:\n\trm -rf (.*)$", makefile, re.MULTILINE)
    for folder in {"runs", *made}:
        assert f"/{folder}/" in ignored
        assert folder in recipe.split()
