"""Live counters: what a run shows of itself while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from emu.core import CounterGroup, Places, Queue


@dataclass(frozen=True, slots=True)
class QueueSample:
    """Live counters of one queue."""

    nic: dict[str, int]
    provider: dict[str, int]
    consumer: dict[str, int]
    injected: int  #: malformed entries so far
    places: Places

    @classmethod
    def of(cls, queue: Queue, rules: int) -> QueueSample:
        """Read them now, for a plan of that many rules."""
        return cls(
            nic=queue.counters(CounterGroup.NIC),
            provider=queue.counters(CounterGroup.PROVIDER),
            consumer=queue.counters(CounterGroup.CONSUMER),
            injected=sum(queue.injected(rules)),
            places=queue.places(),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """Live counters of a run at one moment."""

    elapsed_s: float
    queues: tuple[QueueSample, ...]
    cpu_s: dict[str, float]  #: process label: CPU time so far
