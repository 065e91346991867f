"""The list of what was run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.verdict import head, listing
from emu.verdict.head import CutOffError, members
from emu.verdict.listing import Entry, entries
from faults import PROFILES

from ..conftest import wait_until

Call = Callable[..., Any]
FINDINGS = Path(__file__).parents[1] / "fuzz" / "findings"


def written(folder: Path, **changed: Any) -> Path:
    """A report as a run writes it, with its bulk behind what a list needs."""
    config = {**RunConfig(seed=5).as_dict(), **changed.pop("config", {})}
    value = {
        "schema": 1,
        "ok": True,
        "seed": 5,
        "config": config,
        "versions": {},
        "elapsed_s": 2.5,
        "ended": "duration",
        "problems": [],
        "notes": ["x" * 30_000],
        "packets": {"offered": 9, "delivered": 7},
        "series": {"t_s": [1] * 9000},
        **changed,
    }
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(value, indent=2) + "\n")
    return folder


def only(folder: Path) -> Entry:
    (entry,) = entries(folder)
    return entry


# ---- Some members of a file ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 20, 40, 100, 16 * 1024])
def test_members_are_those_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Wherever the first look ends: in a number, a name, a character of several bytes."""
    monkeypatch.setattr(head, "_HEAD", size)
    value = {"a": 12345, "ü": ["}", {"b": 1}], "b": 1.5e300, "c": 'ä\\n"', "d": -7}
    file = tmp_path / "x.json"
    for text in (json.dumps(value, ensure_ascii=False), json.dumps(value, indent=3) + " \n\n"):
        file.write_text(text)
        for wanted in (("a",), ("d",), ("b", "ü"), ("c", "nothing")):
            known = {name: value[name] for name in wanted if name in value}
            assert members(file, wanted) == known


@pytest.mark.parametrize("size", [8, 16 * 1024])
@pytest.mark.parametrize("text", ["", "[]", "7", '{"a": 1', '{"a" 1}', '{"a": }', "{" * 10_000])
def test_what_is_no_object_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, text: str
) -> None:
    monkeypatch.setattr(head, "_HEAD", size)
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CutOffError):
        members(tmp_path / "x.json", ("a", "b"))


# ---- One entry ----------------------------------------------------------------------------------


def test_good_run(tmp_path: Path) -> None:
    written(tmp_path / "20261130-112555-77")
    entry = only(tmp_path)
    assert (entry.command, entry.verdict, entry.why) == ("stress", "pass", "")
    assert (entry.when, entry.is_begin) == ("2026-11-30T11:25:55", True)
    assert (entry.seed, entry.seconds, entry.packets) == (5, 2.5, 7)


def test_bad_run_has_its_first_finding(tmp_path: Path) -> None:
    problems = ["exactness: one", "progress: two"]
    written(tmp_path / "mine", ok=False, problems=problems, config={"connections": 1})
    os.utime(tmp_path / "mine" / "run.json", (0, 86_400 * 365))
    entry = only(tmp_path)
    assert (entry.command, entry.verdict) == ("recv", "fail")
    assert (entry.why, entry.more) == ("exactness: one", 1)
    assert (entry.when[:4], entry.is_begin) == ("1971", False)


def test_last_word_of_a_control_process_is_no_verdict(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    value = {"schema": 1, "ok": False, "seed": 1, "config": {}, "problems": ["it died"]}
    (folder / "run.json").write_text(json.dumps(value))
    entry = only(tmp_path)
    assert (entry.verdict, entry.why) == ("unjudged", "it died")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "run.json: it is cut off, or no JSON object"),
        ("{}", "run.json is not as it was written"),
        ('{"ok": 1, "config": {}, "problems": [], "seed": 1}', "is not as it was written"),
        ('{"ok": true, "config": [], "problems": [], "seed": 1}', "is not as it was written"),
        ('{"ok": true, "config": {}, "problems": [], "seed": "1"}', "is not as it was written"),
        ('{"ok": true, "config": {}, "problems": 7, "seed": 1}', "is not as it was written"),
    ],
)
def test_damaged_report_is_listed(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "run.json").write_text(text)
    entry = only(tmp_path)
    assert entry.verdict == "damaged"
    assert why in entry.why


def test_report_that_lost_its_end_is_damaged(tmp_path: Path) -> None:
    """All that the list shows is there, and it would pass."""
    file = written(tmp_path / "r") / "run.json"
    assert only(tmp_path).verdict == "pass"
    file.write_bytes(file.read_bytes()[:-20])
    assert only(tmp_path).why == "run.json: it is cut off"


