"""A finding for Perfetto's viewer (ui.perfetto.dev) and Chrome's: the trace event format.

A track for each actor, a slice for each step, an arrow from a store to each load that saw it.
There is no clock in a simulation: a step takes ten microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emu.race.runner import Found, Memory, TimelineStep
from emu.race.timeline import Place, newest_values, step_text
from emu.trace.events import Trace, Track

_STEP_US = 10


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
    trace = Trace()
    simulation = trace.process("simulation")
    tracks = {name: trace.track(simulation, name) for name in actors}
    newest = newest_values(found.steps)
    for number, step in enumerate(found.steps):
        place = places.get(step.place)
        trace.slice(
            tracks[step.name],
            number * _STEP_US,
            (number + 1) * _STEP_US,
            step_text(step, newest[number], memory),
            step.kind,
            step=number,
            order=step.order,
            place=place.text if place else "",
            function=place.function if place else "",
        )
    for reader, writer in seen_stores(found.steps).items():
        trace.arrow(
            reader,
            *_middle(tracks, found.steps, writer),
            *_middle(tracks, found.steps, reader),
            found.steps[reader].word,
            "sees",
        )
    trace.instant(
        next(iter(tracks.values())),
        len(found.steps) * _STEP_US,
        f"{found.kind}: {found.text}",
        "finding",
        scope="g",
    )
    return trace.as_dict()


def _middle(
    tracks: dict[str, Track], steps: Sequence[TimelineStep], number: int
) -> tuple[Track, float]:
    """Where an arrow begins or ends: within the slice of a step."""
    return tracks[steps[number].name], (number + 0.5) * _STEP_US
