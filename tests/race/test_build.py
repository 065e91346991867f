"""The simulation's builds: the same traces by each compiler, and actors that do not come back."""

from __future__ import annotations

import itertools
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
#: All that an actor may do wrong, in one build: a variable of the environment says which.
_ODD = """\
	extern char *getenv(const char *name);
	const char *odd = getenv("ODD");
	char way = odd ? *odd : 0;
	uint32_t now;
	if (way == 'r')
		now = *(uint32_t *)(void *)refs;
	else
		now = shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD);
	uint32_t count;

	if (way == 'y')
		for (volatile int i = 1; i; i |= 1)
			;
	if (way == 'c' && now)
		*(volatile int *)(uintptr_t)(now * 8) = 1;
	if (way == 'a')
		assert(now == 2);
	while (way == 's' && shm_load_relaxed_u32(refs, POINT_USER_REF_LOAD) != 7)
		shm_pause();
"""


@pytest.fixture(scope="module")
def odd() -> Runner:
    bug = Bug("odd", "a test's own", change("kernel/area.h", _TAKE, _ODD))
    return Runner(build_simulation(bug))


@pytest.mark.parametrize(
    ("way", "kind", "words"),
    [
        ("yields never", "livelock", "it goes on and on without a step: it never yields"),
        ("crashes", "crash", "the code crashed: signal 11"),
        ("asserts", "assertion", "zcrx_user_ref_take: assertion failed: now == 2"),
        ("spins", "deadlock", "waits for a word at user refs of niov 0 that nobody writes"),
    ],
)
def test_actor_that_does_not_come_back_is_a_finding(
    odd: Runner, monkeypatch: pytest.MonkeyPatch, way: str, kind: str, words: str
) -> None:
    monkeypatch.setenv("ODD", way)
    result = odd.search(REFILL, Search(memory=Memory.SC))
    assert result.found is not None
    assert result.found.kind == kind
    assert words in result.found.text
    again, _ = odd.replay(REFILL.text, Memory.SC, result.found.schedule)
    assert again == result.found


def test_data_race_names_the_lines(
    odd: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ODD", "race")
    found = odd.search(REFILL, Search(memory=Memory.SC)).found
    assert found is not None
    assert found.kind == "race"
    assert found.text == (
        "data race at user refs of niov 0: an atomic store of control, not ordered with "
        "provider's plain read"
    )
    place = find_places(odd.executable, found.places)[found.other_place]
    assert (place.file, place.function) == ("area.h", "zcrx_user_ref_take")
    source = (core_sources() / "kernel" / "area.h").read_text().replace(_TAKE, _ODD)
    assert source.splitlines()[place.line - 1] == "\t\tnow = *(uint32_t *)(void *)refs;"
    with (tmp_path / "out").open("w") as file:
        console = Console(file=file, width=132)
        places = find_places(odd.executable, found.places)
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
    # Each scenario in one memory model, by turns.
    for scenario, memory in zip(_SCENARIOS, itertools.cycle(Memory), strict=False):
        search = Search(strategy=Strategy.RANDOM, memory=memory, seed=5, schedules=20, seconds=0)
        results = [runner.search(scenario, search) for runner in runners]
        assert results[0].hash == results[1].hash, (scenario.name, memory)
        assert results[0].steps == results[1].steps, (scenario.name, memory)