def test_folder_without_a_report_is_listed(tmp_path: Path) -> None:
    (tmp_path / "20261130-112555-4194999").mkdir()  # beyond what a process may be called
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("")
    (tmp_path / "file.txt").write_text("")
    assert {(e.name, e.verdict, e.why) for e in entries(tmp_path)} == {
        ("20261130-112555-4194999", "unfinished", "it is empty"),
        ("other", "unfinished", "no report in it"),
    }


def test_folder_of_a_run_at_work_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"20261130-112555-{os.getpid()}").mkdir()
    monkeypatch.setattr(listing, "_is_ours", lambda pid: pid == str(os.getpid()))
    entry = only(tmp_path)
    assert (entry.verdict, entry.why) == ("running", f"process {os.getpid()}")


def test_process_is_ours_by_its_words() -> None:
    for word, is_ours in (("emu", True), ("/usr/bin/zcrx-emu", True), ("emulator", False)):
        words = [sys.executable, "-c", "input()", word]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            place = Path("/proc", str(process.pid), "cmdline")
            assert wait_until(place.read_bytes), "its words come a moment after it does"
            assert listing._is_ours(str(process.pid)) == is_ours
            process.communicate(b"\n")
        assert not listing._is_ours(str(process.pid))


def test_check_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "check-20261130-112555"
    folder.mkdir()
    value = {
        "schema": 1,
        "file": "p.c",
        "kind": "provider",
        "kernel": "7.3",
        "seed": 3,
        "seconds": 60,
        "interrupted": False,
        "asked": 3,
        "findings": 2,
        "failed": 0,
    }
    (folder / "check.json").write_text(json.dumps(value))
    entry = only(tmp_path)
    assert (entry.command, entry.verdict, entry.why) == ("check", "fail", "2 findings")
    assert (entry.subject, entry.is_begin) == ("provider p.c, kernel 7.3", True)
    (folder / "check.json").write_text(json.dumps({**value, "findings": 0, "failed": 1}))
    assert only(tmp_path).verdict == "unjudged"


def test_findings_of_fuzz_are_listed() -> None:
    found = entries(FINDINGS)
    assert len(found) == len(list(FINDINGS.glob("*.finding.json"))) > 0
    assert {(entry.command, entry.verdict) for entry in found} == {("fuzz", "finding")}
    assert all(entry.why and entry.subject for entry in found)


def test_newest_is_first_and_a_runs_folder_is_itself(tmp_path: Path) -> None:
    for name in ("20261130-112555-1", "20261201-000000-1", "20251201-000000-9"):
        written(tmp_path / name)
    names = [entry.name for entry in entries(tmp_path)]
    assert names == ["20261201-000000-1", "20261130-112555-1", "20251201-000000-9"]
    assert entries(tmp_path / names[0])[0].name == names[0]


# ---- The command --------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["80", "132"])
def test_list_fits_and_tells(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    hostile = {"plan": str(PROFILES["hostile"].plan), "kernel": "7.3", "queues": 2}
    written(tmp_path / "runs" / "20261130-112555-1", config=hostile)
    written(tmp_path / "runs" / "\x1b[31m[bold]", ok=False, problems=["order: \x1b]0;x", "b: c"])
    ended = call("runs")
    assert (ended.code, ended.stderr) == (0, "")
    assert "\x1b" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= int(columns)
    words = " ".join(ended.stdout.split())
    for told in ("\\x1b[31m[bold]", "FAIL: order", "PASS", "2.5", "20261130-112555-1"):
        assert told in words
    assert "kernel 7.3, queues 2, faults hostile" in words or columns == "80"


def test_list_is_json(call: Call, tmp_path: Path) -> None:
    written(tmp_path / "d" / "r")
    ended = call("runs", "d", "--json", "-")
    value = json.loads(ended.stdout)
    assert (value["schema"], value["folder"]) == (1, "d")
    (run,) = value["runs"]
    assert run["options"]["seed"] == run["seed"] == 5
    assert set(run) == set(Entry.__slots__)


def test_nothing_is_said_to_be_nothing(call: Call, tmp_path: Path) -> None:
    assert call("runs").stdout == "nothing in runs\n"
    ended = call("runs", "none")
    assert (ended.code, ended.stdout) == (2, "")
    assert "folder: 'none' cannot be read" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_bulk_of_a_report_is_not_parsed(tmp_path: Path) -> None:
    """What lies behind what the list needs may be anything."""
    file = written(tmp_path / "r") / "run.json"
    text = file.read_text()
    at = text.index('"series"')
    file.write_text(text[:at] + "@" * 50_000 + text[at:])
    assert only(tmp_path).verdict == "pass"
