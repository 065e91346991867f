"""The simulation's builds: the same traces by each compiler, and actors that do not come back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.console import Console

from emu.bugs import Bug
from emu.compile.ondemand import core_sources
from emu.compile.toolchain import any_compiler
from emu.race.build import build_simulation
from emu.race.library import _SCENARIOS
from emu.race.runner import Memory, Runner, Search, Strategy
from emu.race.timeline import find_places, print_timeline

from ..conftest import change
from .conftest import REFILL

_TAKE = "\tuint32_t now = shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD);\n\tuint32_t count;\n"


def _bug(name: str, what: str) -> Bug:
    return Bug(name, "a test's own", change("kernel/area.h", _TAKE, f"{_TAKE}\n{what}\n"))


NEVER_YIELDS = _bug("never-yields", "\tfor (volatile int i = 1; i; i |= 1)\n\t\t;")
CRASHES = _bug("crashes", "\tif (now)\n\t\t*(volatile int *)(uintptr_t)(now * 8) = 1;")
ASSERTS = _bug("asserts", "\tassert(now == 2);")
SPINS = _bug(
    "spins", "\twhile (shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD) != 7)\n\t\tshm_pause();"
)


@pytest.mark.parametrize(
    ("bug", "kind", "words"),
    [
        (NEVER_YIELDS, "livelock", "it goes on and on without a step: it never yields"),
        (CRASHES, "crash", "the code crashed: signal 11"),
        (ASSERTS, "assertion", "zcrx_user_ref_take: assertion failed: now == 2"),
        (SPINS, "deadlock", "waits for a word at user refs of niov 0 that nobody writes"),
    ],
    ids=lambda value: value.name if isinstance(value, Bug) else None,
)
def test_actor_that_does_not_come_back_is_a_finding(bug: Bug, kind: str, words: str) -> None:
    runner = Runner(build_simulation(bug))
    result = runner.search(REFILL, Search(memory=Memory.SC))
    assert result.found is not None
    assert result.found.kind == kind
    assert words in result.found.text
    again, _ = runner.replay(REFILL.text, Memory.SC, result.found.schedule)
    assert again == result.found


def test_data_race_names_the_lines(tmp_path: Path) -> None:
    plain = _TAKE.replace(
        "shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD)", "*(uint32_t *)(void *)refs"
    )
    bug = Bug("plain-read", "a test's own", change("kernel/area.h", _TAKE, plain))
    runner = Runner(build_simulation(bug))
    found = runner.search(REFILL, Search(memory=Memory.SC)).found
    assert found is not None
    assert found.kind == "race"
    assert found.text == (
        "data race at user refs of niov 0: an atomic store of control, not ordered with "
        "provider's plain read"
    )
    place = find_places(runner.executable, found.places)[found.other_place]
    assert (place.file, place.function) == ("area.h", "zcrx_user_ref_take")
    source = (core_sources() / "kernel" / "area.h").read_text().splitlines()
    assert "uint32_t now = " in source[place.line - 1]
    with (tmp_path / "out").open("w") as file:
        console = Console(file=file, width=132)
        places = find_places(runner.executable, found.places)
        print_timeline(console, found, tuple(REFILL.actors), Memory.SC, places)
    last = (tmp_path / "out").read_text().splitlines()[-1]
    assert last == f"the other is at area.h:{place.line} zcrx_user_ref_take"


def test_both_compilers_give_the_same_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    runners = []
    for name in ("gcc", "clang"):
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed")
        monkeypatch.setenv("CC", path)
        any_compiler.cache_clear()
        runners.append(Runner(build_simulation()))
    monkeypatch.undo()
    any_compiler.cache_clear()
    for memory in Memory:
        for scenario in _SCENARIOS:
            search = Search(
                strategy=Strategy.RANDOM, memory=memory, seed=5, schedules=20, seconds=0
            )
            results = [runner.search(scenario, search) for runner in runners]
            assert results[0].hash == results[1].hash, (scenario.name, memory)
            assert results[0].steps == results[1].steps, (scenario.name, memory)
