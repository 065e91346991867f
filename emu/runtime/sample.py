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
    by_rule: tuple[int, ...] = ()  #: the same, by rule of the plan

    @classmethod
    def of(cls, queue: Queue, rules: int) -> QueueSample:
        """Read them now, for a plan of that many rules."""
        by_rule = tuple(queue.injected(rules))
        return cls(
            nic=queue.counters(CounterGroup.NIC),
            provider=queue.counters(CounterGroup.PROVIDER),
            consumer=queue.counters(CounterGroup.CONSUMER),
            injected=sum(by_rule),
            places=queue.places(),
            by_rule=by_rule,
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """Live counters of a run at one moment."""

    elapsed_s: float
    queues: tuple[QueueSample, ...]
    cpu_s: dict[str, float]  #: process label: CPU time so far
    process_faults: tuple[int, ...] = ()  #: fired so far, by rule of the plan
    findings: tuple[str, ...] = ()  #: kinds noticed so far: statements of the audit, death, timeout
