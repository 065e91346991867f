"""The benchmark's command line: ``python -m tools.bench``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from emu.cli import run_function

from . import machine, report, rounds, yardstick
from .report import Outcome
from .yardstick import BenchError, Group, Yardstick

QUICK_ROUNDS = 2
QUICK_SECONDS = 0.05
FILE_WIDTH = 100  # Columns of the tables where no terminal says how many it has.


def main(
    number_of_rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Samples of each yardstick.")
    ] = 5,
    seconds: Annotated[
        float, typer.Option(min=0.01, max=600, help="How long one sample takes.")
    ] = 0.3,
    only: Annotated[str, typer.Option(help="Groups to run, with commas between them.")] = ",".join(
        Group
    ),
    quick: Annotated[
        bool,
        typer.Option(help="A smoke run: few parameters, 2 rounds of 50 ms samples."),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all samples to this file.")
    ] = None,
) -> None:
    """Measure the yardsticks, and the emulator beside them, in turns."""
    if quick:
        number_of_rounds, seconds = QUICK_ROUNDS, QUICK_SECONDS
    groups = _parse_groups(only)
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    # Ended like this, too, we end what we have started.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        place = machine.describe()
        report.print_machine(console, place)
        registry = yardstick.collect()
        run = rounds.Run(registry.chosen(groups, smoke=quick), seconds)
        _take_rounds(console, run, number_of_rounds)
    except BenchError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    measurements = rounds.with_bests(run.measurements, registry.bests)
    outcome = Outcome(
        machine=place,
        settings={
            "rounds": number_of_rounds,
            "seconds": seconds,
            "groups": groups,
            "quick": quick,
        },
        measurements=measurements,
        quotients=rounds.quotients(registry.ratios, measurements),
        notes=[*registry.notes, *report.weather(measurements)],
        failures=run.failures,
    )
    report.print_outcome(console, outcome)
    if json_file is not None:
        report.write_json(json_file, outcome)
    if run.failures:
        raise typer.Exit(1)


def _parse_groups(text: str) -> list[Group]:
    try:
        return [Group(word.strip()) for word in text.split(",")]
    except ValueError:
        allowed = ", ".join(Group)
        raise typer.BadParameter(f"{text}: not among {allowed}", param_hint="--only") from None


def _take_rounds(console: Console, run: rounds.Run, count: int) -> None:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=count * len(run.yardsticks))

        def show(next_one: Yardstick) -> None:
            progress.update(task, advance=1, description=next_one.name)

        for number in range(count):
            run.take_round(number, show)


if __name__ == "__main__":
    run_function(main, "bench")
