"""Plans of a few lines, and results without anybody who does pieces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emu.campaign.plan import Plan, read_plan


@pytest.fixture
def plan_of(tmp_path: Path) -> Callable[[str], Plan]:
    """Read a plan from its text; its file is ``plan.toml`` in the test's folder."""

    def read(text: str) -> Plan:
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return read_plan(path)

    return read
