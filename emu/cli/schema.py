"""``zcrx-emu schema``: the forms of all JSON that commands write."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emu.cli import values
from emu.schemas import names, text_of


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
