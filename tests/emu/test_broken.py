"""``python -m tools.broken``: its set of providers is whole, and one of them is correct."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from emu.fuzz.harness import Harness, Target

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The tool's module; ``tools`` is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("tools.broken")


def test_each_mistake_is_told_and_put_in(broken: ModuleType) -> None:
    told = broken.mistakes()
    used = {int(number) for number in re.findall(r"\bIS\((\d+)\)", broken.SOURCE.read_text())}
    assert used == set(told)
    assert len(set(told.values())) == len(told) >= 44


def test_no_other_tool_is_asked_once_one_has_found_it(
    broken: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    codes = {"libfuzzer": 0, "generate": 1, "race": 1, "stress": 0}
    monkeypatch.setattr(
        broken, "ask", lambda tool, *_: broken.Answer(codes[tool.value], 1.0, tool.value)
    )
    tools = list(broken.Tool)
    for until_found, asked in ((True, tools[:2]), (False, tools)):
        limits = broken.Limits(5, 1, until_found)
        row = broken.ask_all(tools, tmp_path / "a.c", limits)
        assert list(row) == asked
        text = broken._document({1: row}, {1: "wrong"}, tools, limits)
        assert "- **Found by at least one tool**: 1 of 1; by none: none." in text
        assert f"- **Found by stress**: 0 of {int(not until_found)} that it got." in text
        cells = "| - | 1.0 |  |  |" if until_found else "| - | 1.0 | 1.0 | - |"
        assert f"| 1 | wrong {cells} `generate` |" in text
        assert ("--until-found" in text) == until_found


@pytest.mark.parametrize("seed", [1, 2])
def test_provider_without_a_mistake_is_clean(broken: ModuleType, seed: int, tmp_path: Path) -> None:
    harness = Harness(Target(provider=broken.wrapper(0, tmp_path), sanitize=False))
    process = harness.call(["generate", str(seed), "0", "20000", "0"], findings=str(tmp_path))
    assert process.returncode == 0, process.stdout
