"""Flight recorders: what each process of a run did last, merged into one list.

NIC, provider and consumers write theirs in C, an event a batch
(``cext/wire/flight.h``); the control process keeps its own here. Nobody reads them
in a run that passes. At the first finding all are copied at once, since they
overwrite themselves within milliseconds; they become ``flight.json`` and
``flight.txt`` when the run has ended (``docs/flight.md``).
"""

from __future__ import annotations

import bisect
import enum
import json
import platform
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emu.core import ConsequenceKind, FlightClock, FlightWriter, Queue

SCHEMA = 1
CONTROL_MAX = 8192  #: events that the control process keeps
JSON_MAX = 5_000  #: events in ``flight.json``, those nearest to the finding
BEFORE_MAX = 200  #: events before the finding in ``flight.txt``
_EVENT = struct.Struct("<QHHIQQ")
_CLOCKSOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
_COUNTERS = {"x86_64": "tsc", "aarch64": "arch_sys_counter"}


class EventKind(enum.IntEnum):
    """What happened; those below 64 as in ``enum zcrx_event_kind``."""

    USER = 1
    ERROR = 2
    FAULT = 3
    BURST = 8
    BLOCKED = 9
    DROPPED = 10
    UNBLOCKED = 11
    QUIESCED = 12
    AREA_ADDED = 13
    REFILL = 16
    GRANT = 17
    STARVED = 18
    RING_RESET = 19
    DRAIN = 20
    TEARDOWN = 21
    RESTARTED = 22
    TAKEN = 24
    RETURNED = 25
    CONSEQUENCE = 26
    TAIL_LIE = 27
    RECOVERED = 28
    SCRUB_SEEN = 29
    # The control process's own.
    STATE = 64
    SCRUB = 65
    USER_CHANGE = 66
    PROCESS_FAULT = 67
    KILL = 68
    END = 69
    FINDING = 70


#: What each process records.
_ANY = frozenset({EventKind.USER, EventKind.ERROR, EventKind.FAULT})
_RECORDED = {
    "nic": _ANY | {kind for kind in EventKind if 8 <= kind < 16},
    "provider": _ANY | {kind for kind in EventKind if 16 <= kind < 24},
    "consumer": _ANY | {kind for kind in EventKind if 24 <= kind < 32},
}
_SLACK_NS = 10_000_000_000  #: how far the clocks of other cores may be off


class EventError(enum.IntEnum):
    """What was wrong, as in ``enum zcrx_event_error``."""

    BYTES_CHANGED = 1
    GIVEN_AGAIN = 2
    CORRUPT_MISSED = 3
    ORDER = 4
    OUTSIDE = 5
    GRANTED_HELD = 6
    TRUNCATED_MISSED = 7


_ERROR_WORDS = {
    EventError.BYTES_CHANGED: (
        "error: fragment {seq} of flow {flow} in buffer {niov} (grant {generation}) "
        "is not what was sent"
    ),
    EventError.GIVEN_AGAIN: (
        "error: fragment {seq} of flow {flow} came in buffer {niov} (grant {generation}), "
        "of which an earlier grant is still held"
    ),
    EventError.CORRUPT_MISSED: (
        "error: fragment {seq} of flow {flow} in buffer {niov} was corrupted on purpose, "
        "and is what was sent"
    ),
    EventError.TRUNCATED_MISSED: (
        "error: fragment {seq} of flow {flow} in buffer {niov} was cut short on purpose, "
        "and is what was sent"
    ),
    EventError.ORDER: "error: fragment {seq} of flow {flow} came when {due} was due",
    EventError.OUTSIDE: "error: {length} bytes at offset 0x{off:x} do not lie in one buffer",
    EventError.GRANTED_HELD: (
        "error: buffer {niov} was granted while the user held {references} references on it"
    ),
}
_LACKS = ("buffer", "cq")
_LACK_WORDS = {"buffer": "no buffer", "cq": "no room in the completion queue"}

