"""``zcrx-emu exec``: run a program, as it is, against this project's provider."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from emu.cli import values
from emu.cli.guided import GuidedCommand
from emu.cli.output import EXIT_USAGE, JsonOption, check_target, conclude
from emu.contract import LEVELS
from emu.errors import ConfigError
from emu.exec.findings import Findings
from emu.exec.gateway import GatewayDied, Settings, run
from emu.exec.shape import shape_of

EXIT_FOUND = 99
_NO_CHECK, _NO_POISON = 1, 2  #: of the library

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(cls=GuidedCommand, context_settings={"allow_interspersed_args": False})
def command(
    program: Annotated[
        list[str], typer.Argument(metavar="PROGRAM [ARGUMENT]...", help="What is run, as it is.")
    ],
    kernel: Annotated[
        str,
        typer.Option(
            "--kernel",
            help=f"Level that is played: {', '.join(LEVELS)}.",
            autocompletion=values.levels,
        ),
    ] = LEVELS[-1],
    seed: Annotated[int, typer.Option("--seed", help="Of all that is chosen at random.")] = 0,
    shape: Annotated[
        str,
        typer.Option(
            "--shape",
            help="How the NIC cuts what arrives: fragment:100-1500,per-buffer:3",
            autocompletion=values.shapes,
        ),
    ] = "",
    faults: Annotated[
        str,
        typer.Option(
            "--faults", metavar="PLAN", help="What goes wrong: cq-full:1%,eintr:every=100"
        ),
    ] = "",
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Look for the program's mistakes.")
    ] = True,
    poison: Annotated[
        bool, typer.Option("--poison/--no-poison", help="Overwrite buffers that were returned.")
    ] = True,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why a registration was refused.")
    ] = False,
    exit_code: Annotated[
        int, typer.Option("--exit-code", help="If something was found; 0: the program's own.")
    ] = EXIT_FOUND,
    json: JsonOption = None,
) -> None:
    """Run a program of zero-copy receive against this project's provider, and check it.

    Its exit code is the program's own, or another one if the checker found something.
    """
    if kernel not in LEVELS:
        raise ConfigError.of("--kernel", kernel, f"one of {', '.join(LEVELS)}")
    if not 0 <= seed < 2**64:
        raise ConfigError.of("--seed", seed, "0 to 2^64-1")
    if not 0 <= exit_code <= 255:
        raise ConfigError.of("--exit-code", exit_code, "0 to 255")
    check_target("--json", json)
    findings = Findings()
    flags = (0 if check else _NO_CHECK) | (0 if poison else _NO_POISON)
    settings = Settings(
        kernel=kernel,
        seed=seed,
        flags=flags,
        shape=shape_of(shape),
        explains=explain,
        faults=faults,
    )
    lost = None
    try:
        code = run(settings, program, lambda message: _say(*findings.hear(message)))
    except GatewayDied as died:
        code, lost = EXIT_USAGE, str(died)
    _say(*findings.summary(seed))
    value = {
        "program": program,
        "kernel": kernel,
        "seed": seed,
        "faults": faults,
        "shape": shape,
        "exit_code": code,
        **findings.as_json(),
    }
    if findings.reports and exit_code and lost is None:
        code = exit_code
    conclude(json, value, code, lost)


def _say(*lines: str | None) -> None:
    """On stderr, so that the program's output stays its own."""
    for line in filter(None, lines):
        print(f"zcrx-emu: {line}", file=sys.stderr)
