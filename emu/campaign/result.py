"""What came of a piece, as a value of bounded size; read from what its command has written."""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emu.campaign.kinds import CORPUS, RESULT, RUN
from emu.campaign.order import Order
from emu.errors import EmuError
from emu.verdict.finding_file import read_json

#: Different findings of a piece at most, bytes of all their files, and of one.
FINDINGS_MAX = 16
FILES_MAX = 8 << 20
FILE_MAX = 4 << 20
#: New programs of a piece: how many, and how many bytes.
PROGRAMS_MAX = 4000
PROGRAM_BYTES_MAX = 2 << 20
#: The same of what a merge keeps.
MERGED_MAX = 100_000
MERGED_BYTES_MAX = 64 << 20
_SIGNATURE = 160
_WHAT = 400


class State(enum.StrEnum):
    """Where a piece is."""

    WAITING = "waiting"
    PASSED = "passed"
    FOUND = "found"  #: it was done, and there is a finding
    FAILED = "failed"  #: it could not be done


@dataclass(frozen=True, slots=True)
class Sighting:
    """A finding as one piece saw it.

    Attributes:
        signature: The same for findings of the same mistake, as far as words can tell.
        what: In words.
        replay: What ``zcrx-emu replay`` is given, as seen from the folder of its files; empty
            if only the piece itself repeats it.
        files: Contents by place.
        left_out: Files that would have been too much.
    """

    signature: str
    what: str
    replay: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a piece."""

    piece: str  #: its name
    state: State
    seconds: float
    worker: str = ""  #: the machine that it was done on
    why: str = ""  #: of one that failed
    figures: Mapping[str, float] = field(default_factory=dict)
    sightings: tuple[Sighting, ...] = ()
    programs: tuple[bytes, ...] = ()  #: new ones; of a merge, those that are kept


def plain(text: str) -> str:
    """A text without its numbers: what two sights of one mistake have in common."""
    short = re.sub(r"0x[0-9a-f]+|\d+(?:\.\d+)?", "N", text)
    return short[:_SIGNATURE]


class _Files:
    """Files of findings, as many as there is room for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._room = FILES_MAX

    def of(self, paths: Iterable[Path]) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Contents by place in the piece's folder; and what has no room."""
        taken, left = {}, []
        for path in paths:
            place = path.relative_to(self._folder).as_posix()
            size = path.stat().st_size
            if size > min(FILE_MAX, self._room):
                left.append(place)
                continue
            taken[place] = path.read_bytes()
            self._room -= len(taken[place])
        return taken, tuple(left)


