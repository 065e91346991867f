"""Seeded bugs: mistakes that can be put into a build of the core made for that, never into ours.

Each is a file ``KIND/NAME.patch``: what is wrong, and what it leads to, in a sentence; then for a
racing one ``Scenario:`` and, if it is not ``sc``, ``Memory:``; ``Kernel:`` if it shows at some
levels only; then a unified diff of files of ``cext/``. It is applied to a copy that is then
compiled; one that does not apply any more is an error, so that a bug cannot silently become no bug.
``python -m tools.bugs`` looks after them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from emu.bugs.patch import PatchError, read_patch
from emu.contract import SEED, check_level
from emu.errors import ConfigError, EmuError
from faults.near import near_to


class StaleBugError(EmuError):
    """A seeded bug does not fit the source any more."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One mistake.

    Attributes:
        name: What ``--bug`` takes.
        explanation: What is wrong, and what it leads to, in a sentence.
        patch: A unified diff of files below ``cext/``.
        scenario: The ready scenario of ``emu.race.library`` that shows it; empty for a mistake
            that needs nobody to race with.
        memory: The strongest memory model in which it shows: ``sc``, ``tso`` or ``c11``. It shows
            in ``c11`` in any case; in ``tso`` not if all that is missing is an order that such a
            machine keeps anyway.
        kernels: The levels at which it shows, oldest first; empty: wherever its code runs.
    """

    name: str
    explanation: str
    patch: str
    scenario: str = ""
    memory: str = "sc"
    kernels: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The files of ``cext/`` that it changes."""
        return tuple(part.file for part in read_patch(self.patch))

    def apply(self, sources: Path) -> None:
        """Change the files in a copy of ``cext/``: all of them, or none.

        Raises:
            StaleBugError: The change fits nowhere, or more than one place.
        """
        changed = {}
        try:
            for part in read_patch(self.patch):
                path = sources / part.file
                changed[path] = part.apply(path.read_text(encoding="utf-8"))
        except (OSError, PatchError) as error:
            raise StaleBugError(f"bug: {self.name!r} does not fit: {error}") from None
        for path, text in changed.items():
            path.write_text(text, encoding="utf-8")

    @property
    def text(self) -> str:
        """The file that it is read from."""
        fields = [f"Scenario: {self.scenario}"] if self.scenario else []
        fields += [f"Memory: {self.memory}"] if self.memory != "sc" else []
        fields += [f"Kernel: {' '.join(self.kernels)}"] if self.kernels else []
        lines = textwrap.wrap(self.explanation, 96, break_long_words=False, break_on_hyphens=False)
        return "\n".join([*lines, *fields, "", self.patch])


def read_bug(name: str, text: str) -> Bug:
    """The bug that a file holds."""
    head, mark, patch = text.partition("\n\n")
    lines = head.splitlines()
    fields = {"Scenario": "", "Memory": "sc", "Kernel": ""}
    while lines and lines[-1].partition(": ")[0] in fields:
        key, _, value = lines.pop().partition(": ")
        fields[key] = value
    if not mark or not lines:
        raise StaleBugError(f"bug: {name!r} lacks its sentence, or the empty line behind it")
    kernels = tuple(fields["Kernel"].split())
    return Bug(name, " ".join(lines), patch, fields["Scenario"], fields["Memory"], kernels)


class Catalogue(Mapping[str, Bug]):
    """The bugs of one kind, by name; each is read when somebody asks for it.

    Args:
        folder: Where their files lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: list[str] | None = None
        self._read: dict[str, Bug] = {}

    def __iter__(self) -> Iterator[str]:
        if self._names is None:
            self._names = sorted(path.stem for path in self._folder.glob("*.patch"))
        return iter(self._names)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Bug:
        if name not in self._read:
            if name not in iter(self):
                raise KeyError(name)
            text = (self._folder / f"{name}.patch").read_text(encoding="utf-8")
            self._read[name] = read_bug(name, text)
        return self._read[name]


_HERE = Path(__file__).parent
#: What a provider gets wrong without anybody racing it.
CONTENT_BUGS = Catalogue(_HERE / "content")
#: Right by itself, wrong when somebody else comes in between.
RACING_BUGS = Catalogue(_HERE / "racing")


def find_bug(name: str, bugs: Mapping[str, Bug]) -> Bug:
    """Look a bug up.

    Raises:
        ConfigError: There is no such bug; the nearest names are offered.
    """
    if name in bugs:
        return bugs[name]
    near = near_to(name, bugs) or sorted(bugs)[:3]
    raise ConfigError.of("bug", name, f"known are {', '.join(near)}, …")


def level_for(bug: Bug | None, asked: str | None, *, experimental: bool = False) -> str:
    """The level to play: the one that was asked for, else the first that shows the bug.

    Args:
        bug: A seeded bug, or None.
        asked: A level's name, or None.
        experimental: Whether those that are experimental are played.

    Raises:
        ConfigError: There is no such level, or the bug does not show at it.
    """
    if asked is not None:
        check_level(asked, experimental=experimental)
    kernels = () if bug is None else bug.kernels
    if bug is not None and asked is not None and kernels and asked not in kernels:
        raise ConfigError.of("kernel", asked, f"the bug {bug.name} shows at {', '.join(kernels)}")
    level = asked or (kernels[0] if kernels else SEED)
    check_level(level, experimental=experimental)
    return level
