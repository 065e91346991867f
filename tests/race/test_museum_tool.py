"""``python -m tools.race_museum``: what is found counts, what is not ends it with code 1."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from types import ModuleType

import pytest
import typer

from emu.bugs import Bug
from emu.bugs.racing import RACING_BUGS
from emu.errors import ConfigError

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout")

CVE = RACING_BUGS["cve-2026-43121"]
#: A change without effect: nothing can be found.
NO_BUG = Bug(
    "no-bug", "nothing is wrong", "area.c", "The freelist. A stack", "A stack", "two-scrubs", "c11"
)


@pytest.fixture
def museum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    module = importlib.import_module("tools.race_museum")
    monkeypatch.setattr(module, "DOCS", tmp_path / "race-museum.md")
    return module


def test_cve_is_found_with_few_switches(museum: ModuleType) -> None:
    found = museum.attempt(CVE, museum.Strategy.EXHAUSTIVE, "sc", 1, 10, shorten=True)
    assert found.seconds < math.inf
    assert found.switches <= 3
    assert found.steps > found.switches


def test_document_has_a_row_for_each_bug_and_what_live_runs_gave(
    museum: ModuleType, tmp_path: Path
) -> None:
    live = tmp_path / "live.json"
    live.write_text(json.dumps({CVE.name: 12.5}))
    museum.main([CVE.name], runs=1, seconds=10, seed=1, live=live, write=True)
    text = (tmp_path / "race-museum.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{CVE.name}` |")]
    assert CVE.explanation in row
    assert "| sc<br>tso<br>c11 |" in row
    assert row.endswith("| 12.5 |")
    assert "**Found by no strategy**: none." in text


def test_bug_that_nobody_finds_ends_it_with_code_1(
    museum: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(museum, "RACING_BUGS", {NO_BUG.name: NO_BUG})
    with pytest.raises(typer.Exit) as raised:
        museum.main(None, runs=1, seconds=1, seed=1, live=None, write=True)
    assert raised.value.exit_code == 1
    assert "not found by any strategy: no-bug" in capsys.readouterr().out
    assert "**Found by no strategy**: no-bug." in (tmp_path / "race-museum.md").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "an object"),
        ("{", "a file of JSON"),
        ('{"cve-2026-43121": -1}', "not negative"),
        ('{"cve-2026-43121": "x"}', "a number"),
        ('{"cve-2026-4312": 1}', "cve-2026-43121"),
    ],
)
def test_wrong_live_file_is_told_in_a_line(
    museum: ModuleType, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "live.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as raised:
        museum.read_live(path)
    assert "\n" not in str(raised.value)
