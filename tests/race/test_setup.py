"""A scenario that cannot be played, or whose set-up would do nothing, is refused with its place."""

from __future__ import annotations

import pytest

from emu.errors import ConfigError
from emu.race.runner import Runner, Search
from emu.race.scenario import Scenario, Shape

SEARCH = Search(schedules=1, seconds=0)


def _refused(runner: Runner, setup: str, shape: Shape) -> str:
    scenario = Scenario("one", "of these tests", {"provider": "refill"}, shape=shape, setup=setup)
    with pytest.raises(ConfigError) as caught:
        runner.search(scenario, SEARCH)
    return str(caught.value).removeprefix("scenario one: ")


@pytest.mark.parametrize(
    ("setup", "shape", "where", "why"),
    [
        ("destroy 0; alloc 1", Shape(), "2, alloc", "there is no page pool"),
        ("alloc 1; deliver 2", Shape(), "2, deliver", "the stack's hand does not hold so many"),
        ("drop 1", Shape(), "1, drop", "the stack's hand does not hold so many"),
        (
            "send 1",
            Shape(),
            "1, send",
            "no buffer is granted, or the completion queue is full",
        ),
        ("take 1", Shape(), "1, take", "there are fewer completions"),
        ("give 1", Shape(), "1, give", "the user took fewer"),
        (
            "alloc 1; return 0",
            Shape(),
            "2, return",
            "the user does not hold it so often ('push' returns what it likes)",
        ),
        (
            "push 0; push 0",
            Shape(rq=1),
            "2, push",
            "the refill ring has no room for it",
        ),
        ("refill", Shape(), "1, refill", "the refill ring is empty"),
        ("alloc 2", Shape(niovs=1), "1, alloc", "there are fewer buffers"),
        (
            "grant 3",
            Shape(niovs=4, grants=2),
            "1, grant",
            "there are fewer buffers, or less room in the grant ring",
        ),
    ],
)
def test_operation_that_does_nothing_is_refused(
    good: Runner, setup: str, shape: Shape, where: str, why: str
) -> None:
    assert _refused(good, setup, shape) == (
        f"setup: operation {where}: it does nothing, or less than it says: {why}"
    )


def test_impossible_shape_is_refused(good: Runner) -> None:
    assert _refused(good, "", Shape(rq=3)) == (
        "shape: : sizes must be powers of two that are not 0"
    )


def test_setup_that_goes_wrong_by_itself_says_so(good: Runner) -> None:
    assert _refused(good, "alloc 40", Shape(niovs=64)) == (
        "setup: a hand is full: the scenario takes too many buffers"
    )
