"""A finding of race testing as a result: each actor's steps are a thread's flow."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from emu.errors import EmuError
from emu.formats.of_fuzz import OURS, Operations
from emu.formats.rules import rule_of_race
from emu.formats.sarif import Flow, Mistake, Spot
from emu.race.artifact import Artifact, read_artifact
from emu.race.build import build_simulation
from emu.race.sentences import OF_BUFFERS
from emu.race.timeline import Place, find_places, newest_values, shared_steps, step_text

#: A longer way to a finding is cut in front: what is wrong is at its end.
_STEPS_MAX = 300
_OF_CORE = PurePosixPath("/cext")
#: Of the core's rooms: the provider's own.
_KERNEL = _OF_CORE / "kernel"


def _spot(place: Place | None) -> Spot | None:
    if place is None or not place.line:
        return None
    return Spot(place.path, place.line, 0, place.function)


def _places(artifact: Artifact) -> dict[int, Place]:
    try:
        executable = build_simulation(artifact.bug, artifact.provider)
        return find_places(executable, artifact.found.places)
    except EmuError:  # the provider's source may have gone meanwhile
        return {}


def _is_providers(place: Place, artifact: Artifact) -> bool:
    path = PurePosixPath(place.path)
    if artifact.provider is None:
        return path.is_relative_to(_KERNEL)
    return not path.is_relative_to(_OF_CORE)


def _where(artifact: Artifact, places: Mapping[int, Place]) -> tuple[Spot, str]:
    """A spot in the provider, and what it means."""
    found = artifact.found
    own = places.get(found.place)
    if own is not None and own.line and _is_providers(own, artifact):
        return Spot(own.path, own.line, 0, own.function), "The line is where it shows."
    for step in reversed(found.steps):
        place = places.get(step.place)
        if place is not None and place.line and _is_providers(place, artifact):
            is_last = step is found.steps[-1]
            return (
                Spot(place.path, place.line, 0, place.function),
                "The line is where it shows."
                if is_last
                else f"The line is the last step in the provider before it shows, {step.name}'s.",
            )
    table = Operations(artifact.provider).table() if artifact.provider else Spot(OURS)
    return table, "No line is known: the location is the provider as a whole."


def _flows(artifact: Artifact, places: Mapping[int, Place]) -> tuple[Flow, ...]:
    found = artifact.found
    newest = newest_values(found.steps)
    numbers = shared_steps(found.steps)[-_STEPS_MAX:]
    flows = []
    for name in dict.fromkeys(found.steps[number].name for number in numbers):
        steps = tuple(
            (number, _spot(places.get(step.place)), step_text(step, newest[number],
                                                              artifact.memory))
            for number in numbers
            if (step := found.steps[number]).name == name
        )  # fmt: skip
        flows.append(Flow(name, steps))
    return tuple(flows)


def mistake_of_race(path: Path) -> Mistake:
    """A finding's file as a result.

    Raises:
        ConfigError: It cannot be read, or is damaged.
    """
    artifact = read_artifact(path)
    found = artifact.found
    places = _places(artifact)
    spot, meaning = _where(artifact, places)
    who = f"{artifact.actors[found.actor]}: " if 0 <= found.actor < len(artifact.actors) else ""
    again = f"zcrx-emu replay {shlex.quote(str(path))}"
    other = _spot(places.get(found.other_place))
    # The words of a mistake differ with the schedule that shows it: see Found.cause.
    words = "" if found.name in OF_BUFFERS else found.signature[1]
    return Mistake(
        rule=rule_of_race(found.name, found.kind),
        signature=f"{found.kind}:{words}",
        message=f"{who}{found.text}. {meaning} In the scenario {artifact.name}, memory model "
        f"{artifact.memory}, {found.switches} context switches. Again: {again}",
        spot=spot,
        related=() if other is None else ((other, "it races with this"),),
        flows=_flows(artifact, places),
        properties={
            "scenario": artifact.name,
            "kind": found.kind,
            "memory": str(artifact.memory),
            "foundBy": artifact.found_by,
            "again": again,
        },
    )
