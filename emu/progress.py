"""Progress: has a run that could go on stopped moving?

What the consumer says of itself does not count: it may never publish its tail,
never read a completion or keep every buffer. Then its own queue starves, and
that is its own affair.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from emu.config import FRAGMENTS_MAX
from emu.core import CounterGroup, Queue


@dataclass(slots=True)
class _Count:
    """Notices a count that does not move any more."""

    stall_s: float
    count: int = -1
    since: float = field(default_factory=time.monotonic)

    def is_stuck(self, count: int, now: float) -> bool:
        if count != self.count:
            self.count, self.since = count, now
        return now - self.since > self.stall_s


def _dealt_with(nic: dict[str, int]) -> int:
    """Packets that were delivered, or dropped for another reason than want of room."""
    wanted = nic["dropped_no_buffer"] + nic["dropped_cq_full"]
    return nic["packets_delivered"] + nic["packets_dropped"] - wanted


def could_go_on(queue: Queue, *, copies: bool, takes: bool) -> bool:
    """Is there all that a packet of any size needs, as NIC and provider see it?

    Args:
        queue: Which.
        copies: A packet may need a buffer of the freelist, too.
        takes: The provider has lately taken RQEs; if they brought no buffer, that is their fault.
    """
    places = queue.places()
    if places.in_flight + FRAGMENTS_MAX > queue.shape.cq_entries:
        return False
    spare = places.freelist + places.cache + places.ptr_ring + places.grant_ring
    if spare >= FRAGMENTS_MAX and (places.freelist or not copies):
        return True
    return not takes and queue.rq_available() > 0


class Progress:
    """Watches the deliveries of all queues, and what each provider takes.

    Args:
        queues: The control process's views.
        stall_s: Seconds without a delivery after which a run that could go on is stuck.
        copies: Some packets are copied.
    """

    def __init__(self, queues: Sequence[Queue], *, stall_s: float, copies: bool) -> None:
        self._queues = queues
        self._copies = copies
        self._dealt_with = _Count(stall_s)
        self._taken = [_Count(stall_s) for _ in queues]

    def is_stuck(self) -> bool:
        """Nothing delivered for long, although buffers and room are there. To be asked often."""
        now = time.monotonic()
        dealt_with = sum(_dealt_with(queue.counters(CounterGroup.NIC)) for queue in self._queues)
        takes = [
            not taken.is_stuck(queue.consumed(), now)
            for taken, queue in zip(self._taken, self._queues, strict=True)
        ]
        return self._dealt_with.is_stuck(dealt_with, now) and any(
            could_go_on(queue, copies=self._copies, takes=took)
            for queue, took in zip(self._queues, takes, strict=True)
        )
