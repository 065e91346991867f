"""The flight recorders' Python side: events in words, merged around a finding, written to files."""

from __future__ import annotations

import json
import mmap
import struct
import time
from typing import Any

import pytest

from emu.core import (
    Alarm,
    FlightClock,
    FlightWriter,
    Mapping,
    Mismatch,
    Queue,
    Reconciler,
    Shape,
    layout_sizes,
)
from emu.spec.state import Verdict
from emu.verdict import flight
from emu.verdict.flight import Event, EventError, EventKind, FlightLog, FlightRecorder, Origin
from emu.verdict.watch import Noticed, Watch, origin_of

RULES = ("bad-pad", "nic-drop")
CONTROL = {kind for kind in EventKind if kind >= 64}


def event(us: float, kind: int, a: int = 0, b: int = 0, c: int = 0, **more: Any) -> Event:
    fields = {"process": "provider", "queue": 0, **more}
    return Event(time_ns=round(us * 1000), kind=kind, a=a, b=b, c=c, **fields)


def log(events: list[Event], zero_us: float = 0.0) -> FlightLog:
    zero = round(zero_us * 1000)
    origin = Origin(zero, True, "exactness", 0, "exactness: it is wrong", zero + 7000)
    return FlightLog(origin, tuple(events), (), RULES, FlightClock.MONOTONIC)


# ---- One event ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            event(0, EventKind.BURST, 64, 128, 5),
            "published 64 CQEs from 5 buffers, CQ tail now 128",
        ),
        (
            event(0, EventKind.REFILL, 16, 192, 7 << 32 | 3),
            "judged 16 RQEs from 192 on (ring index 7), 3 of them rejected",
        ),
        (event(0, EventKind.BLOCKED, 0, 0), "blocked: no buffer, 0 free"),
        (event(0, EventKind.BLOCKED, 1, 3), "blocked: no room in the completion queue, 3 free"),
        (
            event(0, EventKind.DROPPED, 1, 9, 4),
            "drops a packet of flow 9: no room in the completion queue (4 dropped before)",
        ),
        (event(0, EventKind.USER, 0), "follows: the user is nobody"),
        (event(0, EventKind.USER, 2), "follows: the user is 2"),
        (
            event(0, EventKind.FAULT, 0, 5, 6, process="consumer"),
            "fault: bad-pad (rule 1) at ordinal 5, RQE 6",
        ),
        (
            event(0, EventKind.FAULT, 1, 5, 5, process="nic"),
            "fault: nic-drop (rule 2) at ordinal 5, packet 5",
        ),
        (
            event(0, EventKind.CONSEQUENCE, 0 | 2 << 16, 3 << 32 | 9, 77, process="consumer"),
            "consequence of bad-pad: given again, fragment 9 of flow 3 in buffer 77",
        ),
        (event(0, EventKind.TEARDOWN, 0, 8), "tore the queue down, 8 buffers on the freelist: all"),
        (event(0, EventKind.TEARDOWN, 1, 7), "7 buffers on the freelist: buffers are missing"),
        (
            event(0, EventKind.ERROR, EventError.BYTES_CHANGED, 3 << 32 | 9, 77 << 32 | 2),
            "error: fragment 9 of flow 3 in buffer 77 (grant 2) is not what was sent",
        ),
        (
            event(0, EventKind.ERROR, EventError.ORDER, 3 << 32 | 9, 11),
            "error: fragment 9 of flow 3 came when 11 was due",
        ),
        (
            event(0, EventKind.ERROR, EventError.OUTSIDE, 0x1000, 12),
            "error: 12 bytes at offset 0x1000 do not lie in one buffer",
        ),
        (
            event(0, EventKind.ERROR, EventError.GRANTED_HELD, 0, 77 << 32 | 2),
            "error: buffer 77 was granted while the user held 2 references on it",
        ),
        (event(0, EventKind.STATE, process="control", queue=None, text="state DRAIN"), "state DR"),
    ],
)
def test_event_is_told_in_words(given: Event, words: str) -> None:
    assert words in given.words(RULES)


@pytest.mark.parametrize("kind", [kind for kind in EventKind if kind not in CONTROL])
def test_each_kind_has_words_and_fields_of_its_own(kind: EventKind) -> None:
    given = event(0, kind, 1, 2, 3)
    assert "unknown" not in given.words(RULES)
    assert "number" not in given.fields(RULES)
    (shown,) = json.loads(log([given]).json_text())["events"]
    assert set(shown) > {"us", "process", "queue", "kind"}, "a kind without a value says nothing"


