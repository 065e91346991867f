"""``zcrx-emu report``: the page of what was done before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emu.cli import values
from emu.cli.report_option import check_report
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
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = _OUTPUT,
) -> None:
    """Write a page of an earlier run, check or finding, or of two runs, that a browser opens."""
    check_report(output)
    write_page(output, page_of(of) if beside is None else page_of_two(of, beside))
    Console(soft_wrap=True).print(str(output), highlight=False, markup=False)
