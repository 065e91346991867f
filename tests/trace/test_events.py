"""A trace in the making."""

from __future__ import annotations

from emu.trace.events import Trace

from .conftest import Checked


def test_events_are_by_time_and_times_begin_at_0() -> None:
    trace = Trace()
    track = trace.track(trace.process("p"), "t")
    trace.instant(track, 5, "late", "c")
    trace.slice(track, -10, -4, "early", "c")
    trace.slice(track, -10, 0, "around it", "c")
    found = Checked(trace.as_dict(seed=1))
    told = [(event["name"], event["ts"]) for event in found.of("X", "i")]
    assert told == [("around it", 0), ("early", 0), ("late", 15)]
    assert found.trace["otherData"] == {"seed": 1}


def test_span_that_takes_no_time_begins_before_it_ends() -> None:
    trace = Trace()
    track = trace.track(trace.process("p"), "t")
    for _ in range(2):
        trace.span(track, 1, 1, "s", "c")
    assert len(Checked(trace.as_dict()).spans) == 2


def test_end_that_another_clock_has_before_the_beginning_is_the_beginning() -> None:
    trace = Trace()
    track = trace.track(trace.process("p"), "t")
    trace.slice(track, 3, 2, "x", "c")
    trace.span(track, 3, 2, "s", "c")
    found = Checked(trace.as_dict())
    assert found.named("x")[0]["dur"] == 0
    assert found.spans[0][1]["ts"] == 3
