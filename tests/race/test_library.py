"""The ready scenarios: searched through in each memory model, nothing is found in our core."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from emu.contract import EXPERIMENTAL, LEVELS, SEED
from emu.race.library import _SCENARIOS, SCENARIOS
from emu.race.operations import OPERATIONS, check_operations, split
from emu.race.runner import Memory, Runner, Search
from emu.race.scenario import Scenario


@pytest.mark.parametrize("memory", list(Memory))
@pytest.mark.parametrize("scenario", _SCENARIOS, ids=lambda scenario: scenario.name)
def test_ready_scenario_is_complete_and_clean(
    good: Runner, scenario: Scenario, memory: Memory
) -> None:
    result = good.search(scenario, Search(memory=memory, seconds=60))
    assert result.found is None
    assert result.complete
    assert result.schedules > result.cut


@pytest.mark.parametrize("kernel", LEVELS[1:])
def test_ready_scenarios_are_complete_and_clean_at_each_level(good: Runner, kernel: str) -> None:
    for scenario in _SCENARIOS:
        if scenario.kernel in LEVELS[: LEVELS.index(kernel) + 1]:
            result = good.search(replace(scenario, kernel=kernel), Search(seconds=60))
            assert result.found is None, scenario.name
            assert result.complete, scenario.name


@pytest.mark.parametrize("kernel", EXPERIMENTAL)
def test_ready_scenarios_hold_at_what_is_experimental(good: Runner, kernel: str) -> None:
    for scenario in _SCENARIOS:
        if scenario.kernel in (SEED, kernel):
            result = good.search(scenario.at(kernel), Search(seconds=60))
            assert result.found is None, scenario.name
            assert result.complete, scenario.name


def test_docs_say_which_scenarios_are_complete_at_which_level() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "racing.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9.-]+)` \| (\d+) \| (.*)\|$", docs, re.MULTILINE)
    kernels = [scenario.kernel for scenario in _SCENARIOS]
    assert [(level, int(count)) for level, count, _ in rows if level in LEVELS] == [
        (level, sum(kernel in LEVELS[: at + 1] for kernel in kernels))
        for at, level in enumerate(LEVELS)
    ]
    assert [level for level, *_ in rows] == [*LEVELS, *EXPERIMENTAL]
    for level, _, new in rows[1:]:
        of_its_own = {scenario.name for scenario in _SCENARIOS if scenario.kernel == level}
        assert {*re.findall("`(.*?)`", new)} == of_its_own


def test_scenarios_have_names_of_their_own_and_known_operations() -> None:
    assert len(SCENARIOS) == len(_SCENARIOS)
    for scenario in _SCENARIOS:
        for text in (scenario.setup, scenario.end, *scenario.actors.values()):
            check_operations(scenario.name, text)


def test_each_operation_is_used_by_a_ready_scenario() -> None:
    used = {
        operation.split()[0]
        for scenario in _SCENARIOS
        for text in (scenario.setup, scenario.end, *scenario.actors.values())
        for operation in split(text)
    }
    assert used <= set(OPERATIONS)
    # A hostile tail has no ready scenario: what it does to one reader, the fuzzer tests.
    assert set(OPERATIONS) - used == {"tail"}
