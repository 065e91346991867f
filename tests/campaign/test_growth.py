"""The tool that measures how campaigns grow comes to figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.skipif(not (ROOT / "tools").exists(), reason="not a checkout")
def test_growth_is_measured(tmp_path: Path) -> None:
    target = tmp_path / "growth.json"
    ended = subprocess.run(
        [sys.executable, "-m", "tools.campaign_growth", "--quick", "--json", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    value = json.loads(target.read_text())
    assert value["pieces"][0]["per_second"] > 0
    assert 0 < value["merges"][0]["kept"] <= 100
    assert value["carried"]["cpu_us_each"] > 0
    assert value["noted"]["per_second_of_fuzz"] > 0
    # A result is bounded, and small unless something was found.
    assert value["bytes"]["result_of_stress"] < 2000
    assert value["bytes"]["result_of_fuzz"] < 20_000
