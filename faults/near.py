"""What somebody may have meant who typed a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LOOKED_AT = 80  #: characters: comparing takes time for each two of them
_LIKE = 0.4


def near_to(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The names that are most like one, the best first; or those that begin with it or have it."""
    names, word = list(known), name[:_LOOKED_AT].lower()
    near = difflib.get_close_matches(word, names, n=most, cutoff=_LIKE)
    near += [other for other in names if len(word) > 2 and word in other and other not in near]
    return near[:most]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean '…'?`` with the nearest name, or nothing if none is near."""
    near = near_to(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else ""