@pytest.mark.parametrize("error", EventError)
def test_each_error_has_words(error: EventError) -> None:
    assert event(0, EventKind.ERROR, error, 1, 2).words(RULES).startswith("error: ")


@pytest.mark.parametrize(
    "given",
    [
        event(0, 63, 1, 2, 3),
        event(0, 0xFFFF, 2**32 - 1, 2**64 - 1, 2**64 - 1),
        event(0, EventKind.ERROR, 99),
        event(0, EventKind.FAULT, 64),
        event(0, EventKind.CONSEQUENCE, 2**32 - 1),
        event(0, EventKind.STATE, 1, 2, 3),
    ],
)
def test_scribbled_event_is_shown_as_it_is(given: Event) -> None:
    """A consumer may write anything into its own recorder."""
    assert given.words(RULES)
    json.dumps(given.fields(RULES))
    assert given.name


# ---- The log ------------------------------------------------------------------------------------


def test_text_has_200_events_before_the_finding_and_all_after() -> None:
    events = [event(us, EventKind.STARVED, us % 7) for us in range(1000)]
    text = log(events, zero_us=600).text().splitlines()
    lines = text[text.index("") + 2 :]
    assert len(lines) == 200 + 400
    assert lines[0].split()[0] == "-200.0"
    assert lines[200].split()[0] == "+0.0"
    assert lines[-1].split()[0] == "+399.0"
    assert text[1] == "finding: exactness: it is wrong"
    assert "noticed at +7.0 us" in text[2]
    assert text[text.index("") + 1].split() == ["time", "(us)", "process", "event"]


def test_lines_around_the_finding_are_its_neighbours() -> None:
    made = log([event(us, EventKind.STARVED) for us in (-3, -2, -1, 0, 1, 2, 3)])
    assert [line.split()[0] for line in made.around(2, 2)] == ["-2.0", "-1.0", "+0.0", "+1.0"]
    assert len(made.around(100, None)) == 7


def test_json_names_each_event_and_its_values() -> None:
    made = log(
        [
            event(-2, EventKind.REFILL, 16, 192, 7 << 32 | 3),
            event(1, EventKind.STATE, process="control", queue=None, text="state DRAIN"),
        ]
    )
    plain = json.loads(made.json_text())
    assert plain["schema"] == 1
    assert plain["finding"] == {"kind": "exactness", "queue": 0, "text": "exactness: it is wrong"}
    assert (plain["zero"], plain["zero_ns"], plain["noticed_us"]) == ("event", 0, 7.0)
    assert plain["events"] == [
        {
            "us": -2.0,
            "process": "provider",
            "queue": 0,
            "kind": "refill",
            "rqes": 16,
            "position": 192,
            "index": 7,
            "rejected": 3,
        },
        {"us": 1.0, "process": "control", "queue": None, "kind": "state", "text": "state DRAIN"},
    ]


@pytest.mark.parametrize("zero_us", [0, 5, 60, 99])
def test_json_keeps_the_events_nearest_to_the_finding(
    monkeypatch: pytest.MonkeyPatch, zero_us: int
) -> None:
    monkeypatch.setattr(flight, "JSON_MAX", 40)
    made = log([event(us, EventKind.STARVED) for us in range(100)], zero_us)
    shown = [item["us"] for item in json.loads(made.json_text())["events"]]
    assert len(shown) == 40
    assert 0.0 in shown


def test_json_without_events_is_json() -> None:
    assert json.loads(log([]).json_text())["events"] == []


# ---- Recorders ----------------------------------------------------------------------------------

SHAPE = Shape(
    num_niovs=8,
    niov_shift=12,
    rq_entries=16,
    cq_entries=16,
    ptr_ring_size=16,
    grant_entries=8,
    log_entries=64,
    flows_max=4,
    flight_entries=16,
)
_EVENT = struct.Struct("<QQQQ")
HEADER_SIZE = 64  #: in front of the events: how many there were, and the clock
RECORDER_SIZE = HEADER_SIZE + 32 * SHAPE.flight_entries


