"""``--json`` of what looks at programs one by one: as much as of a campaign."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.compile.ondemand import core_sources
from emu.fuzz.harness import Harness, Target

EXAMPLES = core_sources().parent / "docs" / "examples"
Call = Callable[..., Any]
CORPUS = Path(__file__).parent / "corpus"
#: Four buffers; one is allocated, delivered, and returned twice; then the ring is judged.
TWICE = bytes([3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 11])


@pytest.fixture
def found(call: Call, tmp_path: Path) -> dict[str, Any]:
    """A finding as ``--minimize`` tells of it."""
    (tmp_path / "twice.program").write_bytes(TWICE)
    ended = call(
        "fuzz", "--fast", "--minimize", "twice.program", "--findings", "found",
        "--provider", str(EXAMPLES / "broken_provider.c"), "--json", "-",
    )  # fmt: skip
    assert ended.code == 1, ended.stderr
    (finding,) = json.loads(ended.stdout)["findings"]
    return dict(finding)


def test_minimised_program_is_told(found: dict[str, Any], tmp_path: Path) -> None:
    assert found["signature"] == "verdict:no_user_ref:accepted"
    assert 3 <= found["operations"] <= 5
    assert (tmp_path / found["file"]).is_file()


def test_replay_tells_what_is_shown_now(found: dict[str, Any], call: Call) -> None:
    ended = call("replay", found["file"], "--json", "-")
    assert ended.code == 1, ended.stderr
    shown = json.loads(ended.stdout)
    assert shown["still_shows"]
    assert shown["was"] == shown["signature"] == found["signature"]
    assert len(shown["steps"]) == found["operations"]


def test_program_without_a_finding_is_told(call: Call, tmp_path: Path) -> None:
    assert Harness(Target(sanitize=False)).run(TWICE).is_clean
    (tmp_path / "twice.program").write_bytes(TWICE)
    ended = call("fuzz", "--fast", "--minimize", "twice.program", "--json", "-")
    assert ended.code == 0, ended.stderr
    assert json.loads(ended.stdout) == {"findings": []}


def test_agreement_with_the_specification_is_told(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for path in sorted(CORPUS.iterdir())[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    ended = call("fuzz", "--fast", "--differential", "--corpus", "few", "--json", "-")
    assert ended.code == 0, ended.stderr
    assert json.loads(ended.stdout) == {"programs": 3, "findings": []}
