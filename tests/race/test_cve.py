"""CVE-2026-43121: found by each strategy, in few switches; shown, replayed; gone when fixed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.compile.ondemand import core_sources, sources_with
from emu.race.library import SCENARIOS
from emu.race.runner import Memory, Runner, Search, Strategy
from emu.race.shrink import count_operations, shrink
from emu.race.timeline import find_places, newest_values, shared_steps, timeline

from .conftest import CVE, REFILL

Call = Callable[..., Any]
FIND = ("race", "--scenario", "refill-vs-scrub", "--bug", CVE.name)
SC = Search(memory=Memory.SC)


@pytest.mark.parametrize("memory", list(Memory))
@pytest.mark.parametrize("strategy", list(Strategy))
def test_each_strategy_finds_it_in_each_memory_model(
    racy: Runner, strategy: Strategy, memory: Memory
) -> None:
    search = Search(strategy=strategy, memory=memory, schedules=5000, seconds=0)
    found = racy.search(REFILL, search).found
    assert found is not None
    assert found.kind == "wrong"
    assert found.switches <= 3
    assert len(found.schedule.split()) == len(found.steps)


def test_without_a_preemption_it_is_not_there(racy: Runner) -> None:
    for bound, is_found in ((0, False), (1, True)):
        result = racy.search(REFILL, Search(memory=Memory.SC, bound=bound))
        assert (result.found is not None) == is_found
        assert result.complete != is_found


def test_timeline_shows_the_lost_update(racy: Runner) -> None:
    found = racy.search(REFILL, SC).found
    assert found is not None
    assert found.switches == 2
    places = find_places(racy.executable, {step.place for step in found.steps})
    refs = [
        (step.name, step.kind, step.before, step.after if step.changed else None)
        for step in found.steps
        if step.word == "user refs of niov 0" and step.name in ("provider", "control")
    ]
    assert refs[:4] == [
        ("provider", "load", 1, None),
        ("control", "load", 1, None),
        ("control", "exchange", 1, 0),
        ("provider", "exchange", 0, 2**32 - 1),
    ]
    # Each place is the line of the access itself, in the header with the logic.
    with sources_with(CVE) as sources:
        lines = (sources / "kernel" / "area.h").read_text().splitlines()
    for step in found.steps:
        place = places[step.place]
        assert place.file not in ("shm.h", "lock.h")
        if step.word == "user refs of niov 0" and step.name == "control":
            assert place.file == "area.h"
            assert place.function == "zcrx_user_ref_take_all"
            assert "user_refs" in lines[place.line - 1] or "refs" in lines[place.line - 1]
    table = timeline(found, tuple(REFILL.actors), Memory.SC, places)
    assert table.row_count == len(shared_steps(found.steps)) < len(found.steps)
    whole = timeline(found, tuple(REFILL.actors), Memory.SC, places, all_steps=True)
    assert whole.row_count == len(found.steps)


def test_stale_value_is_marked_with_the_newest(racy: Runner) -> None:
    found = racy.search(REFILL, Search(memory=Memory.C11)).found
    assert found is not None
    stale = [number for number, step in enumerate(found.steps) if step.choice]
    assert stale
    newest = newest_values(found.steps)
    assert all(newest[number] != found.steps[number].before for number in stale)


def test_it_is_shrunk_to_the_operations_that_matter(racy: Runner) -> None:
    found = racy.search(REFILL, SC).found
    assert found is not None
    smallest, still = shrink(racy, REFILL, found, SC)
    assert still.signature == found.signature
    assert count_operations(smallest) == 5 < count_operations(REFILL)
    assert smallest.end == ""
    assert dict(smallest.actors) == dict(REFILL.actors)
    # Nothing more can go.
    assert shrink(racy, smallest, still, SC)[0] == smallest


def test_command_finds_shows_and_keeps_it(call: Call, tmp_path: Path) -> None:
    ended = call(*FIND, "--seed", "7", "--memory", "sc", "--json", "summary.json")
    assert (ended.code, ended.stderr) == (1, "")
    assert ended.stdout.startswith("seed 7\n")
    assert "refill-vs-scrub: wrong after 2 executions" in ended.stdout
    assert "5 operations of 8, 2 context switches" in ended.stdout
    assert "wrong: provider: niov 0 was handed out while the user holds it" in ended.stdout
    assert ended.stdout.endswith("FINDINGS: 1\n")
    files = list((tmp_path / "race" / "findings").iterdir())
    assert [path.name.endswith(".race.json") for path in files] == [True]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["findings"] == 1
    assert summary["scenarios"][0]["finding"]["file"] == str(files[0].relative_to(tmp_path))


@pytest.mark.parametrize("columns", ["80", "132"])
def test_timeline_keeps_to_the_width(
    call: Call, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = call(*FIND, "--memory", "sc", "--all-steps").stdout.splitlines()
    table = [line for line in lines if line[:1] in "┏┃┡│├└"]
    assert len(table) > 50
    assert max(map(len, table)) <= int(columns)
    assert any("├" in line for line in table)  # a line where another actor goes on
    if columns == "132":
        assert any(re.search(r"area\.h:\d+ zcrx_user_ref_take_all", line) for line in table), table
        assert any("user refs of niov 0: 1 ⇒ 0" in line for line in table)


def test_default_memory_shows_the_stale_read(call: Call) -> None:
    ended = call(*FIND)
    assert "memory c11" in ended.stdout
    assert "reads 1 (stale, now 0)" in ended.stdout


def test_replay_shows_the_same_trace(call: Call, tmp_path: Path) -> None:
    first = call(*FIND).stdout
    trace = re.search(r"trace ([0-9a-f]{16})", first)
    assert trace
    path = next((tmp_path / "race" / "findings").iterdir())
    for _ in range(2):
        ended = call("replay", str(path.relative_to(tmp_path)))
        assert (ended.code, ended.stderr) == (1, "")
        assert ended.stdout.endswith(f"the same trace: {trace[1]}\n")
        assert "niov 0 was handed out while the user holds it" in ended.stdout


def test_complete_search_shows_the_fix(call: Call) -> None:
    ended = call("race", "--scenario", "refill-vs-scrub")
    assert (ended.code, ended.stderr) == (0, "")
    assert "refill-vs-scrub: complete: all " in ended.stdout
    assert ended.stdout.endswith("no finding\n")


def test_fix_is_what_the_bug_takes_away() -> None:
    with sources_with(CVE) as sources:
        changed = (sources / "kernel" / "area.h").read_text()
    original = (core_sources() / "kernel" / "area.h").read_text()
    assert changed.count("shm_cas_u32") == original.count("shm_cas_u32") - 1


def test_symbolizers_agree(racy: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    found = racy.search(REFILL, SC).found
    assert found is not None
    offsets = {step.place for step in found.steps}
    answers = []
    for name in ("addr2line", "llvm-symbolizer"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        path = shutil.which(name)
        monkeypatch.setattr(
            "emu.race.timeline.shutil.which",
            lambda asked, n=name, p=path: p if asked == n else None,
        )
        answers.append(find_places(racy.executable, offsets))
        monkeypatch.undo()
    files = [{offset: place.file for offset, place in answer.items()} for answer in answers]
    assert files[0] == files[1]


def test_without_a_symbolizer_addresses_are_shown(
    racy: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emu.race.timeline.shutil.which", lambda _: None)
    places = find_places(racy.executable, [0x1234, 0])
    assert {offset: place.text for offset, place in places.items()} == {0x1234: "+0x1234"}


def test_no_ready_scenario_but_this_kind_is_blind_to_it(racy: Runner) -> None:
    # What no scrub meets cannot show it: the search says so, completely.
    result = racy.search(SCENARIOS["grant-vs-send"], SC)
    assert result.complete
    assert result.found is None
