"""JSON schemas of all that commands write, a file each; ``zcrx-emu schema`` shows them."""

from __future__ import annotations

from pathlib import Path

from emu.errors import ConfigError
from faults.near import near_to

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Of all there are."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def text_of(name: str) -> str:
    """A schema as its file has it.

    Raises:
        ConfigError: There is no such one; the nearest names are offered.
    """
    known = names()
    if name not in known:
        near = near_to(name, known) or known
        raise ConfigError.of("schema", name, f"known are {', '.join(near)}")
    return (FOLDER / f"{name}.json").read_text(encoding="utf-8")
