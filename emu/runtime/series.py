"""How a run went: its counters over time, in a bounded number of points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emu.core import CounterGroup, Queue
from emu.verdict.points import Points

_FIRST_INTERVAL_S = 0.02

#: What is counted, and in which group: the sums over all queues.
_COUNTERS = {
    "packets": (CounterGroup.NIC, "packets_delivered"),
    "bytes": (CounterGroup.NIC, "bytes_delivered"),
    "dropped": (CounterGroup.NIC, "packets_dropped"),
    "rqes": (CounterGroup.PROVIDER, "consumed"),
    **{
        name: (CounterGroup.PROVIDER, name)
        for name in (
            "accepted",
            "still_referenced",
            "other_pool",
            "bad_pad",
            "bad_area",
            "bad_index",
            "no_user_ref",
        )
    },
}
_VERDICTS = tuple(_COUNTERS)[4:]
_PLACES = ("freelist", "cache", "ptr_ring", "grant_ring", "nic", "user")


class Series:
    """Takes looks at a run's queues, as often as there is room for.

    Args:
        rules: Names of the plan's rules, in its order.
    """

    def __init__(self, rules: Sequence[str]) -> None:
        self._rules = rules
        self._points: Points[tuple[list[int], list[int], list[int]]] = Points(_FIRST_INTERVAL_S)

    def look(self, elapsed_s: float, queues: Sequence[Queue], *, is_last: bool = False) -> None:
        """Take a look, if one is due or it is the last one."""
        if not self._points.is_due(elapsed_s) and not is_last:
            return
        counters = [0] * len(_COUNTERS)
        places = [0] * len(_PLACES)
        injected = [0] * len(self._rules)
        for queue in queues:
            groups = {
                group: queue.counters(group) for group in (CounterGroup.NIC, CounterGroup.PROVIDER)
            }
            for at, (group, name) in enumerate(_COUNTERS.values()):
                counters[at] += groups[group][name]
            where = queue.places()
            for at, name in enumerate(_PLACES):
                places[at] += getattr(where, name)
            for at, count in enumerate(queue.injected(len(self._rules))):
                injected[at] += count
        self._points.add(elapsed_s, (counters, places, injected))

    def as_dict(self) -> dict[str, Any]:
        """Lists of the same length; counters are sums since the run began, places are buffers."""

        def column(part: int, at: int) -> list[int]:
            return [row[part][at] for row in self._points.rows]

        counters = {name: column(0, at) for at, name in enumerate(_COUNTERS)}
        faults: dict[str, list[int]] = {}
        for at, name in enumerate(self._rules):  # several rules may be of one fault
            mine = column(2, at)
            before = faults.get(name, [0] * len(mine))
            faults[name] = [a + b for a, b in zip(before, mine, strict=True)]
        return {
            "t_s": list(self._points.times),
            **{name: counters[name] for name in _COUNTERS if name not in _VERDICTS},
            "verdicts": {name: counters[name] for name in _VERDICTS},
            "places": {name: column(1, at) for at, name in enumerate(_PLACES)},
            "faults": {name: counts for name, counts in faults.items() if counts and counts[-1]},
        }