class Memory:
    """One queue in memory of this process; tests write into recorders as their writers would."""

    def __init__(self) -> None:
        sizes = layout_sizes(SHAPE)
        self.kern = mmap.mmap(-1, sizes.kern)
        self.notes = mmap.mmap(-1, sizes.notes)
        self.queue = Queue(
            SHAPE, 0, Mapping(kern=self.kern, rings=mmap.mmap(-1, sizes.rings), notes=self.notes)
        )
        self.queue.format()
        self._recorder_size = RECORDER_SIZE
        self._ends = {
            FlightWriter.NIC: (self.kern, sizes.kern - 2 * self._recorder_size),
            FlightWriter.PROVIDER: (self.kern, sizes.kern - self._recorder_size),
            FlightWriter.CONSUMER: (self.notes, sizes.notes - self._recorder_size),
        }

    def write(self, writer: FlightWriter, ticks: int, kind: int, a: int, b: int, c: int) -> None:
        memory, start = self._ends[writer]
        (count,) = struct.unpack_from("<Q", memory, start)
        at = start + HEADER_SIZE + 32 * (count % SHAPE.flight_entries)
        _EVENT.pack_into(memory, at, ticks, kind | a << 32, b, c)
        struct.pack_into("<Q", memory, start, count + 1)


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_recorders_are_merged_by_time(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "choose_clock", lambda: FlightClock.MONOTONIC)
    recorder = FlightRecorder([memory.queue], RULES)
    early = recorder.note(EventKind.STATE, "state TRAFFIC").time_ns
    memory.write(FlightWriter.CONSUMER, early + 30, EventKind.TAKEN, 1, 1, 0)
    memory.write(FlightWriter.NIC, early + 10, EventKind.BURST, 1, 1, 1)
    memory.write(FlightWriter.PROVIDER, early + 20, EventKind.GRANT, 1, 1, 0)
    memory.write(FlightWriter.NIC, early + 40, EventKind.BURST, 2, 3, 1)
    recorder.snapshot()
    memory.write(FlightWriter.NIC, early + 50, EventKind.BURST, 9, 9, 9)
    recorder.snapshot()
    merged = recorder.events()
    assert [item.time_ns - early for item in merged] == [0, 10, 20, 30, 40]
    assert [item.label for item in merged] == [
        *("control", "nic, queue 0", "provider, queue 0", "consumer, queue 0", "nic, queue 0")
    ]
    assert merged[-1].words(RULES) == "published 2 CQEs from 1 buffers, CQ tail now 3"


def test_what_no_consumer_records_is_not_taken_from_its_recorder(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "choose_clock", lambda: FlightClock.MONOTONIC)
    recorder = FlightRecorder([memory.queue], RULES)
    now = time.monotonic_ns()
    memory.write(FlightWriter.CONSUMER, now, EventKind.TAKEN, 1, 1, 0)
    for kind in (EventKind.REFILL, EventKind.BURST, EventKind.STATE, EventKind.FINDING, 999):
        memory.write(FlightWriter.CONSUMER, now, kind, 1, 1, 0)
    for moment in (0, 2**63, 2**64 - 1):
        memory.write(FlightWriter.CONSUMER, moment, EventKind.TAKEN, 1, 1, 0)
    for kind in (EventKind.ERROR, EventKind.CONSEQUENCE, EventKind.FAULT):  # in it all is possible
        memory.write(FlightWriter.CONSUMER, now, kind, 2**32 - 1, 2**64 - 1, 2**64 - 1)
    recorder.snapshot()
    events = recorder.events()
    assert [item.kind for item in events] == [
        EventKind.TAKEN,
        EventKind.ERROR,
        EventKind.CONSEQUENCE,
        EventKind.FAULT,
    ]
    log = recorder.log(events, Origin(now, False, "order", None, "order", now))
    assert log.text()
    assert json.loads(log.json_text())["events"]


def test_recorder_that_went_round_says_how_much_is_gone(memory: Memory) -> None:
    recorder = FlightRecorder([memory.queue], RULES)
    for number in range(100):
        memory.write(FlightWriter.PROVIDER, number, EventKind.STARVED, number, 0, 0)
    recorder.snapshot()
    made = recorder.log(recorder.events(), Origin(0, False, "order", None, "order", 0))
    states = {state.process: (state.events, state.overwritten) for state in made.recorders}
    assert states == {"nic": (0, 0), "provider": (15, 85), "consumer": (0, 0)}


