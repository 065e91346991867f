"""Findings, noticed while the run is on: the first of each kind, and when it was.

A look costs a few microseconds a queue, so the control process takes one at
each of its ticks. At the very first finding the flight recorders are copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emu.core import Alarm, Mismatch, Queue, Reconciler, SlotView
from emu.verdict.flight import Event, EventError, EventKind, FlightLog, FlightRecorder, Origin
from emu.verdict.trail import trail_of

#: Which statement of the audit an alarm breaks.
_BREAKS = {
    Alarm.INTEGRITY: "integrity",
    Alarm.OUTSIDE: "integrity",
    Alarm.OWNERSHIP: "ownership",
    Alarm.ORDER: "order",
    Alarm.GRANTED_HELD: "ownership",
    Alarm.FREELIST_OVERFLOW: "conservation",
    Alarm.REF_UNDERFLOW: "conservation",
    Alarm.DESTROY_WARNING: "all_home",
    Alarm.OWN_STRAY: "consumer",
    Alarm.OWN_TOUCH: "consumer",
}
_WORDS = {
    Alarm.INTEGRITY: "a fragment differs from what was sent",
    Alarm.OUTSIDE: "a completion does not lie in one buffer of the area",
    Alarm.OWNERSHIP: "a buffer was delivered again while a fragment of it was held",
    Alarm.ORDER: "a fragment came out of order",
    Alarm.GRANTED_HELD: "a buffer was granted while the user held a reference on it",
    Alarm.FREELIST_OVERFLOW: "more buffers came to the freelist than there are",
    Alarm.REF_UNDERFLOW: "a page-pool reference was dropped that nobody held",
    Alarm.DESTROY_WARNING: "the queue was torn down while buffers were missing",
    Alarm.OWN_STRAY: "the consumer gave a completion back that was not out, or misused its rings",
    Alarm.OWN_TOUCH: "the consumer touched a completion that it had given back",
}
_ERRORS = {
    Alarm.INTEGRITY: {
        EventError.BYTES_CHANGED,
        EventError.CORRUPT_MISSED,
        EventError.TRUNCATED_MISSED,
    },
    Alarm.OUTSIDE: {EventError.OUTSIDE},
    Alarm.OWNERSHIP: {EventError.GIVEN_AGAIN},
    Alarm.ORDER: {EventError.ORDER},
    Alarm.GRANTED_HELD: {EventError.GRANTED_HELD},
}


@dataclass(frozen=True, slots=True)
class Noticed:
    """The first finding of a kind."""

    kind: str  #: a statement of the audit, ``death``, or ``timeout``
    queue: int | None  #: where; None: not about one queue
    text: str  #: in a line
    noticed_ns: int = 0  #: CLOCK_MONOTONIC
    alarm: Alarm | None = None  #: the counter that told it
    mismatch: Mismatch | None = None
    slot: SlotView | None = None  #: of the mismatch's ring index, when it was noticed


def error_events(events: Sequence[Event], alarm: Alarm, queue: int | None = None) -> list[Event]:
    """The recorded errors behind an alarm, in the order given; of all queues, or of one."""
    wanted = _ERRORS.get(alarm, set())
    return [
        event
        for event in events
        if event.kind == EventKind.ERROR and event.a in wanted and queue in (None, event.queue)
    ]


def refill_event(events: Sequence[Event], mismatch: Mismatch) -> Event | None:
    """The recorded refill that judged an entry."""
    for event in events:
        if (
            event.kind == EventKind.REFILL
            and event.process == "provider"
            and event.queue == mismatch.queue
            and event.b <= mismatch.position < event.b + event.a
        ):
            return event
    return None


def origin_of(events: Sequence[Event], finding: Noticed) -> Origin:
    """When a finding came about: the recorded event that it is about, else when it was noticed."""
    event: Event | None = None
    if finding.mismatch is not None:
        event = refill_event(events, finding.mismatch)
    elif finding.alarm is not None:
        event = next(iter(error_events(events, finding.alarm, finding.queue)), None)
    return Origin(
        time_ns=finding.noticed_ns if event is None else event.time_ns,
        is_event=event is not None,
        kind=finding.kind,
        queue=finding.queue,
        text=finding.text,
        noticed_ns=finding.noticed_ns,
    )


class Watch:
    """Looks for findings and keeps the first of each kind.

    Args:
        queues: The control process's views.
        reconcilers: One a queue, in the same order.
        flight: Copied at the first finding.
    """

    def __init__(
        self, queues: Sequence[Queue], reconcilers: Sequence[Reconciler], flight: FlightRecorder
    ) -> None:
        self._watched = list(zip(queues, reconcilers, strict=True))
        self._flight = flight
        self._alarms = [(0,) * len(Alarm)] * len(self._watched)
        self.findings: dict[str, Noticed] = {}  #: by kind, in the order of noticing

    def look(self) -> None:
        """Look at the counters of all queues."""
        for at, (queue, reconciler) in enumerate(self._watched):
            if reconciler.mismatch_count and "exactness" not in self.findings:
                self._found_mismatch(queue, reconciler)
            alarms = queue.alarms()
            if alarms != self._alarms[at]:
                self._alarms[at] = alarms
                self._found_alarms(queue.index, alarms)

    def _found_mismatch(self, queue: Queue, reconciler: Reconciler) -> None:
        mismatch = reconciler.mismatches[0]
        verdict = "no verdict" if mismatch.verdict is None else mismatch.verdict.label
        self.found(
            Noticed(
                "exactness",
                queue.index,
                f"exactness: RQE {mismatch.position} of queue {queue.index} earned {verdict}, "
                "which it must not",
                mismatch=mismatch,
                slot=queue.peek(mismatch.index),
            )
        )

    def _found_alarms(self, queue: int, alarms: Sequence[int]) -> None:
        for alarm, count in zip(Alarm, alarms, strict=True):
            if count and _BREAKS[alarm] not in self.findings:
                kind = _BREAKS[alarm]
                text = f"{kind}: queue {queue}: {_WORDS[alarm]}"
                self.found(Noticed(kind, queue, text, alarm=alarm))

    def found(self, finding: Noticed) -> None:
        """Keep a finding if it is the first of its kind; copy the recorders if it is the first."""
        if finding.kind in self.findings:
            return
        if not self.findings:
            self._flight.snapshot()
        event = self._flight.note(EventKind.FINDING, f"noticed: {finding.text}", finding.queue)
        self.findings[finding.kind] = replace(finding, noticed_ns=event.time_ns)

    def close(self) -> None:
        """Let go of the queues, and with them of their mappings; the findings stay."""
        self._watched = []

    def log_to_the_end(self) -> FlightLog:
        """The flight log of a run without a finding, whose processes have ended."""
        log = self._flight.to_the_end()
        trails = (trail_of(queue, log.events) for queue, _ in self._watched)
        return replace(log, trails=tuple(t.as_dict() for t in trails if t is not None))

    def log(self) -> FlightLog | None:
        """The flight log around the first finding; None without any."""
        first = next(iter(self.findings.values()), None)
        if first is None:
            return None
        events = self._flight.events()
        return self._flight.log(events, origin_of(events, first))
