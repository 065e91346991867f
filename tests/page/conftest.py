"""Reports to make pages of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.runtime.session import run
from faults import parse_plan

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(scope="session")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that passed, with faults and process events."""
    folder = tmp_path_factory.mktemp("good")
    plan = parse_plan("bad-pad:1%,alias:1%,kill-consumer:every=150")
    config = RunConfig(seed=1, duration_s=0.5, plan=plan, respawn=True, wait_ms=60_000)
    report = run(config, run_dir=folder)
    assert report.ok, report.problems
    return folder


@pytest.fixture(scope="session")
def bad_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with findings."""
    folder = tmp_path_factory.mktemp("bad")
    provider = str(EXAMPLES / "broken_provider.c")
    plan = parse_plan("double-return:1%,scrub-midway:every=50")
    config = RunConfig(seed=1, packets=20_000, plan=plan, provider=provider, wait_ms=60_000)
    assert not run(config, run_dir=folder).ok
    return folder


@pytest.fixture
def good(good_run: Path) -> dict[str, Any]:
    """What the run that passed wrote."""
    value: dict[str, Any] = json.loads((good_run / "run.json").read_text())
    return value
