"""A finding as a table: a column for each actor, a row for each step, where it is in the source.

Places come from the debug information of the program, by ``addr2line`` or ``llvm-symbolizer``;
without one of them addresses are shown.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from emu.race.runner import Found, Memory, TimelineStep

#: They are how something is accessed, never why: their callers are shown.
_ACCESSORS = ("shm.h", "lock.h", "zcrx_provider.h")
#: Symbolizers, with what makes them answer in the same way.
_SYMBOLIZERS = (
    ("addr2line", ("-a", "-f", "-i", "-e")),
    ("llvm-symbolizer", ("--output-style=GNU", "-a", "-f", "-i", "-e")),
    ("llvm-addr2line", ("-a", "-f", "-i", "-e")),
)
#: Of a line of the short timeline.
_WIDTH = 100
_ELF_EXECUTABLE = 2  # at a fixed address, unlike most programs of today


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the source; ``line`` is 0 and ``file`` an address when nobody knows."""

    file: str  #: its name
    line: int
    function: str
    path: str = ""  #: as the compiler was given it; of the core, from ``/cext`` on

    @property
    def text(self) -> str:
        """As compilers write it."""
        return f"{self.file}:{self.line}" if self.line else self.file


def _base(executable: Path) -> int:
    """What to add to an offset from the program's start to get an address of its symbols."""
    head = executable.read_bytes()[:4096]
    if len(head) < 64 or struct.unpack_from("<H", head, 16)[0] != _ELF_EXECUTABLE:
        return 0
    table, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
    loads = []
    for at in range(table, min(table + size * count, len(head) - 56), size):
        if struct.unpack_from("<I", head, at)[0] == 1:
            loads.append(struct.unpack_from("<Q", head, at + 16)[0])
    return min(loads, default=0)


def _of_frames(frames: list[tuple[str, str]], *, outermost: bool) -> Place | None:
    """Of the frames that were made one by inlining the first that is no accessor, or the last."""
    places = []
    for function, where in frames:
        file, _, rest = where.partition(" ")[0].rpartition(":")
        if rest.isdecimal() and int(rest) > 0 and not file.startswith("?"):
            places.append(Place(Path(file).name, int(rest), function, file))
    if outermost:
        return places[-1] if places else None
    for place in places:
        if place.file not in _ACCESSORS:
            return place
    return places[0] if places else None


def _parse(output: str, *, outermost: bool) -> list[Place | None]:
    """Blocks of an address and pairs of lines: function, file and line."""
    blocks: list[list[str]] = []
    for line in output.splitlines():
        if line.startswith("0x"):
            blocks.append([])
        elif blocks:
            blocks[-1].append(line.strip())
    return [
        # A last line may be missing.
        _of_frames(list(zip(block[::2], block[1::2], strict=False)), outermost=outermost)
        for block in blocks
    ]


def find_places(
    executable: Path, offsets: Iterable[int], *, outermost: bool = False
) -> dict[int, Place]:
    """Find source lines of return addresses, given from the program's start.

    Args:
        executable: A program or a library.
        offsets: From its start.
        outermost: Of functions that were made one, name the one that was called.
    """
    wanted = sorted({offset for offset in offsets if offset})
    found = {offset: Place(f"+{offset:#x}", 0, "") for offset in wanted}
    # A return address is behind the call: one less is inside.
    base = _base(executable) - 1
    addresses = [f"{base + offset:#x}" for offset in wanted]
    # Of a function in a file that another one includes addr2line may name the wrong one.
    for name, options in reversed(_SYMBOLIZERS) if outermost else _SYMBOLIZERS:
        path = shutil.which(name)
        if path is None or not wanted:
            continue
        command = [path, *options, str(executable), *addresses]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        places = _parse(answer.stdout, outermost=outermost)
        if answer.returncode == 0 and len(places) == len(wanted):
            known = zip(wanted, places, strict=True)
            return found | {offset: place for offset, place in known if place}
    return found


def _value(value: int) -> str:
    return str(value) if value < 10**6 else f"{value:#x}"


def step_text(step: TimelineStep, newest: int | None, memory: Memory) -> str:
    """What was done to which word: ``user refs of niov 0: 1 → 0``."""
    before, after = _value(step.before), _value(step.after)
    word = f"{step.word}: "
    match step.kind:
        case "load" if step.choice:
            now = "" if newest is None else f", now {_value(newest)}"
            return f"{word}reads {before} (stale{now})"
        case "load":
            return f"{word}reads {before}"
        case "store" if memory is Memory.TSO:
            return f"{word}{after} into its store buffer"
        case "store":
            return f"{word}{before} → {after}"
        case "drain":
            return f"{word}{before} → {after} reaches memory"
        case "exchange" if step.changed:
            return f"{word}{before} ⇒ {after}"
        case "exchange":
            return f"{word}is {before}, not exchanged"
        case "sleep":
            slept = "sleeps" if step.before == step.after else "does not sleep"
            return f"{word}{slept} ({before}, expected {after})"
        case "wake":
            return f"{word}wakes {after}"
    return "fence (all before it is visible)" if step.kind == "fence" else step.kind


