"""A finding of fuzzing as a result: which lines of the provider it leads to, and how that is known.

A program is wrong in what it does, not in a line. So each location says what it is: where a
sanitizer stopped it; what the failing operation ran, if that can be counted; else what such an
operation calls.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emu.compile.provider_file import is_source
from emu.errors import EmuError
from emu.formats.operations import operations_of, table_line
from emu.formats.rules import rule_of_fuzz
from emu.formats.sarif import Mistake, Spot
from emu.fuzz.finding import Finding, read_finding
from emu.fuzz.harness import Target
from emu.fuzz.touched import stretches, touched_by
from emu.race.timeline import Place
from emu.verdict.finding_file import read_json

#: What an operation of a program calls, by its word.
_CALLS = {
    "alloc": "alloc_netmems",
    "refill": "alloc_netmems",
    "flush": "alloc_netmems",
    "copy": "copy_buffer",
    "scrub": "scrub",
    "drop": "release_netmem",
    "restart": "init",
    "recreate": "init",
    "wrong-pool": "init",
    "destroy": "destroy",
    "retry": "destroy",
}
#: Our own provider, as the compiler knows it.
OURS = "/cext/kernel/provider.c"
#: A sanitizer's frame with a place, and its word on undefined behaviour.
_FRAME = re.compile(r"^\s*#\d+ \S+ in (?P<function>\S+) (?P<path>/.+?):(?P<line>\d+)(:\d+)?$", re.M)
_UNDEFINED = re.compile(r"^(?P<path>/.+?):(?P<line>\d+):\d+: runtime error: (?P<why>.+)$", re.M)
_STEPS_SHOWN = 12
_RELATED_MAX = 60


class Operations:
    """Where the operations of a file are; looked for once, when somebody asks."""

    def __init__(self, file: Path | None, kind: str = "provider") -> None:
        self.file = file
        self._kind = kind
        self._places: dict[str, Place] | None = None

    @property
    def places(self) -> dict[str, Place]:
        """By the names of the table's members."""
        if self._places is None:
            self._places = {} if self.file is None else operations_of(self.file, self._kind)
        return self._places

    def spot(self, name: str) -> Spot | None:
        """Where one begins, if that is known."""
        place = self.places.get(name)
        return None if place is None else Spot(place.path, place.line, 0, place.function)

    def table(self) -> Spot:
        """Where all are named; the file, if that cannot be seen."""
        if self.file is None:
            return Spot(OURS)
        return Spot(str(self.file), table_line(self.file, self._kind))


def _crashed_at(report: str, file: Path | None) -> Spot | None:
    """The first place of a sanitizer's report that is in the provider."""
    for match in (*_UNDEFINED.finditer(report), *_FRAME.finditer(report)):
        path = match["path"]
        is_ours = path.startswith("/cext/")
        if is_ours if file is None else not is_ours and Path(path).suffix == file.suffix:
            function = match.groupdict().get("function") or ""
            return Spot(path, int(match["line"]), 0, function)
    return None


def _touched(
    finding: Finding, step: int, operations: Operations
) -> tuple[Spot, list[tuple[Spot, str]]] | None:
    """What the operation ran: where that begins, and its lines."""
    target = finding.target
    if finding.before or (target.provider is not None and not is_source(target.provider)):
        return None
    try:
        ran = touched_by(target, finding.program, step)
    except EmuError:  # nothing here counts
        return None
    if not ran.lines:
        return None

    def path_of(name: str) -> str:
        return f"/cext/kernel/{name}" if target.provider is None else str(target.provider)

    related = [
        (Spot(path_of(name), first, last), "the failing operation ran this")
        for name in sorted({name for name, _ in ran.lines})
        for first, last in stretches([line for file, line in ran.lines if file == name])
    ]
    called = {place.function for place in operations.places.values()} & ran.functions.keys()
    # Ours have no table; of functions that call each other, the last one in a file is the outer.
    entered = called or ran.functions.keys()
    if not entered:
        return None
    name = max(entered, key=lambda item: ran.functions[item])
    file, line = ran.functions[name]
    return Spot(path_of(file), line, 0, name), related[:_RELATED_MAX]


def _where(
    finding: Finding, value: Mapping[str, Any], operations: Operations
) -> tuple[Spot, str, list[tuple[Spot, str]]]:
    """A spot, what it means, and more of them."""
    crashed = _crashed_at(value["report"], finding.target.provider)
    if crashed is not None:
        return crashed, "The line is where a sanitizer stopped it.", []
    touched = _touched(finding, value["step"], operations)
    if touched is not None:
        spot, related = touched
        return (
            spot,
            f"The line is where {spot.function}() begins, which the failing operation entered; the "
            "related lines are those that it ran. Which of them is wrong is not known.",
            related,
        )
    called = operations.spot(_CALLS.get(_word(value), ""))
    if called is not None:
        return (
            called,
            f"The line is where {called.function}() begins, which such an operation may call; "
            "which lines ran is not known.",
            [],
        )
    return operations.table(), "No line is known: the location is the provider as a whole.", []


def _word(value: Mapping[str, Any]) -> str:
    """The kind of the operation that failed."""
    for step in value["steps"]:
        if step["number"] == value["step"]:
            words = str(step["operation"]).partition(": ")
            return (words[2] if words[0].startswith("queue ") else words[0]).split()[0]
    return ""


def _program(value: Mapping[str, Any]) -> str:
    steps = [f"{step['number']} {step['operation']}" for step in value["steps"]]
    left = len(steps) - _STEPS_SHOWN
    more = [f"... {left} operations before"] if left > 0 else []
    return "; ".join([*more, *steps[-_STEPS_SHOWN:]])


def _what(value: Mapping[str, Any]) -> str:
    meaning, what = str(value["meaning"]), str(value["what"])
    text = what if meaning in ("", what) else f"{meaning}: {what}"
    if value["expected"] and value["outcome"] == "finding":
        text += f" was {value['actual']} instead of {value['expected']}"
    return f"{text[:1].upper()}{text[1:]}."


def mistake_of_fuzz(path: Path, operations: Operations | None = None) -> Mistake:
    """A finding's file as a result.

    Raises:
        ConfigError: It cannot be read, or is damaged.
        KeyError, TypeError, ValueError, OSError: It lacks what such a file has.
    """
    finding = read_finding(path)
    value: Any = read_json(path)
    operations = operations or Operations(finding.target.provider)
    spot, meaning, related = _where(finding, value, operations)
    again = f"zcrx-emu replay {shlex.quote(str(path))}"
    return Mistake(
        rule=rule_of_fuzz(value["signature"]),
        signature=value["signature"],
        message=f"{_what(value)} {meaning} The program: {_program(value)}. Again: {again}",
        spot=spot,
        related=tuple(related),
        properties={
            "signature": value["signature"],
            "instance": value["shape"],
            "steps": [step["operation"] for step in value["steps"]],
            "foundBy": value["found_by"],
            "again": again,
        },
    )


def target_path(target: Target) -> str:
    """The file that is looked at, as a compiler names it."""
    return OURS if target.provider is None else str(target.provider)