def test_ticks_become_nanoseconds_between_two_readings(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "choose_clock", lambda: FlightClock.COUNTER)
    readings = iter([(1000, 5_000_000), (3000, 5_001_000)])
    monkeypatch.setattr(FlightClock, "read", lambda self: next(readings))
    recorder = FlightRecorder([memory.queue], RULES)
    for ticks in (1000, 2000, 3000):
        memory.write(FlightWriter.NIC, ticks, EventKind.BURST, 1, 1, 1)
    recorder.snapshot()
    assert [item.time_ns for item in recorder.events()] == [5_000_000, 5_000_500, 5_001_000]


def test_counter_of_the_cpu_is_taken_only_where_the_kernel_keeps_time_by_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    source = tmp_path / "current_clocksource"
    monkeypatch.setattr(flight, "_CLOCKSOURCE", source)
    assert flight.choose_clock() is FlightClock.MONOTONIC
    source.write_text("hpet\n")
    assert flight.choose_clock() is FlightClock.MONOTONIC
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(FlightClock, "available", lambda: True)
    source.write_text("tsc\n")
    assert flight.choose_clock() is FlightClock.COUNTER
    monkeypatch.setattr(FlightClock, "available", lambda: False)
    assert flight.choose_clock() is FlightClock.MONOTONIC


# ---- Findings -----------------------------------------------------------------------------------


def test_time_0_is_the_refill_that_judged_the_entry() -> None:
    mismatch = Mismatch(0, 20, 20, 0, frozenset({Verdict.ACCEPTED}), Verdict.BAD_PAD)
    finding = Noticed("exactness", 0, "wrong", 9_000, mismatch=mismatch)
    events = [
        event(1, EventKind.REFILL, 4, 16, 0),
        event(2, EventKind.REFILL, 4, 20, 0, queue=1),
        event(3, EventKind.REFILL, 4, 20, 0),
        event(4, EventKind.REFILL, 4, 24, 0),
    ]
    origin = origin_of(events, finding)
    assert (origin.time_ns, origin.is_event, origin.noticed_ns) == (3000, True, 9000)
    gone = origin_of(events[3:], finding)
    assert (gone.time_ns, gone.is_event) == (9000, False)


def test_time_0_is_the_first_error_of_the_alarm() -> None:
    finding = Noticed("ownership", 1, "given again", 9_000, alarm=Alarm.OWNERSHIP)
    events = [
        event(1, EventKind.ERROR, EventError.GIVEN_AGAIN, process="consumer", queue=0),
        event(2, EventKind.ERROR, EventError.BYTES_CHANGED, process="consumer", queue=1),
        event(3, EventKind.ERROR, EventError.GIVEN_AGAIN, process="consumer", queue=1),
        event(4, EventKind.ERROR, EventError.GIVEN_AGAIN, process="consumer", queue=1),
    ]
    assert origin_of(events, finding).time_ns == 3000


def test_watch_keeps_the_first_of_each_kind_and_copies_once(memory: Memory) -> None:
    recorder = FlightRecorder([memory.queue], RULES)
    watch = Watch([memory.queue], [Reconciler(memory.queue, 0)], recorder)
    watch.look()
    assert watch.findings == {}
    assert watch.log() is None
    memory.write(FlightWriter.NIC, 1, EventKind.BURST, 1, 1, 1)
    watch.found(Noticed("death", 0, "the first"))
    memory.write(FlightWriter.NIC, 2, EventKind.BURST, 2, 2, 2)
    watch.found(Noticed("death", 0, "the second"))
    watch.found(Noticed("order", None, "another"))
    assert [(item.kind, item.text) for item in watch.findings.values()] == [
        ("death", "the first"),
        ("order", "another"),
    ]
    made = watch.log()
    assert made is not None
    assert made.origin.text == "the first"
    assert sum(item.kind == EventKind.BURST for item in made.events) == 1


def test_verdict_that_is_none_is_a_mismatch(memory: Memory) -> None:
    """A log byte of 7 names no verdict; it must be told, and not end the run's judgement."""
    reconciler = Reconciler(memory.queue, 0)
    recorder = FlightRecorder([memory.queue], RULES)
    watch = Watch([memory.queue], [reconciler], recorder)
    verdict_log = layout_sizes(SHAPE).kern - 2 * RECORDER_SIZE - SHAPE.log_entries
    memory.kern[verdict_log] = 7
    # RQEs ever taken: at the start of the second cache line of the provider's state.
    struct.pack_into("<Q", memory.kern, 64, 1)
    assert reconciler.step() == 1
    watch.look()
    assert watch.findings["exactness"].mismatch is not None
    assert watch.findings["exactness"].mismatch.verdict is None
    assert "earned no verdict" in watch.findings["exactness"].text
