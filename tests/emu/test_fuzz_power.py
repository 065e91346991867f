"""``python -m tools.fuzz_power``: what is found counts, what is not ends it with code 1."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from emu.bugs import CONTENT_BUGS, Bug

from ..conftest import change

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout"),
    pytest.mark.long,
]

#: A change without effect: nothing can be found.
NO_BUG = Bug(
    "no-bug", "nothing is wrong", change("kernel/area.c", "The freelist. A stack", "A stack")
)


@pytest.fixture
def fuzz_power(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("tools.fuzz_power")


def _run(fuzz_power: ModuleType, seconds: float) -> None:
    engines = [fuzz_power.Engine.GENERATE]
    fuzz_power.main(None, engines, False, runs=1, seconds=seconds, seed=1, write=True)


def _attempt(fuzz_power: ModuleType, name: str) -> Any:
    engine = fuzz_power.Engine.GENERATE
    return fuzz_power.attempt(fuzz_power.built(CONTENT_BUGS[name], [engine]), engine, 1, 60)


def test_bug_is_found_and_its_program_short(fuzz_power: ModuleType) -> None:
    """What needs the wrap at 2^32 begins right before it once it is minimised."""
    found = _attempt(fuzz_power, "wrap-compared")
    assert found.seconds < math.inf
    # Which of the ways to notice it comes first depends on when the folder was looked at.
    assert found.signature.startswith(("consumed:", "result:"))
    assert 1 <= found.operations <= 4


def test_crash_is_found(fuzz_power: ModuleType) -> None:
    found = _attempt(fuzz_power, "init-without-ifq")
    assert found.signature == "crash:SEGV"
    assert found.operations == 1


@pytest.mark.parametrize(
    "name", [bug.name for bug in CONTENT_BUGS.values() if bug.kernels], ids=str
)
def test_bug_of_a_level_is_found_at_it(fuzz_power: ModuleType, name: str) -> None:
    found = _attempt(fuzz_power, name)
    assert found.seconds < math.inf


def test_document_has_a_row_for_each_bug(
    fuzz_power: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bug = CONTENT_BUGS["pad-ignored"]
    monkeypatch.setattr(fuzz_power, "CONTENT_BUGS", {bug.name: bug})
    monkeypatch.setattr(fuzz_power, "DOCS", tmp_path / "fuzz-power.md")
    _run(fuzz_power, 60)
    text = (tmp_path / "fuzz-power.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| `pad-ignored` |")]
    assert bug.explanation in row
    assert "`verdict:bad_pad:" in row
    assert "- **Found by no engine**: none." in text


def test_bug_that_nobody_finds_ends_it_with_code_1(
    fuzz_power: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fuzz_power, "CONTENT_BUGS", {NO_BUG.name: NO_BUG})
    monkeypatch.setattr(fuzz_power, "DOCS", tmp_path / "fuzz-power.md")
    with pytest.raises(typer.Exit) as ended:
        _run(fuzz_power, 0.3)
    assert ended.value.exit_code == 1
    assert "not found by any engine: no-bug" in capsys.readouterr().out
    assert "- **Found by no engine**: no-bug." in (tmp_path / "fuzz-power.md").read_text()


def test_hang_is_found_and_shortened(fuzz_power: ModuleType, tmp_path: Path) -> None:
    """A ptr ring whose slots are not emptied is drained for ever when its pool ends."""
    engine = fuzz_power.Engine.GENERATE
    judge = fuzz_power.built(CONTENT_BUGS["ptr-ring-slot-not-cleared"], [engine]).judge(engine)
    shape = bytes([3, 2, 0, 0]) + bytes(4)
    alloc, drop, scrub, restart = bytes([0, 0]), bytes([2, 0, 0]), bytes([10, 0]), bytes([13])
    program = shape + alloc + drop + scrub * 9 + restart
    assert fuzz_power._minimise(judge, program, tmp_path) == (3, "hang")