_WORDS = {
    EventKind.USER: "follows: the user is {user}",
    EventKind.BURST: "published {cqes} CQEs from {buffers} buffers, CQ tail now {cq_tail}",
    EventKind.BLOCKED: "blocked: {words}, {free} free",
    EventKind.DROPPED: "drops a packet of flow {flow}: {words} ({dropped_before} dropped before)",
    EventKind.UNBLOCKED: "delivers again, {dropped} packets dropped so far",
    EventKind.QUIESCED: "offers nothing more, CQ tail {cq_tail}",
    EventKind.AREA_ADDED: "{words}",
    EventKind.REFILL: (
        "judged {rqes} RQEs from {position} on (ring index {index}), {rejected} of them rejected"
    ),
    EventKind.GRANT: "granted {buffers} buffers, grant ring tail now {tail}",
    EventKind.STARVED: "out of buffers after {granted} grants",
    EventKind.RING_RESET: "emptied the refill ring for a new user, who starts at index {index}",
    EventKind.DRAIN: "drained the refill ring, {consumed} RQEs judged in all",
    EventKind.TEARDOWN: "tore the queue down, {free} buffers on the freelist: {words}",
    EventKind.TAKEN: "took {completions} completions, CQ head now {cq_head}",
    EventKind.RETURNED: "published {rqes} RQEs from {position} on, tail now {tail}",
    EventKind.RESTARTED: "{words}",
    EventKind.TAIL_LIE: "{fault}: publishes tail {tail} behind RQE {position}",
    EventKind.RECOVERED: "put the tail right: {tail}; claimed what lies before RQE {position}",
    EventKind.SCRUB_SEEN: "took note of scrub {scrubs}, before RQE {position}",
}


def _lack(a: int) -> dict[str, Any]:
    lack = _LACKS[a & 1]
    return {"lack": lack, "words": _LACK_WORDS[lack]}


def _error(a: int, b: int, c: int) -> dict[str, Any]:
    high, low = c >> 32, c & 0xFFFFFFFF
    flow = {"flow": b >> 32, "seq": b & 0xFFFFFFFF}
    if a == EventError.ORDER:
        return {**flow, "due": c}
    if a == EventError.OUTSIDE:
        return {"off": b, "length": c}
    if a == EventError.GRANTED_HELD:
        return {"niov": high, "references": low}
    return {**flow, "niov": high, "generation": low}


