"""The museum of racing bugs: each is found in its scenario, which is clean without it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emu.bugs import Bug
from emu.bugs.content import CONTENT_BUGS
from emu.bugs.racing import _BUGS, RACING_BUGS
from emu.ondemand import core_sources
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS
from emu.toolchain import any_compiler

MODELS = ("sc", "tso", "c11")
ALL = pytest.mark.parametrize("bug", _BUGS, ids=lambda bug: bug.name)
#: More executions than any bug here needs, and than any scenario has.
SCHEDULES = 50_000
#: It sees every header in which a bug may lie.
_READER = "nic_queue.c"


def search(
    folder: Path, bug: Bug | None, scenario: str, strategy: str, memory: str
) -> dict[str, Any]:
    """The event at a search's end."""
    file = folder / "scenario"
    file.write_text(SCENARIOS[scenario].text)
    numbers = ["1", str(SCHEDULES), "60", "3", "-"]
    command = [str(build_simulation(bug)), str(file), strategy, memory, *numbers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                event: dict[str, Any] = json.loads(line)
                if event["event"] == "end":
                    return event
        finally:
            process.kill()  # a finding is made short behind its end: nobody here waits for it
    pytest.fail(f"no end: {' '.join(command)}")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("museum") / "cext"
    shutil.copytree(core_sources(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@ALL
def test_bug_applies_and_compiles(bug: Bug, pristine: Path) -> None:
    path = pristine / bug.file
    kept = path.read_bytes()
    try:
        bug.apply(pristine)
        assert path.read_bytes() != kept
        reader = bug.file if bug.file.endswith(".c") else _READER
        flags = ["-fsyntax-only", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{pristine}"]
        command = [any_compiler().path, *flags, str(pristine / reader)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stderr == ""
    finally:
        path.write_bytes(kept)


@ALL
def test_bug_is_told_in_a_sentence(bug: Bug) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", bug.name)
    assert len(bug.name) <= 32
    assert re.fullmatch(r"[a-z].{20,200}[^.]", bug.explanation)
    assert bug.scenario in SCENARIOS
    assert bug.memory in MODELS


def test_every_bug_has_its_own_name_and_change() -> None:
    assert len(RACING_BUGS) == len(_BUGS)
    assert len({(bug.file, bug.old, bug.new) for bug in _BUGS}) == len(_BUGS)
    assert len({bug.explanation for bug in _BUGS}) == len(_BUGS)


def test_no_bug_is_called_like_one_of_content() -> None:
    assert RACING_BUGS.keys().isdisjoint(CONTENT_BUGS)


@ALL
def test_complete_search_finds_the_bug(bug: Bug, tmp_path: Path) -> None:
    assert search(tmp_path, bug, bug.scenario, "exhaustive", bug.memory)["found"]


@pytest.mark.parametrize(
    "bug", [bug for bug in _BUGS if bug.memory != "sc"], ids=lambda bug: bug.name
)
def test_no_stronger_memory_shows_the_bug(bug: Bug, tmp_path: Path) -> None:
    """What stands in the catalogue is the strongest model that shows it, not any."""
    for memory in MODELS[: MODELS.index(bug.memory)]:
        end = search(tmp_path, bug, bug.scenario, "exhaustive", memory)
        assert not end["found"]
        assert end["complete"]


@pytest.mark.parametrize("memory", MODELS)
@pytest.mark.parametrize("scenario", sorted({bug.scenario for bug in _BUGS}))
def test_scenario_is_clean_without_a_bug(scenario: str, memory: str, tmp_path: Path) -> None:
    end = search(tmp_path, None, scenario, "exhaustive", memory)
    assert not end["found"]
    assert end["complete"]


@pytest.mark.parametrize("strategy", ["random", "pct"])
@pytest.mark.parametrize(
    "name",
    ["cve-2026-43121", "cqe-visible-first", "lock-released-relaxed", "ringer-without-fence"],
)
def test_chance_finds_the_bug(name: str, strategy: str, tmp_path: Path) -> None:
    bug = RACING_BUGS[name]
    assert search(tmp_path, bug, bug.scenario, strategy, bug.memory)["found"]