def _within(folder: Path) -> list[Path]:
    """Files of a folder; those that say most in few bytes first."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(found, key=lambda path: (path.suffix not in (".json", ".txt"), str(path)))


Read = tuple[dict[str, float], list[Sighting], str]


def _of_stress(report: Any, folder: Path, files: _Files) -> Read:
    figures = {
        "packets": report["packets"]["delivered"],
        "bytes": report["bytes"]["delivered"],
        "entries": report["rqe"]["consumed"],
    }
    if report["ok"]:
        why = "it was interrupted" if report["ended"] == "interrupted" else ""
        return figures, [], why
    problems = [str(line) for line in report["problems"]]
    kind = report["explanation"][0]["kind"] if report["explanation"] else problems[0].split(":")[0]
    said = next((line for line in problems if line.startswith(kind)), problems[0])
    signature = str(kind)
    if mismatches := report["reconciliation"]["mismatches"]:
        signature += f": {mismatches[0]['intent']} earned {mismatches[0]['verdict']}"
    run, left = files.of(_within(folder / RUN))
    return figures, [Sighting(plain(signature), said[:_WHAT], RUN, run, left)], ""


def _of_fuzz(summary: Any, folder: Path, files: _Files) -> Read:
    figures = {name: summary[name] for name in ("executions", "edges", "corpus")}
    sightings = _programs_found(summary, folder, files)
    why = "it was interrupted" if summary["interrupted"] else ""
    return figures, sightings, why or ("" if summary["executions"] else "nothing was executed")


def _of_merge(summary: Any, folder: Path, files: _Files) -> Read:
    figures = {name: summary[name] for name in ("given", "kept", "edges", "features")}
    return figures, _programs_found(summary, folder, files), ""


def _programs_found(summary: Any, folder: Path, files: _Files) -> list[Sighting]:
    """Findings of fuzz, each in a file of its own."""
    sightings = []
    for item in summary["findings"][:FINDINGS_MAX]:
        place = Path(item["file"])
        taken, left = files.of([folder / place] if (folder / place).is_file() else [])
        what = f"{item['signature']} in {item['operations']} operations"
        replay = place.as_posix() if taken else ""
        sightings.append(
            Sighting(item["signature"][:_SIGNATURE], what[:_WHAT], replay, taken, left)
        )
    return sightings


def _of_race(summary: Any, folder: Path, files: _Files) -> Read:
    if "executions" in summary:
        return _of_live(summary)
    done = summary["scenarios"]
    figures = {
        "executions": sum(item["schedules"] for item in done),
        "complete": sum(bool(item["complete"]) for item in done),
    }
    sightings: dict[str, Sighting] = {}
    for item in done:
        if (found := item["finding"]) is None:
            continue
        place = Path(found["file"])
        signature = f"{item['scenario']}: {found['kind']}: {plain(found['text'])}"
        if signature not in sightings and len(sightings) < FINDINGS_MAX:
            taken, left = files.of([folder / place] if (folder / place).is_file() else [])
            replay = place.as_posix() if taken else ""
            what = f"{item['scenario']}: {found['text']}"[:_WHAT]
            sightings[signature] = Sighting(signature, what, replay, taken, left)
    why = "it was interrupted" if summary["interrupted"] else ""
    return figures, list(sightings.values()), why or ("" if done else "no scenario was tried")


def _of_live(result: Any) -> Read:
    figures = {"executions": result["executions"], "packets": result["delivered"]}
    sightings = []
    if result["hits"]:
        first = result["first"]
        kinds = ", ".join(sorted(result["kinds"]))
        what = "; ".join(first["problems"])[:_WHAT]
        sightings.append(Sighting(f"live {result['scenario']}: {plain(kinds)}", what))
    why = "it was interrupted" if result["is_partial"] else ""
    return figures, sightings, why or ("" if result["executions"] else "nothing was executed")


def _of_check(summary: Any, folder: Path, files: _Files) -> Read:
    figures = {"tools": summary["asked"]}
    sightings: dict[str, Sighting] = {}
    for tool in summary["tools"]:
        for found in tool["found"]:
            # Of fuzz that is a signature; of the others words follow behind what it is.
            what = found["what"] if tool["tool"] == "fuzz" else found["what"].partition(":")[0]
            signature = f"{tool['tool']}: {plain(what)}"
            if signature in sightings or len(sightings) >= FINDINGS_MAX:
                continue
            path = folder / found["where"]
            taken, left = files.of(_within(path) if path.is_dir() else [path])
            replay = path.relative_to(folder).as_posix() if taken else ""
            sightings[signature] = Sighting(signature, found["what"][:_WHAT], replay, taken, left)
    why = "it was interrupted" if summary["interrupted"] else ""
    if summary["failed"]:
        why = why or f"{summary['failed']} tools could not look"
    return figures, list(sightings.values()), why


_READERS: Mapping[str, Callable[[Any, Path, _Files], Read]] = {
    "stress": _of_stress,
    "fuzz": _of_fuzz,
    "race": _of_race,
    "check": _of_check,
}


def new_programs(
    folder: Path,
    known: Sequence[bytes],
    most: int = PROGRAMS_MAX,
    bytes_most: int = PROGRAM_BYTES_MAX,
) -> tuple[bytes, ...]:
    """Programs that a piece's corpus has and was not given; the shortest, if there are many."""
    given = {hashlib.sha256(program).digest() for program in known}
    found: dict[bytes, bytes] = {}
    sized = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            sized.append((path.stat().st_size, path.name, path))
    room = bytes_most
    for size, _, path in sorted(sized):
        if len(found) >= most or size > room:
            break
        data = path.read_bytes()
        digest = hashlib.sha256(data).digest()
        if digest not in given and digest not in found:
            found[digest] = data
            room -= size
    return tuple(found.values())


def read_result(order: Order, folder: Path, code: int, said: str, seconds: float) -> Result:
    """Read what a command has left.

    Args:
        order: What it was to do.
        folder: The piece's folder.
        code: How the command ended; negative: by which signal.
        said: The last of its words for people.
        seconds: How long it took.
    """
    piece = order.piece

    def failed(why: str) -> Result:
        return Result(piece, State.FAILED, seconds, why=why[:_WHAT])

    if code not in (0, 1):
        how = f"signal {-code}" if code < 0 else f"code {code}"
        return failed(said or f"the command ended with {how} and without a word")
    try:
        value = read_json(folder / RESULT)
        read = _of_merge if order.merges else _READERS[order.command]
        figures, sightings, why = read(value, folder, _Files(folder))
        found: tuple[bytes, ...] = ()
        if order.merges:
            found = new_programs(folder / CORPUS, (), MERGED_MAX, MERGED_BYTES_MAX)
        elif order.command == "fuzz":
            found = new_programs(folder / CORPUS, order.programs)
    except (OSError, ValueError, KeyError, TypeError, EmuError) as error:
        return failed(f"its report cannot be read: {type(error).__name__}: {error}")
    if code == 1 and not sightings:
        return failed("it ended with 1 and its report has no finding")
    if code == 0 and sightings:
        return failed("it ended with 0 and its report has a finding")
    if why and not sightings:
        return failed(why)
    state = State.FOUND if sightings else State.PASSED
    return Result(
        piece,
        state,
        seconds,
        figures=figures,
        sightings=tuple(sightings),
        programs=found,
    )
