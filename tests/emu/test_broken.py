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


@pytest.mark.parametrize("seed", [1, 2])
def test_provider_without_a_mistake_is_clean(broken: ModuleType, seed: int, tmp_path: Path) -> None:
    harness = Harness(Target(provider=broken.wrapper(0, tmp_path), sanitize=False))
    process = harness.call(["generate", str(seed), "0", "20000", "0"], findings=str(tmp_path))
    assert process.returncode == 0, process.stdout
