"""The fewest operations that still show a finding.

Operations are left out one at a time. What is left must show the same words, and must be a sound
program: whatever it expects holds when our own core runs its actors one after the other, or the
program is at fault and not what was tested. Where the whole scenario does not hold even so (two
producers on one ring are wrong whoever judges), what makes its expectations due stays: without a
return in it, "the user still has references" would be said of a user that did not return.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from emu.errors import ConfigError
from emu.race.operations import split
from emu.race.runner import Found, Memory, Runner, Search, Strategy
from emu.race.scenario import Scenario

#: Expectations of an end, which hold only if what was delivered was brought home.
_DUE = ("expect-home", "expect-verdict", "destroy")
#: Operations that bring it home.
_BRINGS_HOME = frozenset(
    {
        *("return", "push", "give", "take", "take-bytes", "await-cqes", "write", "tail"),
        *("flush", "flush-rq", "refill", "alloc", "grant", "reset-ring", "retry"),
        *("scrub", "scrub-quiet", "drop", "close", "deliver"),
    }
)

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


def _words(scenario: Scenario) -> Counter[str]:
    """How often each operation is there, with its numbers."""
    texts = (scenario.setup, scenario.end, *scenario.actors.values())
    return Counter(operation for text in texts for operation in split(text))


def _is_still_due(before: Scenario, after: Scenario) -> bool:
    """Whether what ``after`` expects at its end is as due as it was."""
    if not any(operation.split()[0] in _DUE for operation in split(after.end)):
        return True
    gone = _words(before) - _words(after)
    return not any(operation.split()[0] in _BRINGS_HOME for operation in gone)


def _is_wrong_in_itself(runner: Runner, scenario: Scenario) -> bool:
    """Whether something is found even when nobody interrupts anybody."""
    one_by_one = Search(memory=Memory.SC, bound=0, seconds=_ATTEMPT_S)
    return runner.search(scenario, one_by_one).found is not None


def shrink(
    runner: Runner,
    scenario: Scenario,
    found: Found,
    search: Search,
    reference: Runner | None = None,
) -> tuple[Scenario, Found]:
    """Leave operations out as long as the same is found; the scenario left, and its finding.

    Args:
        runner: What runs the simulation; once stopped, what there is then is returned.
        scenario: Where it was found.
        found: What was found.
        search: How; the memory model stays, the strategy may not.
        reference: What runs our own core without a bug; ``runner`` if it is that.
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
    reference = reference or runner
    # Whoever finds nothing wrong with the whole must find nothing wrong with the rest.
    judges = [each for each in (runner, reference) if not _is_wrong_in_itself(each, scenario)]
    is_sound = reference in judges
    candidates = _smaller(scenario)
    while time.monotonic() < until and not runner.is_stopped:
        candidate = next(candidates, None)
        if candidate is None:
            break
        if not is_sound and not _is_still_due(scenario, candidate):
            continue
        try:
            result = runner.search(candidate, attempt)
            if result.found is None or result.found.signature != found.signature:
                continue
            if any(_is_wrong_in_itself(judge, candidate) for judge in judges):
                continue
        except ConfigError:  # it needs what was left out
            continue
        scenario, found = candidate, result.found
        candidates = _smaller(scenario)
    return scenario, found
