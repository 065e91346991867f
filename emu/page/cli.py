"""``zcrx-emu report``: the page of what was done before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emu.cli import values
from emu.cli.report_option import check_report
from emu.cli.sarif_option import SarifOption, check_sarif
from emu.errors import ConfigError
from emu.formats.made import log_of, write_log
from emu.page.made import page_of, page_of_two
from emu.page.paper import write_page

_OUTPUT = Path("report.html")


def command(
    of: Annotated[
        Path,
        typer.Argument(
            help="Folder of a run or of a check, a report in JSON, or a finding of fuzz or race.",
            autocompletion=values.done_before,
        ),
    ],
    beside: Annotated[
        Path | None,
        typer.Argument(help="Another run, to be compared.", autocompletion=values.done_before),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=f"The page; {_OUTPUT}, unless something else is."),
    ] = None,
    sarif: SarifOption = None,
) -> None:
    """Write a page of an earlier run, check or finding, or of two runs, that a browser opens."""
    if sarif is not None and beside is not None:
        raise ConfigError.of("sarif", str(sarif), "it is of one: not of two runs")
    check_sarif(sarif)
    console = Console(soft_wrap=True)
    if output is not None or sarif is None:
        output = output or _OUTPUT
        check_report(output)
        write_page(output, page_of(of) if beside is None else page_of_two(of, beside))
        console.print(str(output), highlight=False, markup=False)
    if sarif is not None:
        write_log(sarif, log_of(of))
        console.print(str(sarif), highlight=False, markup=False)
