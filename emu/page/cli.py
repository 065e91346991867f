"""``zcrx-emu report``: the page of what was done before, or what other tools read of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emu.cli import values
from emu.cli.report_option import check_report
from emu.cli.sarif_option import SarifOption, check_sarif
from emu.cli.trace_option import TraceOption, check_trace, write_trace
from emu.errors import ConfigError

_OUTPUT = Path("report.html")


def command(
    of: Annotated[
        Path,
        typer.Argument(
            help="Folder of a run, a check or a campaign, a report in JSON, or a finding.",
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
    perfetto: TraceOption = None,
) -> None:
    """Write a page of an earlier run, check, campaign or finding, or of two runs."""
    for name, target in (("sarif", sarif), ("perfetto", perfetto)):
        if target is not None and beside is not None:
            raise ConfigError.of(name, str(target), "it is of one: not of two runs")
    check_sarif(sarif)
    check_trace(perfetto)
    if output is not None or (sarif is None and perfetto is None):
        _write_page(output or _OUTPUT, of, beside)
    if sarif is not None:
        from emu.formats.made import log_of, write_log  # here, as below: what is wanted

        write_log(sarif, log_of(of))
        _say(sarif)
    if perfetto is not None:
        from emu.trace.made import trace_of

        write_trace(perfetto, trace_of(of))
        _say(perfetto)


def _write_page(output: Path, of: Path, beside: Path | None) -> None:
    check_report(output)
    from emu.page.made import page_of, page_of_two  # behind it: its libraries may be missing
    from emu.page.paper import write_page

    write_page(output, page_of(of) if beside is None else page_of_two(of, beside))
    _say(output)


def _say(written: Path) -> None:
    Console(soft_wrap=True).print(str(written), highlight=False, markup=False)