def shared_steps(steps: Sequence[TimelineStep]) -> list[int]:
    """Steps of words that more than one actor touched, fences, and the last step."""
    who: dict[int, set[str]] = {}
    actors = {step.name for step in steps}
    for step in steps:
        # The drains of an actor's buffer have a number of their own, but its name.
        who.setdefault(step.offset, set()).add(step.name)
    return [
        number
        for number, step in enumerate(steps)
        if len(actors) == 1
        or step.offset < 0
        or len(who[step.offset]) > 1
        or number == len(steps) - 1
    ]


def newest_values(steps: Sequence[TimelineStep]) -> list[int | None]:
    """What stood in each step's word before it, as far as the steps tell."""
    newest: dict[int, int] = {}
    values = []
    for step in steps:
        values.append(newest.get(step.offset))
        if step.kind == "drain" or (step.changed and step.kind in ("store", "exchange")):
            newest[step.offset] = step.after
    return values


def timeline(
    found: Found,
    actors: Sequence[str],
    memory: Memory,
    places: dict[int, Place],
    *,
    all_steps: bool = False,
) -> Table:
    """Build the table; a line is drawn wherever another actor goes on."""
    table = Table(header_style="bold")
    table.add_column("", justify="right", no_wrap=True)
    for actor in actors:
        table.add_column(actor, overflow="fold", ratio=1)
    shown = range(len(found.steps)) if all_steps else shared_steps(found.steps)
    newest = newest_values(found.steps)
    last_actor = None
    for number in shown:
        step = found.steps[number]
        if last_actor is not None and last_actor != step.name:
            table.add_section()
        last_actor = step.name
        place = places.get(step.place)
        is_last = number == len(found.steps) - 1
        cell = Text(overflow="fold")
        if place is not None:
            cell.append(f"{place.text} {place.function}".rstrip() + "\n", style="cyan")
        style = "bold red" if is_last else "yellow" if step.choice else ""
        cell.append(step_text(step, newest[number], memory), style=style)
        row = [cell if actor == step.name else Text() for actor in actors]
        table.add_row(str(number), *row)
    return table


def short_timeline(
    found: Found, memory: Memory, places: dict[int, Place], lines_max: int
) -> list[str]:
    """The last steps that concern more than one actor: a line each, while there is room."""
    numbers = shared_steps(found.steps)
    newest = newest_values(found.steps)
    kept = numbers[-lines_max:]
    names = max((len(found.steps[number].name) for number in kept), default=0)
    lines = []
    for number in kept:
        step = found.steps[number]
        place = places.get(step.place)
        where = "" if place is None else f"{place.text} {place.function}".rstrip()
        what = step_text(step, newest[number], memory)
        lines.append(f"{number:>5} {step.name:<{names}}  {what:<40}  {where}"[:_WIDTH].rstrip())
    left_out = len(found.steps) - len(kept)
    if left_out:
        lines.append(f"      … {left_out} more steps: 'zcrx-emu replay --all-steps FILE'")
    return lines


def print_words(
    console: Console, found: Found, actors: Sequence[str], places: dict[int, Place]
) -> None:
    """Say what is wrong, and where."""
    who = f"{actors[found.actor]}: " if 0 <= found.actor < len(actors) else ""
    console.print(f"[bold red]{found.kind}[/]: {escape(who + found.text)}", highlight=False)
    for word, offset in (("at", found.place), ("the other is at", found.other_place)):
        if place := places.get(offset):
            console.print(f"{word} {place.text} {place.function}", highlight=False, markup=False)


def print_timeline(
    console: Console,
    found: Found,
    actors: Sequence[str],
    memory: Memory,
    places: dict[int, Place],
    *,
    all_steps: bool = False,
) -> None:
    """Show a finding: the table, then what is wrong."""
    if found.steps:
        console.print(timeline(found, actors, memory, places, all_steps=all_steps))
    hidden = 0 if all_steps else len(found.steps) - len(shared_steps(found.steps))
    if hidden:
        console.print(
            f"{hidden} steps on words that nobody else touches are left out (--all-steps)",
            highlight=False,
        )
    print_words(console, found, actors, places)
