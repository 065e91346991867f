"""``--report FILE``: the page of what a command did, asked for before and written after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from emu.cli.output import check_target
from emu.errors import ConfigError, EmuError

ReportOption = Annotated[
    Path | None,
    typer.Option("--report", help="Write a page that a browser opens, in one file."),
]


def check_report(target: Path | None) -> None:
    """Before the work: a page that cannot be written is lost work.

    Raises:
        ConfigError: It cannot be written there.
        EnvironmentProblem: What makes pages is not installed.
    """
    if target is None:
        return
    if str(target) == "-":
        raise ConfigError.of("report", "-", "name a file")
    from emu.page.paper import check_extra  # here: few runs want a page

    check_target("report", target)
    check_extra()


def written(target: Path | None, make: Callable[[], str]) -> str | None:
    """Make and write a page, if one was asked for; why it could not be, or None.

    A verdict stands, whatever becomes of its page.
    """
    if target is None:
        return None
    from emu.page.paper import write_page

    try:
        write_page(target, make())
    except EmuError as error:
        return str(error)
    return None
