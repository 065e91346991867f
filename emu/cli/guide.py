"""What is said of a command beyond its options: the one source of its help and its manual page.

A command's guide is ``guides/NAME.toml``: ``faults-list`` is the name of ``zcrx-emu faults list``,
``zcrx-emu`` that of the whole. All keys may be left out:

``about``
    Paragraphs, with an empty line between them.
``[panels]``
    A heading, and the options below it, without their dashes. (Of the whole: commands.) Those that
    are named nowhere come last.
``[[examples]]``
    ``run``, a line for a shell, and ``what``, what it is for. A test reads each as the parser does.
``[exit]``
    What an exit code means.
``[files]``, ``[environment]``
    What it reads and leaves.
``see``
    Commands, by their names, and documents.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("guides")
#: The guide of the whole.
WHOLE = "zcrx-emu"


@dataclass(frozen=True, slots=True)
class Example:
    """A line that a shell can run."""

    run: str
    what: str


@dataclass(frozen=True, slots=True)
class Guide:
    """See the module."""

    about: tuple[str, ...] = ()
    panels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    exit: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    see: tuple[str, ...] = ()


def guide_of(name: str) -> Guide:
    """Read a command's guide; an empty one if there is none.

    Args:
        name: Of the command, with ``-`` for the spaces in it.

    Raises:
        ValueError: It has a key that means nothing.
    """
    try:
        text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return Guide()
    return parse(text)


def parse(text: str) -> Guide:
    """Make a guide of what its file says.

    Raises:
        ValueError: It is no TOML, or has a key that means nothing.
    """
    values: dict[str, Any] = tomllib.loads(text)
    unknown = values.keys() - {item.name for item in fields(Guide)}
    if unknown:
        raise ValueError(f"a guide has no {', '.join(sorted(unknown))}")
    values["about"] = tuple(
        " ".join(paragraph.split()) for paragraph in values.get("about", "").strip().split("\n\n")
    )
    values["panels"] = {name: tuple(items) for name, items in values.get("panels", {}).items()}
    values["examples"] = tuple(Example(**item) for item in values.get("examples", ()))
    values["see"] = tuple(values.get("see", ()))
    return Guide(**values)
