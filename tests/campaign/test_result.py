"""What came of a piece: read from what its command has written, bounded, and no pass by chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emu.campaign import result as results
from emu.campaign.order import Order
from emu.campaign.result import Result, State, new_programs, plain, read_result

FUZZ: dict[str, Any] = {
    "executions": 5,
    "edges": 3,
    "corpus": 1,
    "interrupted": False,
    "findings": [],
}
RACE: dict[str, Any] = {"interrupted": False, "scenarios": []}


def _read(folder: Path, command: str, value: object, code: int, said: str = "") -> Result:
    if value is not None:
        (folder / "result.json").write_text(json.dumps(value))
    return read_result(Order("name", command, (), 1.0), folder, code, said, 1.0)


@pytest.mark.parametrize(
    ("command", "value", "code", "state", "why"),
    [
        ("fuzz", FUZZ, 0, State.PASSED, ""),
        ("fuzz", {**FUZZ, "executions": 0}, 0, State.FAILED, "nothing was executed"),
        ("fuzz", {**FUZZ, "interrupted": True}, 0, State.FAILED, "interrupted"),
        ("fuzz", FUZZ, 1, State.FAILED, "ended with 1"),
        ("fuzz", FUZZ, 2, State.FAILED, "no compiler"),
        ("fuzz", FUZZ, -9, State.FAILED, "no compiler"),
        ("fuzz", None, 0, State.FAILED, "cannot be read"),
        ("fuzz", [], 0, State.FAILED, "cannot be read"),
        ("fuzz", {}, 0, State.FAILED, "cannot be read"),
        ("race", RACE, 0, State.FAILED, "no scenario"),
        ("stress", {"ok": True}, 0, State.FAILED, "cannot be read"),
    ],
)
def test_a_pass_is_earned(
    tmp_path: Path, command: str, value: object, code: int, state: State, why: str
) -> None:
    found = _read(tmp_path, command, value, code, "no compiler")
    assert found.state is state
    assert why in found.why


def test_a_death_without_a_word_says_how(tmp_path: Path) -> None:
    assert "signal 9" in _read(tmp_path, "fuzz", None, -9).why


def test_findings_come_with_their_files(tmp_path: Path) -> None:
    (tmp_path / "findings").mkdir()
    (tmp_path / "findings" / "a.finding.json").write_text("{}")
    item = {"signature": "crash", "operations": 2, "file": "findings/a.finding.json"}
    found = _read(tmp_path, "fuzz", {**FUZZ, "findings": [item]}, 1)
    (seen,) = found.sightings
    assert found.state is State.FOUND
    assert (seen.signature, seen.replay) == ("crash", "findings/a.finding.json")
    assert seen.files == {"findings/a.finding.json": b"{}"}


def test_findings_of_a_check_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a").write_text("{}")
    found = [
        {"what": what, "where": "run/a", "again": ""} for what in ("verdict:x:y", "verdict:x:z")
    ]
    lost = [{"what": f"conservation: {n} lost", "where": "run/a", "again": ""} for n in (1, 2)]
    tools = [{"tool": "fuzz", "found": found}, {"tool": "stress: chaos", "found": lost}]
    value = {"asked": 2, "failed": 0, "interrupted": False, "tools": tools}
    seen = _read(tmp_path, "check", value, 1).sightings
    assert [item.signature for item in seen] == [
        "fuzz: verdict:x:y",
        "fuzz: verdict:x:z",
        "stress: chaos: conservation",
    ]
    assert {item.replay for item in seen} == {"run/a"}


def test_what_is_too_large_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FILES_MAX", 8)
    (tmp_path / "findings").mkdir()
    for name in ("a", "b"):
        (tmp_path / "findings" / name).write_text("12345")
    items = [
        {"signature": name, "operations": 1, "file": f"findings/{name}"} for name in ("a", "b")
    ]
    first, second = _read(tmp_path, "fuzz", {**FUZZ, "findings": items}, 1).sightings
    assert first.files == {"findings/a": b"12345"}
    assert (second.files, second.left_out, second.replay) == ({}, ("findings/b",), "")


def test_signatures_are_without_numbers() -> None:
    assert plain("queue 1: 17 lost at 0x3f00, 1.5 s") == plain("queue 3: 4 lost at 0x1, 22 s")
    assert plain("a 1") != plain("b 1")


def test_new_programs_are_those_that_were_not_given(tmp_path: Path) -> None:
    for name, data in (("x", b"1"), ("y", b"22"), ("z", b"22"), ("w", b"4444")):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "link").symlink_to(tmp_path / "w")
    (tmp_path / "folder").mkdir()
    assert sorted(new_programs(tmp_path, [b"1"])) == [b"22", b"4444"]
    assert new_programs(tmp_path, [], bytes_most=4) == (b"1", b"22")
    assert new_programs(tmp_path, [], most=1) == (b"1",)
    assert new_programs(tmp_path / "none", []) == ()
