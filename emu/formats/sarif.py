"""SARIF 2.1.0: the objects of a log, as plain values.

Libraries of its object model are no longer looked after, or want more than they give: a log is
JSON, and the tests hold it against the standard's schema.
"""

from __future__ import annotations

import hashlib
import os
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from emu.compile.ondemand import core_sources
from emu.formats.rules import RULES
from emu.host.places import absolute

VERSION = "2.1.0"
_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
#: Where a path begins that is relative: the repository that one stands in, else the folder.
ROOT = "%SRCROOT%"
#: The same of this project's own sources, wherever they are.
OURS = "ZCRX_EMU"
#: What compilers are told that they are (:func:`emu.compile.ondemand.compile_core`).
_MAPPED = PurePosixPath("/cext")
_FINGERPRINT = "zcrxEmuMistake/v1"


@dataclass(frozen=True, slots=True)
class Spot:
    """Lines of a file.

    Attributes:
        path: As the compiler or the user named it.
        line: The first one; 0: the whole file.
        last: The last one; 0: there is only one.
        function: That they are in, or empty.
    """

    path: str
    line: int = 0
    last: int = 0
    function: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """What one actor did: of each step its number among all, its spot, what it was."""

    actor: str
    steps: tuple[tuple[int, Spot | None, str], ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A finding as a result.

    Attributes:
        rule: One of :data:`emu.formats.rules.RULES`.
        signature: The same mistake has the same one, in another run, too.
        message: Sentences; the first one says what is wrong.
        spot: Where.
        related: More spots, with what they are.
        flows: How it came to it.
        properties: What else is known.
    """

    rule: str
    signature: str
    message: str
    spot: Spot
    related: tuple[tuple[Spot, str], ...] = ()
    flows: tuple[Flow, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be said of the work itself.

    Attributes:
        kind: One of :data:`NOTES`.
        text: In words.
    """

    kind: str
    text: str


#: Kinds of notes: their levels, and what they mean.
NOTES = {
    "looked-at": ("note", "How much a tool looked at; without a result it found nothing in that."),
    "left-out": ("note", "What a tool cannot be asked, and why."),
    "interrupted": ("warning", "The work was interrupted: what was not looked at shows nothing."),
    "failed": ("error", "A tool should have looked, and could not."),
}


def _root() -> Path:
    """The repository that one stands in, or the folder."""
    here = Path(os.path.realpath(absolute("")))
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            return folder
    return here


def _quoted(path: str) -> str:
    return urllib.parse.quote(os.fsencode(path), safe="/")


def _place(path: str) -> dict[str, str]:
    """A file as an ``artifactLocation``."""
    root = _root()
    if PurePosixPath(path).is_relative_to(_MAPPED):
        inside = PurePosixPath(path).relative_to(_MAPPED)
        real = Path(os.path.realpath(core_sources() / inside))
        if not real.is_relative_to(root):
            return {"uri": _quoted(f"cext/{inside}"), "uriBaseId": OURS}
    else:
        real = Path(os.path.realpath(path))
    if real.is_relative_to(root):
        return {"uri": _quoted(str(real.relative_to(root))), "uriBaseId": ROOT}
    return {"uri": real.as_uri()}


def _physical(spot: Spot) -> dict[str, Any]:
    values: dict[str, Any] = {"artifactLocation": _place(spot.path)}
    if spot.line:
        values["region"] = {"startLine": spot.line}
        if spot.last > spot.line:
            values["region"]["endLine"] = spot.last
    return values


def _location(spot: Spot | None, text: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    if spot is not None:
        values["physicalLocation"] = _physical(spot)
        if spot.function:
            values["logicalLocations"] = [{"name": spot.function, "kind": "function"}]
    return values | ({"message": {"text": text}} if text else {})


def _flow(flow: Flow) -> dict[str, Any]:
    return {
        "id": flow.actor,
        "message": {"text": f"what {flow.actor} did"},
        "locations": [
            {"executionOrder": number + 1, "location": _location(spot, text)}
            for number, spot, text in flow.steps
        ],
    }


def _fingerprint(mistake: Mistake, target: str) -> str:
    """Of what is wrong with which file: lines may move, and runs show it in another place."""
    parts = (mistake.rule, mistake.signature, target)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _result(mistake: Mistake, rules: Sequence[str], count: int, target: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "ruleId": mistake.rule,
        "ruleIndex": rules.index(mistake.rule),
        "level": "error",
        "kind": "fail",
        "message": {"text": mistake.message},
        "locations": [_location(mistake.spot)],
        "partialFingerprints": {_FINGERPRINT: _fingerprint(mistake, target)},
        "occurrenceCount": count,
        "properties": dict(mistake.properties),
    }
    if mistake.related:
        values["relatedLocations"] = [
            {"id": number, **_location(spot, text)}
            for number, (spot, text) in enumerate(mistake.related, 1)
        ]
    if mistake.flows:
        values["codeFlows"] = [{"threadFlows": [_flow(flow) for flow in mistake.flows]}]
    return values


def _descriptor(name: str) -> dict[str, Any]:
    rule = RULES[name]
    return {
        "id": rule.name,
        "name": "".join(word.capitalize() for word in rule.name.replace("/", "-").split("-")),
        "shortDescription": {"text": rule.short},
        "fullDescription": {"text": rule.full},
        "help": {"text": f"{rule.full} 'zcrx-emu replay' shows a finding again."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["correctness", rule.name.partition("/")[0]]},
    }


def _noted(kind: str) -> dict[str, Any]:
    """A kind of notes; hosts of code want the same words of it three times."""
    words = {"text": NOTES[kind][1]}
    return {"id": kind, "shortDescription": words, "fullDescription": words, "help": words}


def _notification(note: Note) -> dict[str, Any]:
    return {
        "descriptor": {"id": note.kind},
        "level": NOTES[note.kind][0],
        "message": {"text": note.text},
    }


def _folded(mistakes: Iterable[Mistake]) -> list[tuple[Mistake, int]]:
    """Each mistake once, as it was seen first, and how often it was seen."""
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], Mistake] = {}
    for mistake in mistakes:
        key = (mistake.rule, mistake.signature)
        first.setdefault(key, mistake)
        counts[key] = counts.get(key, 0) + 1
    return [(mistake, counts[key]) for key, mistake in first.items()]


