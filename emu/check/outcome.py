"""What came of asking one tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is wrong.

    Attributes:
        what: In words, or by the name that the tool has for it.
        where: The file or folder that holds all that is known of it.
        again: The command that shows it again.
    """

    what: str
    where: str
    again: str


@dataclass(frozen=True, slots=True)
class Part:
    """One of several things that a tool was asked.

    Attributes:
        name: What it is called.
        is_good: Whether nothing was found; None: it was not asked.
        text: How much was looked at, what was found, or why it was not asked.
    """

    name: str
    is_good: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool says when it was asked.

    Attributes:
        looked_at: How much it saw, in words.
        found: What is wrong.
        interrupted: Whether it was stopped before its time.
        parts: What it was asked one by one, if it was.
    """

    looked_at: str
    found: Sequence[Found]
    interrupted: bool
    parts: Sequence[Part] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool did with the file, and what it saw.

    Attributes:
        tool: Its name, and how it was asked where it was asked in several ways.
        looked_at: How much it saw, in words; empty if it was not asked.
        blind: What a mistake is like that this tool does not see.
        seconds: What it took, building included.
        found: What is wrong, what was seen first at the front.
        why_not: Why it was not asked, or did not get to look at anything; else None.
        failed: Whether it should have looked, and could not.
        interrupted: Whether it was stopped before its time.
        log: The file with all that it said.
        parts: What it was asked one by one, if it was.
    """

    tool: str
    looked_at: str
    blind: str
    seconds: float
    found: tuple[Found, ...] = ()
    why_not: str | None = None
    failed: bool = False
    interrupted: bool = False
    log: str | None = None
    parts: tuple[Part, ...] = ()

    @property
    def has_looked(self) -> bool:
        """Whether its silence means anything."""
        return self.why_not is None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
