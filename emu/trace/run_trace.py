"""The trace of a run: its processes, what the flight recorders kept, and how it went.

Made from what ``run.json`` and ``flight.json`` have, so that a run that has just ended and one
of last week come to the same. What they do not have is not in the trace (``docs/watching.md``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from emu.page.sections import Parts
from emu.trace.buffers import Life, lives
from emu.trace.events import Trace, Track
from emu.trace.rings import Ring, completions, refills

_S = 1_000_000.0  #: microseconds
_RATES = {"packets": "packets/s", "bytes": "bytes/s", "dropped": "dropped/s", "rqes": "RQE/s"}
_ROLES = ("nic", "provider", "keeper", "consumer")
_LACKS = {"buffer": "no buffer", "cq": "no room in the completion queue"}
#: What the control process does to processes and queues: seen in every row.
_FOR_ALL = frozenset({"finding", "process_fault", "kill"})
#: Of whom an event tells that it does something wrong, and what.
_WRONG = {"fault": "fault", "error": "error", "consequence": "fault"}
_NO_FIELDS = frozenset({"us", "process", "queue", "kind"})


def run_trace(report: Mapping[str, Any], flight: Mapping[str, Any] | None) -> dict[str, Any]:
    """The trace, as a value to be written as JSON.

    Args:
        report: As in ``run.json``, or what is left of it.
        flight: As in ``flight.json``; None: nothing was kept.
    """
    parts, trace = Parts(), Trace()
    whole = trace.process("run")
    marks = trace.track(whole, "what befell processes")
    start = parts.make("flight recorders", lambda: _traffic_us(flight), None)
    events = parts.make("flight recorders", lambda: _events(flight, start), [])
    rows = parts.make("processes", lambda: _Rows(trace, report), _Rows(trace, {}))
    parts.make("process events", lambda: _control(trace, whole, events), None)
    parts.make("events", lambda: _instants(trace, rows, events), None)
    parts.make("queues", lambda: _rings(trace, events), None)
    parts.make("buffers", lambda: _buffers(trace, events, flight), None)
    if flight is None or start is not None:  # else nobody knows where they lie beside the events
        parts.make("marks", lambda: _marks(trace, marks, report), None)
        parts.make("counters over time", lambda: _counters(trace, whole, report), None)
    else:
        parts.missing.append("counters over time: flight.json does not say when traffic began")
    return trace.as_dict(
        seed=report.get("seed"),
        ok=report.get("ok"),
        ended=report.get("ended"),
        recorders=[] if flight is None else flight.get("recorders", []),
        events_left_out=0 if flight is None else flight.get("left_out", 0),
        missing=list(dict.fromkeys(parts.missing)),
    )


# ---- from the recorders ------------------------------------------------------------------


def _traffic_us(flight: Mapping[str, Any] | None) -> float | None:
    """When traffic began, by the recorders' time."""
    found = None if flight is None else flight.get("traffic_us")
    return None if found is None else float(found)


def _events(flight: Mapping[str, Any] | None, start: float | None) -> list[dict[str, Any]]:
    """The recorders' events by time: microseconds of traffic, where that is known."""
    if flight is None:
        return []
    shift = start or 0.0
    return sorted(
        ({**event, "us": event["us"] - shift} for event in flight["events"]),
        key=lambda event: event["us"],
    )


def _fields(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in _NO_FIELDS}


class _Rows:
    """A process of the trace for each of the run, one that replaced another one included."""

    def __init__(self, trace: Trace, report: Mapping[str, Any]) -> None:
        self._trace = trace
        self._lives: dict[tuple[str, int | None], list[tuple[float, int]]] = defaultdict(list)
        self._tracks: dict[tuple[int, int | None], Track] = {}
        ordered = sorted(
            report.get("processes", ()),
            key=lambda item: (_ROLES.index(item["role"]), item["queue"] or 0),
        )
        for process in ordered:
            self._add(process, report)

    def _add(self, process: Mapping[str, Any], report: Mapping[str, Any]) -> None:
        role, queue = process["role"], process["queue"]
        label = role if queue is None else f"{role} of queue {queue}"
        pid = self._trace.process(f"{label} (pid {process['pid']})")
        started, ended = process.get("started_s"), process.get("ended_s")
        self._lives[role, queue].append((float("-inf") if started is None else started * _S, pid))
        if started is None:
            return
        until = max(report["elapsed_s"], started) if ended is None else ended
        self._trace.slice(
            self._trace.track(pid, "life"),
            *(started * _S, until * _S),
            "lives",
            "process",
            exit_code=process["exit_code"],
            cpu_s=process["cpu_s"],
        )

    def of(self, event: Mapping[str, Any]) -> Track:
        """The row of whoever recorded an event: the last that had begun by then."""
        role, queue = event["process"], event["queue"]
        lives = self._lives[role, queue if role == "consumer" else None]
        if not lives:  # the report has no processes
            lives.append((float("-inf"), self._trace.process(role)))
        pid = next((pid for began, pid in reversed(lives) if began <= event["us"]), lives[0][1])
        key = (pid, queue)
        if key not in self._tracks:
            self._tracks[key] = self._trace.track(pid, f"queue {queue}")
        return self._tracks[key]


def _control(trace: Trace, whole: int, events: Sequence[Mapping[str, Any]]) -> None:
    track = trace.track(whole, "control")
    for event in events:
        if event["process"] == "control":
            scope = "g" if event["kind"] in _FOR_ALL else "t"
            args = {} if event["queue"] is None else {"queue": event["queue"]}
            trace.instant(track, event["us"], event["text"], event["kind"], scope=scope, **args)


