"""Unified diffs of C sources: made, read, and applied to text that may have moved meanwhile.

A hunk is put where its context stands. That may be some lines away from where it stood when the
diff was made, and up to two lines of context at either end may have changed. What fits several
places is put where it was, or into the function that the hunk's header names, or nowhere: a
change must not end up in another place than the one that was meant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from emu.errors import EmuError

_CONTEXT = 3
_FUZZ = 2  #: lines of context that may differ, at either end
_FUNCTION_MAX = 60
_HEADER = re.compile(r"@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@ ?(.*)")


class PatchError(EmuError):
    """A diff cannot be read, or does not fit."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """One place of one file: what stands there, and what is to stand there."""

    line: int  #: of its first line, from 0, where it was when the diff was made
    function: str  #: in which its first change was, as that one's first line begins; or empty
    before: tuple[str, ...]
    after: tuple[str, ...]

    def _context(self, *, is_tail: bool) -> int:
        """How many lines at that end are the same before and after."""
        step = -1 if is_tail else 1
        pairs = zip(self.before[::step], self.after[::step], strict=False)
        return next(
            (at for at, (old, new) in enumerate(pairs) if old != new),
            min(len(self.before), len(self.after)),
        )

    def without_context(self, lines: int) -> Hunk:
        """The same with so many lines of context less at either end, where it has them."""
        head = min(lines, self._context(is_tail=False))
        tail = min(lines, self._context(is_tail=True), len(self.before) - head)
        return Hunk(
            self.line + head,
            self.function,
            self.before[head : len(self.before) - tail],
            self.after[head : len(self.after) - tail],
        )

    def find(self, lines: Sequence[str], begin: int, moved: int) -> int | None:
        """Where it fits, from ``begin`` on; None if nowhere, or at several places.

        Args:
            lines: The text.
            begin: What stands before this line is done.
            moved: By how much the text before it has become longer.
        """
        size = len(self.before)
        places = [
            at
            for at in range(begin, len(lines) - size + 1)
            if size and tuple(lines[at : at + size]) == self.before
        ]
        if self.line + moved in places:
            return self.line + moved
        if len(places) > 1 and self.function:
            changed = self._context(is_tail=False)
            places = [at for at in places if _function_of(lines, at + changed) == self.function]
        return places[0] if len(places) == 1 else None


@dataclass(frozen=True, slots=True)
class FilePatch:
    """All hunks of one file."""

    file: str  #: its path below the root, without the ``a/`` of the diff
    hunks: tuple[Hunk, ...]

    def apply(self, text: str) -> str:
        """The text with all changes in it.

        Raises:
            PatchError: A hunk fits nowhere, or it does not tell in which of several places.
        """
        lines = text.splitlines()
        begin = moved = 0
        for number, hunk in enumerate(self.hunks, 1):
            at = None
            for fuzz in range(_FUZZ + 1):
                less = hunk.without_context(fuzz)
                at = less.find(lines, begin, moved)
                if at is not None:
                    break
            else:
                raise PatchError(
                    f"hunk {number} of {self.file} (line {hunk.line + 1}, {hunk.function or '?'}) "
                    "fits nowhere, or more than one place"
                )
            assert at is not None
            lines[at : at + len(less.before)] = less.after
            begin = at + len(less.after)
            moved = at - less.line + len(less.after) - len(less.before)
        return "\n".join(lines) + "\n"


def _function_of(lines: Sequence[str], at: int) -> str:
    """The beginning of the line that opens the function around a line; empty if none does."""
    for line in reversed(lines[:at]):
        if re.match(r"\w", line) and "(" in line and not line.rstrip().endswith(";"):
            return line[:_FUNCTION_MAX].rstrip()
    return ""


def read_patch(text: str) -> tuple[FilePatch, ...]:
    """Read a unified diff; what stands before its first ``---`` is somebody else's.

    Raises:
        PatchError: It is none.
    """
    files: list[tuple[str, list[Hunk]]] = []
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith("--- ")), len(lines))
    at = start
    while at < len(lines):
        if lines[at].startswith("--- ") and at + 1 < len(lines):
            files.append((lines[at + 1].removeprefix("+++ ").removeprefix("b/"), []))
            at += 2
            continue
        header = _HEADER.fullmatch(lines[at])
        if header is None or not files:
            raise PatchError(f"line {at + 1}: {lines[at][:40]!r} begins neither a file nor a hunk")
        end = at + 1
        while end < len(lines) and not lines[end].startswith(("@@ ", "--- ")):
            end += 1
        body = lines[at + 1 : end]
        wrong = [line for line in body if line[:1] not in (" ", "+", "-", "")]
        if wrong:
            raise PatchError(f"{wrong[0][:40]!r} is no line of a hunk")
        hunk = Hunk(
            int(header[1]) - 1,
            header[2],
            tuple(line[1:] for line in body if line[:1] != "+"),
            tuple(line[1:] for line in body if line[:1] != "-"),
        )
        files[-1][1].append(hunk)
        at = end
    if not files or not all(hunks for _, hunks in files):
        raise PatchError("there is no change in it")
    return tuple(FilePatch(file, tuple(hunks)) for file, hunks in files)


def make_patch(file: str, before: str, after: str) -> str:
    """The unified diff between two texts of a file; empty if they are the same."""
    old, new = before.splitlines(), after.splitlines()
    made = [*difflib.unified_diff(old, new, f"a/{file}", f"b/{file}", n=_CONTEXT, lineterm="")]
    for at, line in enumerate(made):
        header = _HEADER.fullmatch(line)
        if header:
            first = next(i for i in range(at + 1, len(made)) if made[i][0] != " ") - at - 1
            made[at] = f"{line} {_function_of(old, int(header[1]) - 1 + first)}".rstrip()
    return "".join(f"{line}\n" for line in made)
