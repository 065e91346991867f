"""The programs in ``tools``: a wrong use is answered in one line, like one of ``zcrx-emu``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("attack", "nosuch"), "'nosuch' is not known; allowed are malformed"),
        (("attack", "--rounds", "0"), "'--rounds'"),
        (("kills", "--count", "many"), "'--count'"),
        (("bench", "--nosuch"), "--nosuch"),
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
