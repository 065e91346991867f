"""Some members of a large JSON object, without reading all of it.

What commands write begins with what one wants in a list; a report's bulk comes behind it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

_HEAD = 16 * 1024  #: characters that are looked at first
_SPACE = " \t\n\r"
_DECODER = json.JSONDecoder()


class CutOffError(ValueError):
    """The object does not end, or what it has before its end is no JSON."""


def members(path: Path, wanted: Collection[str]) -> dict[str, Any]:
    """Read some members of the object in a file.

    Args:
        path: The file.
        wanted: Their names; when all were met nothing more is read but the end of the file.

    Returns:
        Those that it has. What lies between the last of them and the end was not looked at.

    Raises:
        OSError: It cannot be read.
        CutOffError: It is no JSON object as far as was looked, or ends before it should.
    """
    with path.open("rb") as file:
        raw = file.read(_HEAD)
        rest = len(raw) == _HEAD
        if rest:
            file.seek(-1, 2)
            while (last := file.read(1)).isspace() and file.tell() > 1:
                file.seek(-2, 1)
            if last != b"}":
                raise CutOffError("it is cut off")
        try:
            return _members(raw.decode(errors="ignore"), wanted)
        except CutOffError:
            if not rest:
                raise
        file.seek(0)
        return _members(file.read().decode(errors="replace"), wanted)


def _members(text: str, wanted: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = _skip(text, _expect(text, _skip(text, 0), "{"))
    if text[at : at + 1] == "}":
        return found
    while True:
        try:
            name, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _expect(text, _skip(text, at), ":"))
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise CutOffError("it is cut off, or no JSON") from None
        at = _skip(text, at)
        is_last = text[at : at + 1] == "}"
        if not is_last:  # first of all: a number may go on where the text does not
            at = _skip(text, _expect(text, at, ","))
        if name in wanted:
            found[name] = value
        if is_last or len(found) == len(wanted):
            return found


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    return at


def _expect(text: str, at: int, char: str) -> int:
    if text[at : at + 1] != char:
        raise CutOffError("it is cut off, or no JSON object")
    return at + 1
