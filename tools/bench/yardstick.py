"""What is measured, and the registry in which modules enter it.

A module that contributes has one function, ``register(registry)``, and is named in
``CONTRIBUTORS``; one that is not there is left out. ``ours`` is meant to be::

    def register(registry: Registry) -> None:
        registry.add(Yardstick(
            name="zcrx", group=Group.E2E, parameter=1448, unit=Unit.PACKETS_PER_S,
            sample=lambda seconds: run_for(seconds).packets_per_s, smoke=True))
        registry.add_ratio(Ratio(numerator="zcrx", denominator="memif", target=">= 1"))

Its figures then stand in the tables beside the others of that group and parameter.
"""

from __future__ import annotations

import enum
import importlib
import importlib.util
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

CONTRIBUTORS = ("peers", "ours", "start")


class BenchError(Exception):
    """A benchmark cannot go on; the message says what to do about it."""


class Group(enum.StrEnum):
    """Which question a measurement answers; its parameter depends on it."""

    RING = "ring"
    """One entry from process to process; the parameter is the batch."""
    REFILL = "refill"
    """One entry through a ring on one thread; the parameter is the batch."""
    E2E = "e2e"
    """One packet from producer to consumer; the parameter is its payload's bytes."""
    START = "start"
    """What a user waits for; the parameter is the number of queues."""

    @property
    def parameter_name(self) -> str:
        return {Group.E2E: "payload", Group.START: "queues"}.get(self, "batch")


class Unit(enum.StrEnum):
    """The unit of a sample."""

    NS_PER_ENTRY = "ns/entry"
    NS_PER_TRIP = "ns/trip"
    PACKETS_PER_S = "packets/s"
    MS = "ms"

    @property
    def less_is_better(self) -> bool:
        return self is not Unit.PACKETS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """One thing that can be measured again and again."""

    name: str  #: Unique within its group and parameter; ratios refer to it.
    group: Group
    parameter: int  #: Entries a batch, or bytes a payload: see ``Group``.
    unit: Unit
    sample: Callable[[float], float]  #: Runs for about so many seconds; its figure.
    smoke: bool = False  #: Also part of the quick form.


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A comparison of two yardsticks, for each parameter that both have."""

    numerator: str
    denominator: str
    target: str = ""  #: For the reader; nothing is judged.


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best of several yardsticks, as one more, for each parameter."""

    name: str
    group: Group
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One figure, and how the machine was when it was taken."""

    value: float
    round: int  #: Counted from 0. Samples of one round are near in time.
    trip_ns: float  #: How far apart the cores were: see ``core_trip.c``.
    foreign_cores: float  #: How many cores' time others took meanwhile.


@dataclass(slots=True, kw_only=True)
class Measurement:
    """A yardstick's samples, one a round, unless one failed."""

    name: str
    group: Group
    parameter: int
    unit: Unit
    samples: list[Sample] = field(default_factory=list)

    @property
    def values(self) -> list[float]:
        return [sample.value for sample in self.samples]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Registry:
    """All yardsticks, ratios and notes that the contributing modules entered."""

    def __init__(self) -> None:
        self.yardsticks: list[Yardstick] = []
        self.ratios: list[Ratio] = []
        self.bests: list[Best] = []
        self.notes: list[str] = []

    def add(self, yardstick: Yardstick) -> None:
        key = (yardstick.group, yardstick.parameter, yardstick.name)
        if any((y.group, y.parameter, y.name) == key for y in self.yardsticks):
            raise BenchError(f"yardstick {key} is registered twice")
        self.yardsticks.append(yardstick)

    def add_ratio(self, ratio: Ratio) -> None:
        self.ratios.append(ratio)

    def add_best(self, best: Best) -> None:
        self.bests.append(best)

    def add_note(self, note: str) -> None:
        """Tell the reader something, above all what is missing and why."""
        self.notes.append(note)

    def chosen(self, groups: Iterable[Group], *, smoke: bool) -> list[Yardstick]:
        """Return the yardsticks of these groups, those to be compared side by side."""
        wanted = set(groups)
        chosen = [y for y in self.yardsticks if y.group in wanted]
        if smoke:
            chosen = [y for y in chosen if y.smoke]
        order = list(Group)
        return sorted(chosen, key=lambda y: (order.index(y.group), y.parameter))


def collect() -> Registry:
    """Let every contributing module that exists register what it has."""
    registry = Registry()
    for name in CONTRIBUTORS:
        full_name = f"{__package__}.{name}"
        if importlib.util.find_spec(full_name) is not None:
            importlib.import_module(full_name).register(registry)
    return registry
