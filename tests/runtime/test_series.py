"""Counters over time: bounded, and nothing of their sums lost."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest

from emu.core import CounterGroup, Queue
from emu.runtime.series import Series
from emu.verdict.points import POINTS_MAX


class _Counting:
    """A queue whose every counter is the number of looks at it so far."""

    def __init__(self) -> None:
        self.looks = 0

    def counters(self, group: CounterGroup) -> Any:
        self.looks += group is CounterGroup.NIC
        return _Same(self.looks)

    def places(self) -> Any:
        return _Same(self.looks)

    def injected(self, rules: int) -> list[int]:
        return [self.looks] * rules


class _Same:
    def __init__(self, value: int) -> None:
        self._value = value

    def __getitem__(self, _name: str) -> int:
        return self._value

    def __getattr__(self, _name: str) -> int:
        return self._value


@pytest.mark.parametrize("seconds", [0.1, 10.0, 5000.0])
def test_points_are_bounded_and_spread_over_the_run(seconds: float) -> None:
    queue, series, looks = _Counting(), Series(["alias", "bad-pad", "alias"]), 20_000
    for number in range(looks):
        series.look(seconds * number / looks, [cast(Queue, queue)])
    series.look(seconds, [cast(Queue, queue)], is_last=True)
    found = series.as_dict()
    times = found["t_s"]
    assert 2 <= len(times) <= POINTS_MAX + 1
    assert (times[0], times[-1]) == (0.0, seconds)
    assert times == sorted(set(times))
    gaps = [b - a for a, b in itertools.pairwise(times[:-1])]
    # What was dropped by halves leaves points twice as far apart as those to come, at most.
    assert max(gaps) <= 2.01 * min(gaps) + 2 * seconds / looks
    assert found["packets"][-1] == queue.looks
    assert found["faults"] == {
        "alias": [2 * count for count in found["rqes"]],
        "bad-pad": found["rqes"],
    }
    lists = [found["t_s"], found["bytes"], *found["places"].values(), *found["verdicts"].values()]
    assert {len(values) for values in lists} == {len(times)}


def test_faults_that_did_nothing_are_left_out() -> None:
    series = Series(["alias"])
    assert series.as_dict()["faults"] == {}
