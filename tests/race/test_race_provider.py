"""A provider of somebody else's, from source, under chosen interleavings."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emu.errors import ConfigError
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def search(executable: Path, name: str, memory: str, tmp_path: Path) -> list[dict[str, Any]]:
    """Search a ready scenario completely; the events."""
    scenario = tmp_path / name
    scenario.write_text(SCENARIOS[name].text)
    command = [str(executable), str(scenario), "exhaustive", memory, "1", "0", "60", "3", "-"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode in (0, 1), process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


@pytest.mark.parametrize("memory", ["sc", "c11"])
@pytest.mark.parametrize("name", ["refill-vs-scrub", "deliver-vs-refill", "late-return"])
def test_plain_example_holds_in_every_interleaving(name: str, memory: str, tmp_path: Path) -> None:
    executable = build_simulation(provider=EXAMPLES / "plain_provider.c")
    end = search(executable, name, memory, tmp_path)[-1]
    assert end["event"] == "end"
    assert end["complete"]
    assert not end["found"]


def test_broken_example_is_found(tmp_path: Path) -> None:
    executable = build_simulation(provider=EXAMPLES / "broken_provider.c")
    finding = search(executable, "refill-vs-scrub", "sc", tmp_path)[-1]
    assert finding["event"] == "finding"
    assert finding["kind"] == "wrong"
    assert "it must be in one place" in finding["text"]
    assert finding["switches"] <= 2


@pytest.mark.parametrize("name", ["missing.c", "provider.so"])
def test_only_sources_can_be_simulated(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".so"):
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"provider: .* name the C source of one"):
        build_simulation(provider=path)