def _instants(trace: Trace, rows: _Rows, events: Sequence[Mapping[str, Any]]) -> None:
    """Batches, faults and errors where they were recorded; waiting as what lasts."""
    waiting: dict[int, Mapping[str, Any]] = {}  # queue: since which event its NIC has no room
    for event in events:
        kind = event["kind"]
        if event["process"] == "control":
            continue
        if kind == "blocked":
            waiting.setdefault(event["queue"], event)
            continue
        if event["process"] == "nic" and kind in ("unblocked", "burst", "quiesced", "user"):
            _waited(trace, rows, waiting.pop(event["queue"], None), event)
        name = kind
        if kind in _WRONG:
            name = f"{kind}: {event.get('error') or event.get('consequence') or event['fault']}"
        category = _WRONG.get(kind, "batch")
        trace.instant(rows.of(event), event["us"], name, category, **_fields(event))
    last = events[-1] if events else None
    for since in waiting.values():
        _waited(trace, rows, since, last)


def _waited(
    trace: Trace, rows: _Rows, since: Mapping[str, Any] | None, until: Mapping[str, Any] | None
) -> None:
    if since is not None and until is not None:
        name = _LACKS.get(since["lack"], since["lack"])
        trace.slice(rows.of(since), since["us"], until["us"], name, "waits", free=since["free"])


def _rings(trace: Trace, events: Sequence[Mapping[str, Any]]) -> None:
    by_queue: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event["process"] != "control" and event["queue"] is not None:
            by_queue[event["queue"]].append(event)
    for queue, mine in sorted(by_queue.items()):
        pid = trace.process(f"rings of queue {queue}")
        for ring in (completions(mine), refills(mine)):
            _ring(trace, pid, ring)


def _ring(trace: Trace, pid: int, ring: Ring) -> None:
    if not ring.published and not ring.read:
        return
    track = trace.track(pid, ring.name)
    for stay in ring.stays():
        trace.span(
            track,
            *(stay.us, stay.end_us),
            f"{ring.name}: a batch",
            "ring",
            entries=stay.count,
            outcome=stay.outcome,
        )
    for us, count in ring.depths():
        trace.counter(pid, us, f"{ring.name}: entries waiting", {"entries": count})


def _buffers(
    trace: Trace, events: Sequence[Mapping[str, Any]], flight: Mapping[str, Any] | None
) -> None:
    """A row for each buffer that went by at the end."""
    for trail in (flight or {}).get("trails", ()):
        queue = trail["queue"]
        mine = [event for event in events if event["queue"] == queue]
        pid = trace.process(f"buffers of queue {queue}")
        track: Track | None = None
        of: int | None = None
        for life in lives(mine, trail):
            if track is None or of != life.grant.niov:
                of = life.grant.niov
                track = trace.track(pid, f"buffer {of}")
            _life(trace, track, life)


def _life(trace: Trace, track: Track, life: Life) -> None:
    grant = life.grant
    trace.slice(
        track,
        *(grant.us, life.end_us),
        f"grant {grant.number}",
        "buffer",
        fragments=grant.fragments,
        flow=grant.flow,
        seq=grant.seq,
        outcome=life.outcome,
    )
    # Each process reads the clock for itself: none of it begins before what it follows.
    taken = None if grant.taken_us is None else min(max(grant.taken_us, grant.us), life.end_us)
    if taken is None:
        return
    trace.slice(track, grant.us, taken, "unread", "buffer")
    if life.returned_us is None:
        return
    returned = min(max(life.returned_us, taken), life.end_us)
    trace.slice(track, taken, returned, "with the consumer", "buffer")
    trace.slice(track, returned, life.end_us, "in the refill ring", "buffer")


# ---- from the report ---------------------------------------------------------------------


def _marks(trace: Trace, track: Track, report: Mapping[str, Any]) -> None:
    for mark in report.get("marks", ()):
        args = {} if mark["queue"] is None else {"queue": mark["queue"]}
        trace.instant(track, mark["t_s"] * _S, mark["what"], "process", scope="p", **args)


def _counters(trace: Trace, whole: int, report: Mapping[str, Any]) -> None:
    """A rate holds from one point of the series to the next; where buffers are, at each."""
    series = report["series"]
    times = series["t_s"]
    columns = {title: series[name] for name, title in _RATES.items()}
    for title, sums in columns.items():
        for us, rate in _rates(times, sums):
            trace.counter(whole, us, title, {title: rate})
    for what in ("verdicts", "faults"):
        for name, sums in series[what].items():
            if sums and sums[-1]:
                for us, rate in _rates(times, sums):
                    trace.counter(whole, us, f"{what}: {name}/s", {f"{name}/s": rate})
    places = series["places"]
    for at, t_s in enumerate(times):
        where = {name: column[at] for name, column in places.items()}
        trace.counter(whole, t_s * _S, "where buffers are", where)


def _rates(times: Sequence[float], sums: Sequence[float]) -> Iterator[tuple[float, float]]:
    pairs = zip(pairwise([0.0, *times]), pairwise([0, *sums]), strict=True)
    for (early, late), (before, after) in pairs:
        if late > early:
            yield early * _S, round((after - before) / (late - early), 3)
    if times:
        yield times[-1] * _S, 0.0
