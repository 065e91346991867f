"""Scenarios: who acts at the same time, on what, and what must hold at the end.

A scenario is a few operations for each of a few actors. They are those of
``cext/sim/operations.c``, each a call or two of what the processes of a run call. What must hold at
the end holds for all of them: every buffer in one place, references that match, each consumed
entry judged once, no lock left taken. Under ``end`` a scenario says what comes afterwards, by one
actor alone, and what it expects of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from emu.contract import SEED, check_level
from emu.errors import ConfigError

#: Actors of a scenario at most.
ACTORS_MAX = 8
_NAME = re.compile(r"[a-z][a-z0-9-]{0,22}")


@dataclass(frozen=True, slots=True)
class Shape:
    """The instance: all sizes are powers of two, but for buffers and ptr ring; 64 at most."""

    niovs: int = 1
    rq: int = 2
    cq: int = 2
    grants: int = 2
    ptr_ring: int = 2
    index: int = 0  #: where the rings' indices start, u32
    more: int = 0  #: buffers that may be added, in areas of their own; those are counted in 64

    @property
    def text(self) -> str:
        """As :mod:`emu.race.script` reads it."""
        text = (
            f"niovs={self.niovs} rq={self.rq} cq={self.cq} grants={self.grants} "
            f"ptr-ring={self.ptr_ring} index={self.index}"
        )
        return f"{text} more={self.more}" if self.more else text


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    Attributes:
        name: Lower case, with dashes.
        explanation: What meets what, and what could go wrong, in a sentence or two.
        actors: Name and operations of each, separated by semicolons.
        shape: The instance.
        setup: Operations before; what they leave in the stack's hand is the first actor's.
        end: Operations afterwards, with what is expected of them.
        kernel: The level whose provider is played, see ``docs/levels.md``.
        honest: Everybody keeps to the rings' rules. Then reuse of a ring's slots must be ordered:
            who writes over one must have been told that it was read, or it is a data race.
    """

    name: str
    explanation: str
    actors: Mapping[str, str]
    shape: Shape = field(default_factory=Shape)
    setup: str = ""
    end: str = ""
    honest: bool = False
    kernel: str = SEED

    def __post_init__(self) -> None:
        """Check what can be checked here; operations are checked when the text is read."""
        if not _NAME.fullmatch(self.name):
            raise ConfigError.of("scenario", self.name, "lower case letters, digits and dashes")
        if not 1 <= len(self.actors) <= ACTORS_MAX:
            raise ConfigError.of("actors", len(self.actors), f"1 .. {ACTORS_MAX}")
        check_level(self.kernel, experimental=True)
        for name, operations in self.actors.items():
            if not _NAME.fullmatch(name):
                raise ConfigError.of("actor", name, "lower case letters, digits and dashes")
            if not operations.strip():
                raise ConfigError.of(f"actor {name}", operations, "it must do something")
        for text in (self.setup, self.end, *self.actors.values()):
            if "\n" in text:
                raise ConfigError.of("operations", text, "one line, separated by semicolons")

    def at(self, kernel: str) -> Scenario:
        """The same at a level, unless it names its own."""
        return replace(self, kernel=kernel) if self.kernel == SEED else self

    @property
    def text(self) -> str:
        """As :mod:`emu.race.script` reads it."""
        lines = [f"shape {self.shape.text}"]
        if self.kernel != SEED:
            lines.append(f"kernel {self.kernel}")
        if self.setup:
            lines.append(f"setup {self.setup}")
        lines += [f"actor {name}: {operations}" for name, operations in self.actors.items()]
        if self.end:
            lines.append(f"end {self.end}")
        if self.honest:
            lines.append("honest")
        return "\n".join(lines) + "\n"
