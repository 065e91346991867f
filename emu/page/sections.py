"""The parts of a page, each made if what it needs is there; and of the others, that they are not.

A report may be half a report: of a run whose control process died, of an older version, cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: What a value raises that is not as it should be.
_NOT_SO = (KeyError, IndexError, TypeError, ValueError, AttributeError, ZeroDivisionError)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table."""

    cells: tuple[Any, ...]
    is_bad: bool = False


class Parts:
    """Makes parts, and remembers which could not be made."""

    def __init__(self) -> None:
        self.missing: list[str] = []

    def make(self, what: str, build: Callable[[], Any], default: Any) -> Any:
        """Make a part; what could not be made is the default, and is told."""
        try:
            return build()
        except _NOT_SO:
            self.missing.append(f"{what}: the report does not have it, or not in a form known here")
            return default


def number(value: float) -> str:
    """A count as people read it: its thousands apart."""
    return f"{value:,}".replace(",", "\u202f")
