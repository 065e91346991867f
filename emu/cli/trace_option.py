"""``--perfetto FILE``: the trace of a run, asked for before and written after it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from emu.cli.output import check_target
from emu.errors import ConfigError, EmuError
from emu.verdict.report import Report, write_text

#: Of the newest events that the flight recorders keep: more than those of one queue. A viewer
#: takes what becomes of them in a few seconds.
EVENTS_MAX = 60_000

TraceOption = Annotated[
    Path | None,
    typer.Option("--perfetto", help="Write a trace of the run, for ui.perfetto.dev."),
]


def check_trace(target: Path | None) -> None:
    """Before the run: a trace that cannot be written is lost work.

    Raises:
        ConfigError: It cannot be written there.
    """
    if target is not None and str(target) == "-":
        raise ConfigError.of("perfetto", "-", "name a file")
    check_target("perfetto", target)


def trace_written(target: Path | None, report: Report, value: Mapping[str, Any]) -> str | None:
    """Make and write the trace of a run, if one was asked for; why it could not be, or None.

    A verdict stands, whatever becomes of its trace.
    """
    if target is None:
        return None
    from emu.trace.run_trace import run_trace  # here: few runs want a trace

    log = report.flight_log
    try:
        write_trace(target, run_trace(value, None if log is None else log.newest(EVENTS_MAX)))
    except EmuError as error:
        return str(error)
    return None


def write_trace(target: Path, trace: Mapping[str, Any]) -> None:
    """Write a trace, an event a line.

    Raises:
        EnvironmentProblem: It cannot be written.
    """
    rest = {name: part for name, part in trace.items() if name != "traceEvents"}
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in trace["traceEvents"])
    write_text(target, f'{{"traceEvents":[\n{lines}\n],\n{json.dumps(rest)[1:]}\n')
