"""Which buffers went through a queue's rings last, copied when all has stopped.

The flight recorders have batches by position. What stands at these positions, the rings and the
verdict log still have: completions for as long as the completion queue is, verdicts for longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emu.core import Delivered, Queue
from emu.spec.state import Verdict
from emu.verdict.flight import Event, EventKind

ACCOUNTS = 32768  #: beyond so many buffers an account is that of several


@dataclass(frozen=True, slots=True)
class Trail:
    """Of one queue."""

    queue: int
    delivered: Sequence[Delivered]  #: the last completions, the newest at the end
    judged_from: int  #: RQEs before the first of the next
    judged: Sequence[tuple[str, int]]  #: verdict and buffer; the newest at the end

    def as_dict(self) -> dict[str, object]:
        """As values for JSON."""
        return {
            "queue": self.queue,
            "delivered": [
                [item.niov, item.starts, item.flow, item.seq, item.generation]
                for item in self.delivered
            ],
            "judged_from": self.judged_from,
            "judged": [list(item) for item in self.judged],
        }


def trail_of(queue: Queue, events: Sequence[Event]) -> Trail | None:
    """Copy what a queue's rings and log have; None: nothing that could be told.

    Args:
        queue: Its NIC and its provider have stopped.
        events: Those recorded of the run, by time.
    """
    mine = [event for event in events if event.queue == queue.index]
    bursts = [e for e in mine if e.kind == EventKind.BURST and e.process == "nic"]
    if not bursts or queue.shape.num_niovs > ACCOUNTS:
        return None
    count, since = 0, bursts[-1].time_ns
    for burst in reversed(bursts):
        if count + burst.a > queue.shape.cq_entries:
            break
        count, since = count + burst.a, burst.time_ns
    refills = [
        e
        for e in mine
        if e.kind == EventKind.REFILL and e.process == "provider" and e.time_ns >= since
    ]
    first = refills[0].b if refills else 0
    entries = refills[-1].b + refills[-1].a - first if refills else 0
    skipped = max(entries - queue.shape.log_entries, 0)
    judged = queue.judged(first + skipped, entries - skipped)
    return Trail(
        queue.index,
        queue.delivered(bursts[-1].b, count),
        first + skipped,
        [(_label(verdict), account) for verdict, account in judged],
    )


def _label(number: int) -> str:
    try:
        return Verdict(number).label
    except ValueError:
        return "unknown"
