"""The fewest operations that still show a finding.

Operations are left out one at a time. What is left must show the same words, and must not show
them when the actors come one after the other if it did not do so before: a scenario that is
wrong in itself would be no finding.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from emu.errors import ConfigError
from emu.race.operations import split
from emu.race.runner import Found, Memory, Runner, Search, Strategy
from emu.race.scenario import Scenario

#: For all of it, and for one attempt.
_BUDGET_S = 15.0
_ATTEMPT_S = 2
_ATTEMPT_SCHEDULES = 50_000


def count_operations(scenario: Scenario) -> int:
    """Operations of all actors, before and afterwards."""
    texts = (scenario.setup, scenario.end, *scenario.actors.values())
    return sum(len(split(text)) for text in texts)


def _without_each(text: str) -> Iterator[str]:
    """The script with one operation left out, the last one first."""
    operations = split(text)
    for at in reversed(range(len(operations))):
        yield "; ".join(operations[:at] + operations[at + 1 :])


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Each scenario that has one operation less."""
    for end in _without_each(scenario.end):
        yield replace(scenario, end=end)
    for name, operations in scenario.actors.items():
        for fewer in _without_each(operations):
            actors = {**scenario.actors, name: fewer}
            if not fewer:
                del actors[name]
            if actors:
                yield replace(scenario, actors=actors)
    for setup in _without_each(scenario.setup):
        yield replace(scenario, setup=setup)


def _is_wrong_in_itself(runner: Runner, scenario: Scenario) -> bool:
    """Whether something is found even when nobody interrupts anybody."""
    one_by_one = Search(memory=Memory.SC, bound=0, seconds=_ATTEMPT_S)
    return runner.search(scenario, one_by_one).found is not None


def shrink(
    runner: Runner, scenario: Scenario, found: Found, search: Search
) -> tuple[Scenario, Found]:
    """Leave operations out as long as the same is found; the scenario left, and its finding.

    Args:
        runner: What runs the simulation; once stopped, what there is then is returned.
        scenario: Where it was found.
        found: What was found.
        search: How; the memory model stays, the strategy may not.
    """
    until = time.monotonic() + _BUDGET_S
    attempt = replace(
        search,
        strategy=Strategy.EXHAUSTIVE,
        seconds=_ATTEMPT_S,
        schedules=_ATTEMPT_SCHEDULES,
        bound=search.bound,
    )
    if runner.search(scenario, attempt).found is None:
        # Too large to search through: by chance then, as it was found.
        attempt = replace(attempt, strategy=Strategy.RANDOM)
    may_be_wrong = _is_wrong_in_itself(runner, scenario)
    candidates = _smaller(scenario)
    while time.monotonic() < until and not runner.is_stopped:
        candidate = next(candidates, None)
        if candidate is None:
            break
        try:
            result = runner.search(candidate, attempt)
            if result.found is None or result.found.signature != found.signature:
                continue
            if not may_be_wrong and _is_wrong_in_itself(runner, candidate):
                continue
        except ConfigError:  # it needs what was left out
            continue
        scenario, found = candidate, result.found
        candidates = _smaller(scenario)
    return scenario, found
