"""``zcrx-emu schema``: the forms of all JSON that commands write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emu.cli import values
from emu.errors import ConfigError
from faults.near import near_to

FOLDER = Path(__file__).parents[1] / "schemas"


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


def command(
    name: Annotated[
        str | None,
        typer.Argument(help="Which one; all are listed.", autocompletion=values.schemas),
    ] = None,
) -> None:
    """Show the JSON Schema of what commands write, or list all there are."""
    if name is not None:
        print(text_of(name), end="")
        return
    table = Table(header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("of")
    for each in names():
        table.add_row(each, json.loads(text_of(each))["title"])
    Console().print(table)
