"""What came of a command: shown, written where it was asked for, and told by an exit code."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from emu.errors import ConfigError, EnvironmentProblem, cut
from emu.host import streams
from emu.host.descriptors import explained
from emu.verdict.report import write_json

EXIT_FINDING = 1
EXIT_USAGE = 2
LOG_WIDTH = 132

JsonOption = Annotated[
    str | None, typer.Option("--json", help="Write the report as JSON to this file; - = stdout.")
]


def console_for(json_target: str | None, *, stderr: bool = False) -> Console:
    """Where people read: stderr when stdout carries something else."""
    console = Console(stderr=stderr or json_target == "-", soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = LOG_WIDTH  # a log file has no width; tables need some
    return console


def emit_json(target: str | None, value: dict[str, Any]) -> None:
    if target == "-":
        print(json.dumps(value, indent=2))
    elif target is not None:
        write_json(Path(target), value)


def check_target(field: str, target: Path | str | None) -> None:
    """Before the run, not after it: what cannot be written is lost work.

    Args:
        field: The option, in messages.
        target: The file that it names; ``-`` is stdout; None: it was not given.
    """
    if target == "-":
        streams.check_stdout(field)
    if target is None or target == "-":
        return
    why = "name a file in a folder"
    try:
        file = Path(os.path.realpath(target))
        if file.exists() and not file.is_dir() and not file.is_file():
            is_writable = os.access(file, os.W_OK)  # a device or a FIFO is written into
        else:
            folder = file.parent
            is_writable = folder.is_dir() and os.access(folder, os.W_OK) and not file.is_dir()
    except OSError as error:
        is_writable, why = False, explained(error)
    if not is_writable:
        raise ConfigError(f"{field}: {cut(repr(str(target)))} cannot be written; {why}")


def conclude(
    json_target: str | None, value: dict[str, Any], code: int = 0, unwritten: str | None = None
) -> None:
    """Write what came of a command, and end with its exit code.

    Args:
        json_target: File for the value, ``-`` for stdout, None for neither.
        value: What came of it.
        code: Of its verdict: it stands, whatever else cannot be written.
        unwritten: What could not be, already.
    """
    problems = [] if unwritten is None else [unwritten]
    try:
        emit_json(json_target, value)
    except EnvironmentProblem as error:
        problems.append(str(error))
    for problem in problems:
        fail("zcrx-emu", problem)
    code = code or (EXIT_USAGE if problems else 0)
    if code:
        raise typer.Exit(code)


def fail(name: str, text: str) -> int:
    """Say in one line why a command cannot do what it is for; the exit code."""
    line = " ".join(map(cut, text.split()))
    print(f"{name}: error: {line}", file=sys.stderr)
    return EXIT_USAGE
