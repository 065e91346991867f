"""``zcrx-emu man``: the manual's pages, made of what help says."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from emu.cli import roff
from emu.cli.root import COMMANDS, app, load
from emu.cli.sheet import sheet_of
from emu.errors import ConfigError
from emu.verdict.report import write_text


def contexts() -> Iterator[Any]:
    """What the parser has for the whole, for each command, and for the commands of these."""
    whole = typer.main.get_command(app).make_context("zcrx-emu", [], resilient_parsing=True)
    yield whole
    for name in COMMANDS:
        context = load(name).make_context(name, [], parent=whole, resilient_parsing=True)
        yield context
        for inner, found in getattr(context.command, "commands", {}).items():
            yield found.make_context(inner, [], parent=context, resilient_parsing=True)


def _date() -> str:
    """Of the pages: today, or what a build that can be repeated says."""
    said = os.environ.get("SOURCE_DATE_EPOCH", "")
    if said and not (said.isascii() and said.isdecimal() and len(said) <= 11):
        raise ConfigError.of("SOURCE_DATE_EPOCH", said, "seconds since 1970")
    seconds = int(said) if said else int(time.time())
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()


def pages() -> dict[str, str]:
    """All pages by their files' names."""
    version, date = importlib.metadata.version("zcrx-emu"), _date()
    sheets = {roff.name_of(sheet): sheet for sheet in map(sheet_of, contexts())}
    made = {}
    for name, sheet in sheets.items():
        below = [other for other in sheets if other.rpartition("-")[0] == name]
        made[f"{name}.1"] = roff.page(sheet, version=version, date=date, commands=below)
    return made


def command(
    folder: Annotated[
        Path, typer.Argument(help="Where to, as share/man/man1 of a prefix; it is made.")
    ],
) -> None:
    """Write the manual's pages into a folder."""
    made = pages()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"folder: {str(folder)!r} cannot be written ({why})") from None
    console = Console(soft_wrap=True)
    for name, text in made.items():
        write_text(folder / name, text)
        console.print(str(folder / name), highlight=False, markup=False)
