"""What a finding is cut down to shows the same mistake."""

from __future__ import annotations

import pytest

from emu.bugs import RACING_BUGS
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS
from emu.race.runner import Memory, Runner, Search
from emu.race.scenario import Scenario, Shape
from emu.race.shrink import shrink

SC = Search(memory=Memory.SC, seconds=20)
TWO_PRODUCERS = Scenario(
    "two-producers",
    "Two users share a refill ring, and each writes where it believes the tail to be.",
    {"user": "return 0", "second": "return 1"},
    shape=Shape(niovs=2, rq=4),
    setup="alloc 2; deliver 2 1",
    end="flush; expect-home",
)


def test_cut_keeps_the_returns_that_an_expectation_is_about(good: Runner) -> None:
    found = good.search(TWO_PRODUCERS, SC).found
    assert found is not None
    assert "the user still has references" in found.text
    smallest, still = shrink(good, TWO_PRODUCERS, found, SC)
    assert still.signature == found.signature
    assert dict(smallest.actors) == dict(TWO_PRODUCERS.actors)
    assert smallest.end == TWO_PRODUCERS.end


@pytest.mark.parametrize("name", ["cqe-visible-first", "user-ref-given-by-store"])
def test_our_own_core_finds_nothing_in_what_is_left(good: Runner, name: str) -> None:
    bug = RACING_BUGS[name]
    runner, whole = Runner(build_simulation(bug)), SCENARIOS[bug.scenario]
    found = runner.search(whole, SC).found
    assert found is not None
    smallest, still = shrink(runner, whole, found, SC, good)
    assert still.signature == found.signature
    result = good.search(smallest, SC)
    assert result.complete
    assert result.found is None