def log(
    command: str,
    target: str,
    mistakes: Sequence[Mistake],
    notes: Sequence[Note],
    *,
    tools: Iterable[str],
    properties: Mapping[str, Any],
) -> dict[str, Any]:
    """Make a log of one run.

    Args:
        command: That did it: ``check``, ``fuzz`` or ``race``.
        target: The file that was looked at.
        mistakes: What was found.
        notes: How much was looked at, and what was not.
        tools: Whose rules there are: ``fuzz``, ``race``, ``run``.
        properties: Of the work: seed, kernel, time.
    """
    wanted = tuple(f"{tool}/" for tool in tools)
    rules = [name for name in RULES if name.startswith(wanted)]
    folded = _folded(mistakes)
    ended = not any(note.kind in ("failed", "interrupted") for note in notes)
    place = _place(target)
    # Of a file that is elsewhere the name alone: an upload from another machine is the same work.
    name = place["uri"] if "uriBaseId" in place else place["uri"].rpartition("/")[2]
    run = {
        "tool": {
            "driver": {
                "name": "zcrx-emu",
                "version": version("zcrx-emu"),
                "shortDescription": {"text": "Linux io_uring zero-copy receive in user space."},
                "rules": [_descriptor(name) for name in rules],
                "notifications": [_noted(kind) for kind in NOTES],
            }
        },
        "automationDetails": {"id": f"zcrx-emu/{command}/{name}/"},
        "columnKind": "utf16CodeUnits",
        "originalUriBaseIds": {
            ROOT: {"uri": f"{_root().as_uri().rstrip('/')}/"},
            OURS: {"description": {"text": "The sources of zcrx-emu itself."}},
        },
        "artifacts": [{"location": place, "roles": ["analysisTarget"]}],
        "invocations": [
            {
                "executionSuccessful": ended,
                "workingDirectory": {"uri": f"{Path(absolute('')).as_uri().rstrip('/')}/"},
                "toolExecutionNotifications": [_notification(note) for note in notes],
                "properties": dict(properties),
            }
        ],
        "results": [_result(mistake, rules, count, name) for mistake, count in folded],
    }
    return {"$schema": _SCHEMA, "version": VERSION, "runs": [run]}
