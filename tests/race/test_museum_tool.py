"""``python -m tools.race_museum``: what is found counts, what is not ends it with code 1."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import typer

from emu.bugs import RACING_BUGS, Bug

from ..conftest import change

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout"),
    pytest.mark.long,
]

CVE = RACING_BUGS["cve-2026-43121"]
#: A change without effect: nothing can be found.
NO_BUG = Bug(
    "no-bug",
    "nothing is wrong",
    change("kernel/area.c", "The freelist. A stack", "A stack"),
    "two-scrubs",
    "c11",
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
    museum: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That real processes meet it is another test's matter: here it is what is written of it."""
    asked = []

    def run_live(scenario: str, bug: Bug, **options: float) -> SimpleNamespace:
        asked.append((scenario, bug.name, options["seconds"]))
        return SimpleNamespace(hits_per_hour=12.4)

    monkeypatch.setattr(museum, "run_live", run_live)
    museum.main([CVE.name], runs=1, seconds=10, seed=1, live=7, write=True)
    assert asked == [(CVE.scenario, CVE.name, 7)]
    text = (tmp_path / "race-museum.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{CVE.name}` |")]
    assert CVE.explanation in row
    assert "| sc<br>tso<br>c11 |" in row
    assert row.endswith("| 12 |")
    assert "1 of 1 were met at all" in text
    assert "**Found by no strategy**: none." in text


def test_bug_that_nobody_finds_ends_it_with_code_1(
    museum: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(museum, "RACING_BUGS", {NO_BUG.name: NO_BUG})
    with pytest.raises(typer.Exit) as raised:
        museum.main(None, runs=1, seconds=1, seed=1, live=0, write=True)
    assert raised.value.exit_code == 1
    assert "not found by any strategy: no-bug" in capsys.readouterr().out
    assert "**Found by no strategy**: no-bug." in (tmp_path / "race-museum.md").read_text()
