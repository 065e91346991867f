"""A reader of KTAP that goes by the letter of its description, and forgives nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_RESULT = re.compile(
    r"(ok|not ok) (\d+)(?: ([^#]+?))?(?: # (?:(SKIP|ERROR|TIMEOUT|XFAIL)\b ?)?(.*))?"
)


@dataclass
class Result:
    """A test as a reader sees it."""

    name: str
    is_ok: bool
    directive: str
    why: str
    said: list[str] = field(default_factory=list)
    parts: list[Result] = field(default_factory=list)


class WrongError(AssertionError):
    """It is no KTAP."""


def _level(lines: list[str], depth: int, at: int) -> tuple[list[Result], int]:
    """The tests of one level, which begins at a line; and where it ends."""
    indent = "  " * depth
    plan: int | None = None
    found: list[Result] = []
    said: list[str] = []
    parts: list[Result] = []
    if lines[at] != f"{indent}KTAP version 1":
        raise WrongError(f"no version: {lines[at]!r}")
    at += 1
    while at < len(lines):
        line = lines[at]
        if line == f"{indent}  KTAP version 1":
            parts, at = _level(lines, depth + 1, at)
            continue
        if not line.startswith(indent) or line[len(indent) :].startswith(" "):
            break
        text = line[len(indent) :]
        at += 1
        if text.startswith("# "):
            said.append(text[2:])
        elif plan is None:
            if not (match := re.fullmatch(r"1\.\.(\d+)", text)):
                raise WrongError(f"no plan: {line!r}")
            plan = int(match[1])
        elif match := _RESULT.fullmatch(text):
            if int(match[2]) != len(found) + 1:
                raise WrongError(f"not the next number: {line!r}")
            name, directive, why = match[3] or "", match[4] or "", match[5] or ""
            result = Result(name, match[1] == "ok", directive, why, said, parts)
            if result.is_ok and not all(part.is_ok for part in parts):
                raise WrongError(f"it is good though a part is not: {line!r}")
            found.append(result)
            said, parts = [], []
        else:
            raise WrongError(f"unknown line: {line!r}")
    if plan != len(found) or parts:
        raise WrongError(f"{plan} were planned, {len(found)} came")
    return found, at


def read_ktap(text: str) -> list[Result]:
    """All tests of a text.

    Raises:
        WrongError: It is not as the description of version 1 demands.
    """
    assert text.endswith("\n")
    found, end = _level(text.splitlines(), 0, 0)
    if end != len(text.splitlines()):
        raise WrongError(f"something follows: {text.splitlines()[end]!r}")
    return found
