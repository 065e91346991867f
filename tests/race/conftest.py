"""Shared by the tests of race testing: executables, and a search without an end."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.bugs import RACING_BUGS
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS
from emu.race.runner import Runner
from emu.race.scenario import Scenario, Shape

CVE = RACING_BUGS["cve-2026-43121"]
REFILL = SCENARIOS["refill-vs-scrub"]
#: Actors that all meet, again and again: nobody can search through this.
ENDLESS = Scenario(
    "endless",
    "too large",
    {"nic": "drop 8", "provider": "alloc 8; refill", "control": "scrub", "other": "scrub"},
    shape=Shape(niovs=16, ptr_ring=4),
    setup="alloc 16; deliver 8 1",
)
ENDLESS_FILE = f"""
from emu.race import Scenario, Shape

SCENARIO = Scenario(
    "endless",
    "too large",
    {dict(ENDLESS.actors)!r},
    shape=Shape(niovs=16, ptr_ring=4),
    setup={ENDLESS.setup!r},
)
"""


@pytest.fixture(scope="session")
def good() -> Runner:
    return Runner(build_simulation())


@pytest.fixture(scope="session")
def racy() -> Runner:
    """With the first version's mistake: CVE-2026-43121."""
    return Runner(build_simulation(CVE))


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    path = tmp_path / "endless.py"
    path.write_text(ENDLESS_FILE)
    return path