_FIELDS: dict[EventKind, Callable[[int, int, int], dict[str, Any]]] = {
    EventKind.USER: lambda a, b, c: {"user": a or "nobody"},
    EventKind.FAULT: lambda a, b, c: {"rule": a, "ordinal": b, "position": c},
    EventKind.BURST: lambda a, b, c: {"cqes": a, "cq_tail": b, "buffers": c},
    EventKind.BLOCKED: lambda a, b, c: {**_lack(a), "free": b},
    EventKind.DROPPED: lambda a, b, c: {**_lack(a), "flow": b, "dropped_before": c},
    EventKind.UNBLOCKED: lambda a, b, c: {"dropped": b},
    EventKind.QUIESCED: lambda a, b, c: {"cq_tail": b},
    EventKind.AREA_ADDED: lambda a, b, c: {
        "area": b if a else None,
        "niovs": a,
        "words": f"added area {b} of {a} buffers" if a else "found no room for another area",
    },
    EventKind.REFILL: lambda a, b, c: {
        "rqes": a,
        "position": b,
        "index": c >> 32,
        "rejected": c & 0xFFFFFFFF,
    },
    EventKind.GRANT: lambda a, b, c: {"buffers": a, "tail": b},
    EventKind.STARVED: lambda a, b, c: {"granted": a},
    EventKind.RING_RESET: lambda a, b, c: {"index": a},
    EventKind.DRAIN: lambda a, b, c: {"consumed": b},
    EventKind.TEARDOWN: lambda a, b, c: {
        "free": b,
        "words": "buffers are missing" if a else "all are home",
    },
    EventKind.TAKEN: lambda a, b, c: {"completions": a, "cq_head": b},
    EventKind.RETURNED: lambda a, b, c: {"rqes": a, "position": b, "tail": c},
    EventKind.RESTARTED: lambda a, b, c: {
        "pool": a - 1 if a else None,
        "words": f"restarted the queue, page pool {a - 1} serves it" if a else "found no free pool",
    },
    EventKind.TAIL_LIE: lambda a, b, c: {"rule": a, "position": b, "tail": c},
    EventKind.RECOVERED: lambda a, b, c: {"position": b, "tail": c},
    EventKind.SCRUB_SEEN: lambda a, b, c: {"position": b, "scrubs": c},
    EventKind.CONSEQUENCE: lambda a, b, c: {
        "rule": a & 0xFFFF,
        "consequence": a >> 16,
        "flow": b >> 32,
        "seq": b & 0xFFFFFFFF,
        "niov": c,
    },
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one process."""

    time_ns: int  #: of CLOCK_MONOTONIC
    process: str  #: nic, provider, consumer or control
    queue: int | None  #: None: it is about all of them
    kind: int  #: an :class:`EventKind`; another number if a recorder was scribbled on
    a: int = 0
    b: int = 0
    c: int = 0
    text: str = ""  #: of the control process: what happened, in words

    @property
    def label(self) -> str:
        """Whose it is, e.g. ``nic, queue 0``."""
        return self.process if self.queue is None else f"{self.process}, queue {self.queue}"

    @property
    def name(self) -> str:
        """The kind's name in ``flight.json``."""
        try:
            return EventKind(self.kind).name.lower()
        except ValueError:
            return "unknown"

    def fields(self, rules: Sequence[str]) -> dict[str, Any]:
        """What it says, by name. ``rules``: fault names of the plan, by position."""
        if self.process == "control":
            return {"text": self.text}
        if self.kind == EventKind.ERROR and self.a in _ERROR_WORDS:
            return {"error": EventError(self.a).name.lower(), **_error(self.a, self.b, self.c)}
        if self.kind not in _FIELDS:
            return {"number": self.kind, "a": self.a, "b": self.b, "c": self.c}
        found = _FIELDS[EventKind(self.kind)](self.a, self.b, self.c)
        if "rule" in found:
            known = found["rule"] < len(rules)
            found["fault"] = rules[found["rule"]] if known else "?"
        if "consequence" in found:
            kinds = {int(kind): kind.name.lower() for kind in ConsequenceKind}
            found["consequence"] = kinds.get(found["consequence"], "?")
        return found

    def words(self, rules: Sequence[str]) -> str:
        """What happened, in a line."""
        if self.process == "control":
            return self.text
        found = self.fields(rules)
        if self.kind == EventKind.ERROR and self.a in _ERROR_WORDS:
            return _ERROR_WORDS[EventError(self.a)].format(**found)
        if self.kind == EventKind.FAULT:
            what = "packet" if self.process == "nic" else "RQE"
            return (
                f"fault: {found['fault']} (rule {found['rule'] + 1}) at ordinal "
                f"{found['ordinal']}, {what} {found['position']}"
            )
        if self.kind == EventKind.CONSEQUENCE:
            return (
                f"consequence of {found['fault']}: {found['consequence'].replace('_', ' ')}, "
                f"fragment {found['seq']} of flow {found['flow']} in buffer {found['niov']}"
            )
        if self.kind in _WORDS:
            return _WORDS[EventKind(self.kind)].format(**found)
        return f"unknown event {self.kind} ({self.a}, {self.b}, {self.c})"


@dataclass(frozen=True, slots=True)
class Origin:
    """Time 0 of a flight log: the finding."""

    time_ns: int
    is_event: bool  #: the event itself; else the moment at which it was noticed
    kind: str  #: as in :class:`emu.verdict.watch.Finding`
    queue: int | None
    text: str  #: the finding, in a line
    noticed_ns: int


@dataclass(frozen=True, slots=True)
class RecorderState:
    """How much of a recorder could be copied."""

    process: str
    queue: int
    events: int
    overwritten: int  #: events before the first one copied


@dataclass(frozen=True, slots=True)
class FlightLog:
    """The merged events of a run, around its first finding."""

    origin: Origin
    events: tuple[Event, ...]  #: by time
    recorders: tuple[RecorderState, ...]
    rules: tuple[str, ...]  #: fault names of the plan, by position
    clock: FlightClock
    traffic_ns: int | None = None  #: when traffic began, on CLOCK_MONOTONIC; None: it did not
    trails: tuple[Mapping[str, Any], ...] = ()  #: of each queue, which buffers went by last

    @property
    def at(self) -> int:
        """How many events are before the finding."""
        return bisect.bisect_left(self.events, self.origin.time_ns, key=lambda e: e.time_ns)

    def line(self, event: Event) -> str:
        """One event: microseconds to the finding, process, what happened."""
        us = (event.time_ns - self.origin.time_ns) / 1000
        return f"{us:+14.1f}  {event.label:<20}  {event.words(self.rules)}"

    def around(self, before: int, after: int | None) -> list[str]:
        """Lines of the events next to the finding; ``after`` None = all after it."""
        at = self.at
        end = None if after is None else at + after
        return [self.line(event) for event in self.events[max(at - before, 0) : end]]

    def text(self) -> str:
        """The contents of ``flight.txt``."""
        origin = self.origin
        zero = "the event itself" if origin.is_event else "when the control process noticed it"
        head = [
            f"zcrx-emu flight recorder, schema {SCHEMA}",
            f"finding: {origin.text}",
            f"time 0: {zero}; noticed at {(origin.noticed_ns - origin.time_ns) / 1000:+.1f} us",
            f"{len(self.events)} events of {len(self.recorders)} recorders and the control "
            f"process; here: {min(self.at, BEFORE_MAX)} before the finding, and all after it",
            "",
            f"{'time (us)':>14}  {'process':<20}  event",
        ]
        return "\n".join([*head, *self.around(BEFORE_MAX, None)]) + "\n"

    def json_text(self) -> str:
        """The contents of ``flight.json``: a line an event."""
        start = max(min(self.at - JSON_MAX * 3 // 4, len(self.events) - JSON_MAX), 0)
        lines = ",\n".join(
            "    " + json.dumps(self._as_dict(event))
            for event in self.events[start : start + JSON_MAX]
        )
        return f'{json.dumps(self._head(), indent=2)[:-2]},\n  "events": [\n{lines}\n  ]\n}}\n'

    def newest(self, most: int) -> dict[str, Any]:
        """As in ``flight.json``, with the newest events there are.

        Args:
            most: Events at most; ``left_out`` says how many older ones there were.
        """
        return {
            **self._head(),
            "left_out": max(len(self.events) - most, 0),
            "trails": list(self.trails),
            "events": [self._as_dict(event) for event in self.events[-most:]],
        }

    def _head(self) -> dict[str, Any]:
        origin, traffic_ns = self.origin, self.traffic_ns
        return {
            "schema": SCHEMA,
            "finding": {"kind": origin.kind, "queue": origin.queue, "text": origin.text},
            "zero": "event" if origin.is_event else "noticed",
            "zero_ns": origin.time_ns,
            "noticed_us": (origin.noticed_ns - origin.time_ns) / 1000,
            "traffic_us": None if traffic_ns is None else (traffic_ns - origin.time_ns) / 1000,
            "clock": self.clock.name.lower(),
            "recorders": [
                {name: getattr(state, name) for name in RecorderState.__slots__}
                for state in self.recorders
            ],
        }

    def _as_dict(self, event: Event) -> dict[str, Any]:
        return {
            "us": (event.time_ns - self.origin.time_ns) / 1000,
            "process": event.process,
            "queue": event.queue,
            "kind": event.name,
            **{k: v for k, v in event.fields(self.rules).items() if k != "words"},
        }


def choose_clock() -> FlightClock:
    """The CPU's counter where the kernel keeps time by it, else the clock itself."""
    try:
        source = _CLOCKSOURCE.read_text().strip()
    except OSError:
        return FlightClock.MONOTONIC
    if FlightClock.available() and source == _COUNTERS.get(platform.machine()):
        return FlightClock.COUNTER
    return FlightClock.MONOTONIC


class FlightRecorder:
    """All recorders of a run, as the control process sees them; its own is in here.

    Args:
        queues: The control process's views. Their clock is set: no writer may have started.
        rules: Fault names of the plan, by position.
    """

    def __init__(self, queues: Sequence[Queue], rules: Iterable[str]) -> None:
        self.clock = choose_clock()
        self._queues = queues
        self._rules = tuple(rules)
        self._control: deque[Event] = deque(maxlen=CONTROL_MAX)
        self._copies: list[tuple[RecorderState, bytes]] | None = None
        self.traffic_ns: int | None = None  #: when traffic began, on CLOCK_MONOTONIC
        for queue in queues:
            queue.set_flight_clock(self.clock)
        self._start = self._end = self.clock.read()

    def note(self, kind: EventKind, text: str, queue: int | None = None) -> Event:
        """Record what the control process does or sees."""
        event = Event(time.monotonic_ns(), "control", queue, kind, text=text)
        self._control.append(event)
        return event

    def snapshot(self) -> None:
        """Copy what the others recorded; the first call decides."""
        if self._copies is not None:
            return
        copies = []
        for queue in self._queues:
            for writer in FlightWriter:
                first, raw = queue.flight(writer)
                state = RecorderState(
                    writer.name.lower(), queue.index, len(raw) // _EVENT.size, first
                )
                copies.append((state, raw))
        self._end = self.clock.read()
        self._copies = copies

    def close(self) -> None:
        """Let go of the queues, and with them of their mappings; what was copied stays."""
        self._queues = ()

    def _ns(self, ticks: int) -> int:
        if self.clock is FlightClock.MONOTONIC:
            return ticks
        span = self._end[0] - self._start[0]
        if span <= 0:
            return self._start[1]
        return self._start[1] + (ticks - self._start[0]) * (self._end[1] - self._start[1]) // span

    def events(self) -> list[Event]:
        """All events of the snapshot and of the control process, by time.

        A consumer's recorder may be written by anybody: only what a consumer records is taken, and
        what happened while the run was on. The rest was scribbled there.
        """
        merged = list(self._control)
        first, last = self._start[1] - _SLACK_NS, self._end[1] + _SLACK_NS
        for state, raw in self._copies or ():
            kinds, is_ours = _RECORDED[state.process], state.process != "consumer"
            for ticks, kind, _reserved, a, b, c in _EVENT.iter_unpack(raw):
                ns = self._ns(ticks)
                if kind in kinds and (is_ours or first <= ns <= last):
                    merged.append(Event(ns, state.process, state.queue, kind, a, b, c))
        merged.sort(key=lambda event: event.time_ns)
        return merged

    def log(self, events: Sequence[Event], origin: Origin) -> FlightLog:
        """Put the events beside a finding."""
        return FlightLog(
            origin=origin,
            events=tuple(events),
            recorders=tuple(state for state, _ in self._copies or ()),
            rules=self._rules,
            clock=self.clock,
            traffic_ns=self.traffic_ns,
        )

    def to_the_end(self) -> FlightLog:
        """What is recorded of a run that found nothing; time 0 is now."""
        self.snapshot()
        now = time.monotonic_ns()
        return self.log(self.events(), Origin(now, False, "end", None, "the run ended", now))
