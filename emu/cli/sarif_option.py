"""``--sarif FILE``: findings for tools that show them in the source, asked for before the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from emu.cli.output import check_target
from emu.errors import ConfigError, EmuError

SarifOption = Annotated[
    Path | None,
    typer.Option("--sarif", help="Write findings as SARIF, which shows them in the source."),
]


def check_sarif(target: Path | None) -> None:
    """Before the work: a log that cannot be written is lost work.

    Raises:
        ConfigError: It cannot be written there.
    """
    if target is not None and str(target) == "-":
        raise ConfigError.of("sarif", "-", "name a file")
    check_target("sarif", target)


def logged(target: Path | None, make: Callable[[], Mapping[str, Any]]) -> str | None:
    """Make and write a log, if one was asked for; why it could not be, or None.

    A verdict stands, whatever becomes of its log.
    """
    if target is None:
        return None
    from emu.formats.made import write_log  # here: few want one

    try:
        write_log(target, make())
    except EmuError as error:
        return str(error)
    return None
