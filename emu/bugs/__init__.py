"""Seeded bugs: mistakes that can be put into a build of the core made for that, never into ours.

A bug is a change of the source text. It is applied to a copy that is then compiled; a change
that does not apply any more is an error, so that a bug cannot silently become no bug.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from emu.errors import ConfigError, EmuError


class StaleBugError(EmuError):
    """A seeded bug does not fit the source any more."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One mistake.

    Attributes:
        name: What ``--bug`` takes.
        explanation: What is wrong, and what it leads to, in a sentence.
        file: Of ``cext/``, the file that is changed.
        old: Text that stands in it exactly once.
        new: What stands there instead.
        scenario: The ready scenario of ``emu.race.library`` that shows it; empty for a mistake
            that needs nobody to race with.
        memory: The strongest memory model in which it shows: ``sc``, ``tso`` or ``c11``. It shows
            in ``c11`` in any case; in ``tso`` not if all that is missing is an order that such a
            machine keeps anyway.
    """

    name: str
    explanation: str
    file: str
    old: str
    new: str
    scenario: str = ""
    memory: str = "sc"

    def apply(self, sources: Path) -> None:
        """Change the file in a copy of ``cext/``.

        Raises:
            StaleBugError: The text to replace is not there, or not just once.
        """
        path = sources / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise StaleBugError(
                f"bug: {self.name!r} does not fit {self.file}: the text to change stands there "
                f"{text.count(self.old)} times, not once"
            )
        path.write_text(text.replace(self.old, self.new))


def find_bug(name: str, bugs: dict[str, Bug]) -> Bug:
    """Look a bug up.

    Raises:
        ConfigError: There is no such bug; the nearest names are offered.
    """
    if name in bugs:
        return bugs[name]
    near = [known for known in sorted(bugs) if name and name in known][:3]
    near = near or difflib.get_close_matches(name, bugs, n=3, cutoff=0.4) or sorted(bugs)[:3]
    raise ConfigError.of("bug", name, f"known are {', '.join(near)}, …")
