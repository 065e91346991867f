"""KTAP, version 1: the kernel's format for what was tested and what came of it.

A test that could not be asked is skipped, with the reason; one that should have been asked and
could not is an error, which is no pass. A test with parts fails if one of them does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

VERSION_LINE = "KTAP version 1"
#: Of a line; a log has no use for longer ones.
_WIDTH = 400
#: Pieces of a job that could not be done; all are in the campaign's store.
_UNDONE_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Tried:
    """A test, and what came of it.

    Attributes:
        name: In words; what a name cannot have is left out of it.
        is_good: Whether nothing was found.
        directive: ``SKIP`` or ``ERROR``, or empty.
        why: Beside it.
        said: Lines about it, before its result.
        parts: Tests that it consists of.
    """

    name: str
    is_good: bool = True
    directive: str = ""
    why: str = ""
    said: tuple[str, ...] = ()
    parts: tuple[Tried, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Its result, with that of its parts."""
        return self.is_good and all(part.is_ok for part in self.parts)


def skipped(name: str, why: str) -> Tried:
    """One that was not asked."""
    return Tried(name, directive="SKIP", why=why)


def _line(text: str) -> str:
    words = "".join(char if char.isprintable() else " " for char in text)
    words = " ".join(words.split())
    return words if len(words) <= _WIDTH else f"{words[: _WIDTH - 4]} ..."


def _name(text: str) -> str:
    """A description: words, and no directive."""
    return _line(text.replace("#", " "))


def _lines(tests: Sequence[Tried], name: str | None, indent: str) -> Iterator[str]:
    yield f"{indent}{VERSION_LINE}"
    if name is not None:
        yield f"{indent}# Subtest: {_name(name)}".rstrip()
    yield f"{indent}1..{len(tests)}"
    for number, test in enumerate(tests, 1):
        if test.parts:
            yield from _lines(test.parts, test.name, f"{indent}  ")
        for text in test.said:
            yield f"{indent}# {_line(f'{test.name}: {text}')}"
        result = f"{'ok' if test.is_ok else 'not ok'} {number} {_name(test.name)}".rstrip()
        directive = f" # {test.directive} {_line(test.why)}".rstrip() if test.directive else ""
        yield f"{indent}{result}{directive}"


def ktap_text(tests: Sequence[Tried]) -> str:
    """All of it as text."""
    return "\n".join(_lines(tests, None, "")) + "\n"


# ---- from what commands write -----------------------------------------------------------


def _scenario(item: Mapping[str, Any]) -> Tried:
    """A scenario that was searched, from what ``race --json`` says of it."""
    name, found, count = item["scenario"], item["finding"], item["schedules"]
    how = "all of it" if item["complete"] else f"{100 * item['share']:.2g} % of it, about"
    said = f"{count} executions, {how}"
    if found is not None:
        again = f"zcrx-emu replay {found['file']}"
        return Tried(name, False, said=(said, f"{found['kind']}: {found['text']}", again))
    if item["interrupted"]:
        return Tried(name, directive="SKIP", why="interrupted before its time", said=(said,))
    if not count:
        return skipped(name, "nothing was looked at in this time")
    return Tried(name, said=(said,))


def search_tests(summary: Mapping[str, Any]) -> list[Tried]:
    """A test for each scenario, from what ``race --json`` writes."""
    return [
        *map(_scenario, summary["scenarios"]),
        *(skipped(item["scenario"], item["why"]) for item in summary["untried"]),
    ]


def _tool(item: Mapping[str, Any]) -> Tried:
    name, found = item["tool"], item["found"]
    if item["failed"]:
        return Tried(name, False, "ERROR", item["why_not"])
    if item["why_not"] is not None:
        return skipped(name, item["why_not"])
    said = [f"looked at {item['looked_at']} in {item['seconds']:.1f} s"]
    for one in found:
        said += [one["what"], one["again"]]
    parts = tuple(_part(part) for part in item["parts"])
    if item["interrupted"] and not found:
        why = "interrupted before its time"
        return Tried(name, directive="SKIP", why=why, said=tuple(said), parts=parts)
    return Tried(name, not found, said=tuple(said), parts=parts)


def _part(item: Mapping[str, Any]) -> Tried:
    if item["is_good"] is None:
        return skipped(item["name"], item["text"])
    return Tried(item["name"], item["is_good"], said=(item["text"],))


def check_tests(summary: Mapping[str, Any]) -> list[Tried]:
    """A test for each tool, from ``check.json``; those of ``race`` have its scenarios as parts."""
    asked = [_tool(item) for item in summary["tools"]]
    return asked + [skipped(name, "interrupted before it was its turn") for name in summary["left"]]


def _cell(item: Mapping[str, Any], name: str, why_not: str) -> Tried:
    """A cell of a campaign: its pieces together."""
    passed, found, failed, waiting = (
        item[state] for state in ("passed", "found", "failed", "waiting")
    )
    pieces = passed + found + failed + waiting
    figures = ", ".join(f"{key} {value}" for key, value in item["figures"].items())
    said = f"{passed} of {pieces} pieces passed" + (f"; {figures}" if figures else "")
    if found:
        return Tried(name, False, said=(said, f"{found} found something"))
    if failed:
        return Tried(name, False, "ERROR", f"{failed} could not be done", (said,))
    if waiting or not pieces:
        return Tried(name, directive="SKIP", why=f"{waiting} not done{why_not}", said=(said,))
    return Tried(name, said=(said,))


def _job(name: str, summary: Mapping[str, Any], why_not: str) -> Tried:
    cells = [item for item in summary["cells"] if item["job"] == name]
    command = cells[0]["command"]
    undone = [item for item in summary["failed"] if item["job"] == name]
    said = [f"not done: {item['again']}: {item['why']}" for item in undone[:_UNDONE_SHOWN]]
    if any(item["found"] for item in cells):
        for one in summary["findings"]:  # which cell saw it first is not kept, its command is
            if one["command"] == command:
                said += [one["what"], one["again"]]
    if len(cells) == 1 and not cells[0]["cell"]:
        only = _cell(cells[0], name, why_not)
        return replace(only, said=(*only.said, *said))
    parts = [
        _cell(item, " ".join(f"{key}={value}" for key, value in item["cell"].items()), why_not)
        for item in cells
    ]
    if all(part.directive == "SKIP" for part in parts):
        return Tried(name, directive="SKIP", why=f"none was done{why_not}", parts=tuple(parts))
    return Tried(name, said=tuple(said), parts=tuple(parts))


def campaign_tests(summary: Mapping[str, Any], why_not: str) -> list[Tried]:
    """A test for each job of a campaign, and one within it for each cell of its matrix.

    Args:
        summary: What ``campaign --json`` writes.
        why_not: Why what was not done was not, in words; empty if that is not known.
    """
    names = dict.fromkeys(item["job"] for item in summary["cells"])
    why_not = why_not and f": {why_not}"
    return [_job(name, summary, why_not) for name in names]
