"""``--ktap FILE``: what was asked and what came of it, as the kernel's test tools read it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emu.cli.output import check_target
from emu.errors import ConfigError, EmuError
from emu.verdict.report import write_text

if TYPE_CHECKING:
    from emu.formats.ktap import Tried

KtapOption = Annotated[
    str | None,
    typer.Option("--ktap", help="Write the results as KTAP to this file; - = stdout."),
]


def check_ktap(target: str | None, json_target: str | None) -> None:
    """Before the work: results that cannot be written are lost work.

    Raises:
        ConfigError: They cannot be written there.
    """
    if target == json_target == "-":
        raise ConfigError.of("ktap", "-", "stdout has the JSON: name a file for one of them")
    check_target("ktap", target)


def told(target: str | None, make: Callable[[], list[Tried]]) -> str | None:
    """Write the results, if they were asked for; why they could not be, or None."""
    if target is None:
        return None
    from emu.formats.ktap import ktap_text  # here: few want it

    text = ktap_text(make())
    if target == "-":
        sys.stdout.write(text)
        return None
    try:
        write_text(Path(target), text)
    except EmuError as error:
        return str(error)
    return None
