"""The families of a run: what a sample of it says, by queue, place, verdict, fault and process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from emu.config import RunConfig
from emu.runtime.sample import QueueSample, Sample
from emu.spec.state import Verdict
from faults import Actor, plan_name

if TYPE_CHECKING:
    from prometheus_client import Metric

_PLACES = ("freelist", "cache", "ptr_ring", "grant_ring", "nic", "user")
#: Counters of one number a queue: name, unit, help, and where it is.
_BY_QUEUE: tuple[tuple[str, str, str, Callable[[QueueSample], int]], ...] = (
    ("packets_offered", "", "Packets that the NIC offered.", lambda q: q.nic["packets_offered"]),
    ("packets_delivered", "", "Packets delivered.", lambda q: q.nic["packets_delivered"]),
    ("delivered_bytes", "bytes", "Payload delivered.", lambda q: q.nic["bytes_delivered"]),
    ("fragments_delivered", "", "Completions.", lambda q: q.nic["fragments_delivered"]),
    ("packets_copied", "", "Packets by the copy fallback.", lambda q: q.nic["copied_packets"]),
    ("rqes_submitted", "", "Entries of refill rings.", lambda q: q.consumer["rqe_submitted"]),
)


class RunFamilies:
    """Makes the families of a run's samples.

    Args:
        config: The run's.
        command: stress or recv.
    """

    def __init__(self, config: RunConfig, command: str) -> None:
        self._info = {
            "command": command,
            "seed": str(config.seed),
            "kernel": config.kernel,
            "traffic": config.traffic,
            "faults": plan_name(config.plan),
            "queues": str(config.queues),
        }
        rules = config.plan.rules
        self._faults = [rule.fault.name for rule in rules]
        self._of_processes = [r.fault.name for r in rules if r.fault.actor is Actor.PROCESS]

    def __call__(self, sample: Sample | None) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        yield InfoMetricFamily("zcrx_emu_run", "What is run.", value=self._info)
        if sample is None:
            return
        elapsed = "Seconds of traffic so far."
        yield GaugeMetricFamily(
            "zcrx_emu_elapsed_seconds", elapsed, value=sample.elapsed_s, unit="seconds"
        )
        numbered = list(enumerate(sample.queues))
        for name, unit, text, value_of in _BY_QUEUE:
            values = (((str(at),), value_of(queue)) for at, queue in numbered)
            yield _counter(name, text, ("queue",), values, unit)
        yield from self._by_more(numbered)
        cpu = (((label,), used) for label, used in sample.cpu_s.items())
        text = "User and system time of each process."
        yield _counter("process_cpu_seconds", text, ("process",), cpu, "seconds")
        fired = dict.fromkeys(self._of_processes, 0)
        for name, count in zip(self._faults, sample.process_faults, strict=False):
            if name in fired:
                fired[name] += count
        text = "What rules of the plan did to processes and whole queues."
        rows = (((name,), count) for name, count in fired.items())
        yield _counter("process_faults", text, ("fault",), rows)
        kinds = (((kind,), 1) for kind in sample.findings)
        yield _counter("findings", "Kinds of findings noticed so far.", ("kind",), kinds)

    def _by_more(self, numbered: list[tuple[int, QueueSample]]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        dropped = {"no_buffer": "dropped_no_buffer", "cq_full": "dropped_cq_full"}
        text = "Packets dropped."
        yield _of(numbered, "packets_dropped", text, "reason", lambda q: _renamed(q.nic, dropped))
        waits = {"no_buffer": "waits_no_buffer", "cq_full": "waits_cq_full"}
        text = "How often the NIC had no room for a packet."
        yield _of(numbered, "nic_waits", text, "lack", lambda q: _renamed(q.nic, waits))
        verdicts = {verdict.label: verdict.label for verdict in Verdict}
        text = "Entries that the provider judged."
        yield _of(
            numbered, "rqes_judged", text, "verdict", lambda q: _renamed(q.provider, verdicts)
        )
        text = "What rules of the plan did to entries and packets."
        yield _of(numbered, "faults_injected", text, "fault", self._injected)
        places = GaugeMetricFamily(
            "zcrx_emu_buffers", "Where each buffer is.", labels=("queue", "place")
        )
        unread = GaugeMetricFamily(
            "zcrx_emu_completions_unread", "Completions not read yet.", labels=("queue",)
        )
        for at, queue in numbered:
            for place in _PLACES:
                places.add_metric((str(at), place), getattr(queue.places, place))
            unread.add_metric((str(at),), queue.places.in_flight)
        yield places
        yield unread

    def _injected(self, queue: QueueSample) -> dict[str, int]:
        """By fault: several rules may be of one."""
        sums = dict.fromkeys((n for n in self._faults if n not in self._of_processes), 0)
        for name, count in zip(self._faults, queue.by_rule, strict=False):
            if name in sums:
                sums[name] += count
        return sums


def _renamed(values: Mapping[str, int], names: Mapping[str, str]) -> dict[str, int]:
    return {name: values[of] for name, of in names.items()}


def _of(
    numbered: Iterable[tuple[int, QueueSample]],
    name: str,
    text: str,
    label: str,
    values: Callable[[QueueSample], Mapping[str, int]],
) -> Metric:
    rows = (
        ((str(at), key), value) for at, queue in numbered for key, value in values(queue).items()
    )
    return _counter(name, text, ("queue", label), rows)


def _counter(
    name: str,
    text: str,
    labels: tuple[str, ...],
    rows: Iterable[tuple[tuple[str, ...], float]],
    unit: str = "",
) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"zcrx_emu_{name}", text, labels=labels, unit=unit)
    for values, number in rows:
        family.add_metric(values, number)
    return family
