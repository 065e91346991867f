"""The museum of racing bugs: each is found in its scenario, which is clean without it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from emu.bugs import RACING_BUGS, Bug, level_for
from emu.compile.records import Record
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS
from emu.race.script import read_script

pytestmark = pytest.mark.long

MODELS = ("sc", "tso", "c11")
ALL = pytest.mark.parametrize("bug", RACING_BUGS.values(), ids=lambda bug: bug.name)
#: More executions than any bug here needs, and than any scenario has.
SCHEDULES = 50_000
#: It sees every header in which a bug may lie.
_READER = "nic_queue.c"


def search(
    folder: Path,
    bug: Bug | None,
    scenario: str,
    strategy: str,
    memory: str,
    kernel: str | None = None,
) -> Record:
    """What is said at a search's end."""
    file = folder / "scenario"
    text = SCENARIOS[scenario].at(kernel or level_for(bug, None, experimental=True)).text
    file.write_text(read_script(scenario, text).numbers)
    numbers = ["1", str(SCHEDULES), "60", "3", "-"]
    command = [str(build_simulation(bug)), str(file), strategy, memory, *numbers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                record = Record.of(line.rstrip("\n"))
                if record.event == "end":
                    return record
        finally:
            process.kill()  # a finding is made short behind its end: nobody here waits for it
    pytest.fail(f"no end: {' '.join(command)}")


@ALL
def test_bug_names_a_scenario_and_a_model(bug: Bug) -> None:
    assert bug.scenario in SCENARIOS
    assert bug.memory in MODELS


@ALL
def test_complete_search_finds_the_bug(bug: Bug, tmp_path: Path) -> None:
    assert search(tmp_path, bug, bug.scenario, "exhaustive", bug.memory).flag("found")


@pytest.mark.parametrize(
    ("name", "kernel"),
    [(bug.name, kernel) for bug in RACING_BUGS.values() for kernel in bug.kernels[1:]],
)
def test_bug_shows_at_each_level_that_it_names(name: str, kernel: str, tmp_path: Path) -> None:
    bug = RACING_BUGS[name]
    end = search(tmp_path, bug, bug.scenario, "exhaustive", bug.memory, kernel)
    assert end.flag("found")


@pytest.mark.parametrize(
    "bug", [bug for bug in RACING_BUGS.values() if bug.memory != "sc"], ids=lambda bug: bug.name
)
def test_no_stronger_memory_shows_the_bug(bug: Bug, tmp_path: Path) -> None:
    """What stands in the catalogue is the strongest model that shows it, not any."""
    for memory in MODELS[: MODELS.index(bug.memory)]:
        end = search(tmp_path, bug, bug.scenario, "exhaustive", memory)
        assert not end.flag("found")
        assert end.flag("complete")


@pytest.mark.parametrize("memory", MODELS)
@pytest.mark.parametrize("scenario", sorted({bug.scenario for bug in RACING_BUGS.values()}))
def test_scenario_is_clean_without_a_bug(scenario: str, memory: str, tmp_path: Path) -> None:
    end = search(tmp_path, None, scenario, "exhaustive", memory)
    assert not end.flag("found")
    assert end.flag("complete")


@pytest.mark.parametrize("strategy", ["random", "pct"])
@pytest.mark.parametrize(
    "name",
    ["cve-2026-43121", "cqe-visible-first", "lock-released-relaxed", "ringer-without-fence"],
)
def test_chance_finds_the_bug(name: str, strategy: str, tmp_path: Path) -> None:
    bug = RACING_BUGS[name]
    assert search(tmp_path, bug, bug.scenario, strategy, bug.memory).flag("found")
