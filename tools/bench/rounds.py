"""Runs all yardsticks in turns.

A round takes one sample of each, those that are compared next to one another. So a
machine that grows slower, or whose virtual cores are moved apart, does so for both
sides of a ratio, which is therefore taken round by round.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from . import programs
from .machine import CoreMeter
from .yardstick import (
    BenchError,
    Best,
    Group,
    Measurement,
    Ratio,
    Sample,
    Unit,
    Yardstick,
)

TRIP_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotient:
    """A ratio at one parameter, of samples of the same round."""

    ratio: Ratio
    group: Group
    parameter: int
    unit: Unit
    values: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Run:
    """Takes the samples and keeps what came of them."""

    def __init__(self, yardsticks: Sequence[Yardstick], seconds: float) -> None:
        self.yardsticks = yardsticks
        self.seconds = seconds
        self.failures: list[str] = []
        self._trip = programs.build("core_trip")
        self._measurements = [
            Measurement(name=y.name, group=y.group, parameter=y.parameter, unit=y.unit)
            for y in yardsticks
        ]

    @property
    def measurements(self) -> list[Measurement]:
        """Those that have a sample."""
        return [m for m in self._measurements if m.samples]

    def take_round(self, number: int, progress: Callable[[Yardstick], None]) -> None:
        """Take one sample of each; a failure is noted and the others go on."""
        trip_ns, place = 0.0, None
        for yardstick, measurement in zip(self.yardsticks, self._measurements, strict=True):
            progress(yardstick)
            if place != (yardstick.group, yardstick.parameter):
                place = (yardstick.group, yardstick.parameter)
                trip_ns = self._measure_trip()
            meter = CoreMeter()
            try:
                value = yardstick.sample(self.seconds)
            except BenchError as error:
                self.failures.append(f"{yardstick.name}: {error}")
                continue
            measurement.samples.append(
                Sample(
                    value=value,
                    round=number,
                    trip_ns=trip_ns,
                    foreign_cores=meter.foreign_cores(),
                )
            )

    def _measure_trip(self) -> float:
        return programs.run([self._trip, "-t", str(TRIP_SECONDS)], TRIP_SECONDS, Unit.NS_PER_TRIP)


def with_bests(measurements: list[Measurement], bests: Sequence[Best]) -> list[Measurement]:
    """Add, for each parameter, what is best by its median, under its second name."""
    added = []
    for best in bests:
        candidates = [m for m in measurements if m.group is best.group and m.name in best.of]
        for parameter in sorted({m.parameter for m in candidates}):
            rivals = [m for m in candidates if m.parameter == parameter]
            pick = min if rivals[0].unit.less_is_better else max
            winner = pick(rivals, key=lambda m: m.median)
            added.append(
                Measurement(
                    name=best.name,
                    group=best.group,
                    parameter=parameter,
                    unit=winner.unit,
                    samples=winner.samples,
                )
            )
    return measurements + added


def quotients(ratios: Sequence[Ratio], measurements: Sequence[Measurement]) -> list[Quotient]:
    """Return all ratios for which there are samples."""
    found = []
    for ratio in ratios:
        for over in measurements:
            if over.name != ratio.numerator:
                continue
            matches = partial(_is_beside, over, ratio.denominator)
            for under in filter(matches, measurements):
                values = _round_by_round(over, under)
                if values:
                    found.append(
                        Quotient(
                            ratio=ratio,
                            group=over.group,
                            parameter=over.parameter,
                            unit=over.unit,
                            values=values,
                        )
                    )
    return found


def _is_beside(over: Measurement, name: str, other: Measurement) -> bool:
    """Whether they can be compared; the group may differ, what is counted may not."""
    return other.name == name and other.parameter == over.parameter and other.unit is over.unit


def _round_by_round(over: Measurement, under: Measurement) -> list[float]:
    below = {sample.round: sample.value for sample in under.samples}
    return [s.value / below[s.round] for s in over.samples if below.get(s.round)]
