"""A finding for Perfetto's viewer (ui.perfetto.dev) and Chrome's: the trace event format.

A track for each actor, a slice for each step, an arrow from a store to each load that saw it.
There is no clock in a simulation: a step takes ten microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emu.race.runner import Found, Memory, TimelineStep
from emu.race.timeline import Place, newest_values, step_text

_STEP_US = 10
_PROCESS = 1


def seen_stores(steps: Sequence[TimelineStep]) -> dict[int, int]:
    """For each step that read, the step whose store it saw, if one of them did it."""
    stores: dict[int, list[int]] = {}  # of a word, in the order in which they reached memory
    waiting: dict[tuple[str, int], list[int]] = {}  # TSO: by actor and word, not there yet
    buffered = any(step.kind == "drain" for step in steps)
    seen = {}
    for number, step in enumerate(steps):
        own = waiting.setdefault((step.name, step.offset), [])
        history = stores.setdefault(step.offset, [])
        if step.kind in ("load", "exchange"):
            if own and step.kind == "load":
                seen[number] = own[-1]
            elif step.choice < len(history):
                seen[number] = history[-1 - step.choice]
        if step.kind == "store" and buffered:
            own.append(number)
        elif step.kind == "drain":
            history.append(own.pop(0) if own else number)
        elif step.kind in ("store", "exchange") and step.changed:
            history.append(number)
    return seen


def trace_events(
    found: Found, actors: Sequence[str], memory: Memory, places: dict[int, Place]
) -> dict[str, Any]:
    """The trace, as a value to be written as JSON."""
    tracks = {name: number + 1 for number, name in enumerate(actors)}
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": _PROCESS, "name": "process_name", "args": {"name": "simulation"}}
    ]
    for name, track in tracks.items():
        args = {"name": name}
        events.append(
            {"ph": "M", "pid": _PROCESS, "tid": track, "name": "thread_name", "args": args}
        )
    newest = newest_values(found.steps)
    for number, step in enumerate(found.steps):
        place = places.get(step.place)
        events.append(
            {
                "ph": "X",
                "pid": _PROCESS,
                "tid": tracks[step.name],
                "ts": number * _STEP_US,
                "dur": _STEP_US,
                "cat": step.kind,
                "name": step_text(step, newest[number], memory),
                "args": {
                    "step": number,
                    "order": step.order,
                    "place": place.text if place else "",
                    "function": place.function if place else "",
                },
            }
        )
    for reader, writer in seen_stores(found.steps).items():
        for phase, number in (("s", writer), ("f", reader)):
            arrow = {
                "ph": phase,
                "pid": _PROCESS,
                "tid": tracks[found.steps[number].name],
                "ts": number * _STEP_US + _STEP_US // 2,
                "cat": "sees",
                "name": found.steps[number].word,
                "id": reader,
            }
            events.append({**arrow, "bp": "e"} if phase == "f" else arrow)
    events.append(
        {
            "ph": "i",
            "s": "g",
            "pid": _PROCESS,
            "tid": 1,
            "ts": len(found.steps) * _STEP_US,
            "name": f"{found.kind}: {found.text}",
        }
    )
    return {"traceEvents": events, "displayTimeUnit": "ms"}
