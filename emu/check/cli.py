"""``zcrx-emu check FILE``: is this provider, or this consumer, right?"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emu.check.outcome import Outcome
from emu.check.subject import Kind, Subject, subject_of
from emu.check.tools import Frame, Tool, tools_for
from emu.cli import values
from emu.cli.ktap_option import KtapOption, check_ktap, told
from emu.cli.output import EXIT_FINDING, EXIT_USAGE, JsonOption, check_target, conclude, console_for
from emu.cli.rehearsal import words_are_read
from emu.cli.render import compiling_shown
from emu.cli.report_option import ReportOption, check_report, written
from emu.cli.sarif_option import SarifOption, check_sarif, logged
from emu.contract import LEVELS, SEED, check_level
from emu.errors import ConfigError, EmuError
from emu.fuzz.campaign import folder_for, fresh_seed
from emu.host.places import absolute
from emu.runtime.fork_server import kept
from emu.verdict.report import write_json
from emu.verdict.rundir import make_run_dir

SCHEMA = 1
REPORT = "check.json"
_SECONDS = 120.0
_SEED_MAX = 2**31 - 1
#: Findings of one tool that are shown; all of them are in the report.
_SHOWN = 3
#: How much of a finding is shown.
_WIDTH = 240


def command(
    file: Annotated[
        Path,
        typer.Argument(
            help="A provider or a consumer: FILE.c or LIB.so.", autocompletion=values.providers
        ),
    ],
    time_: Annotated[
        float, typer.Option("--time", help="Seconds for all tools together; building not counted.")
    ] = _SECONDS,
    kernel: Annotated[
        str,
        typer.Option(
            help=f"The level that is played: {', '.join(LEVELS)}.", autocompletion=values.levels
        ),
    ] = SEED,
    seed: Annotated[int | None, typer.Option(help="Of all tools; random if not given.")] = None,
    as_: Annotated[
        Kind | None, typer.Option("--as", help="What it is, where it exports both.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="For findings and logs; runs/check-… if not given.")
    ] = None,
    json_target: JsonOption = None,
    report: ReportOption = None,
    sarif: SarifOption = None,
    ktap: KtapOption = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help="Folder of programs, read and added to: keep it for the next check."),
    ] = None,
) -> None:
    """Put a provider or a consumer in C to every tool that can find a mistake in it."""
    if not (time_ > 0 and math.isfinite(time_)):
        raise ConfigError.of("time", time_, "more than 0 seconds")
    if seed is not None and not 0 <= seed <= _SEED_MAX:
        raise ConfigError.of("seed", seed, f"0 to {_SEED_MAX}")
    check_level(kernel)
    check_target("json", json_target)
    check_report(report)
    check_sarif(sarif)
    check_ktap(ktap, json_target)
    words_are_read()
    console = console_for("-" if ktap == "-" else json_target)
    with compiling_shown(console):
        subject = subject_of(file, as_)
    if corpus is not None:
        if subject.kind is not Kind.PROVIDER:
            raise ConfigError.of("corpus", str(corpus), "programs are for a provider, it is none")
        corpus = folder_for("corpus", corpus)
    where = make_run_dir(folder or _free_folder())
    frame = Frame(subject, kernel, fresh_seed() if seed is None else seed, where, corpus)
    summary = check(console, frame, time_)
    # A tool that should have looked and could not leaves no verdict, unless another one found it.
    code = EXIT_FINDING if summary["findings"] else EXIT_USAGE if summary["failed"] else 0
    unwritten = None
    try:
        write_json(where / REPORT, summary)
    except EmuError as error:
        unwritten = str(error)
    if report is not None:
        from emu.page.check_page import check_page  # here: few want a page

        unwritten = unwritten or written(report, lambda: check_page(summary))
    if sarif is not None:
        from emu.formats.made import check_log  # here: few want a log

        lost = logged(sarif, lambda: check_log(summary))
        unwritten = unwritten or lost
    if ktap is not None:
        from emu.formats.ktap import check_tests  # here: few want it

        lost = told(ktap, lambda: check_tests(summary))
        unwritten = unwritten or lost
    conclude(json_target, summary, code, unwritten)


def _free_folder() -> Path:
    base = Path("runs") / time.strftime("check-%Y%m%d-%H%M%S")
    return next(
        path
        for n in range(1, 1000)
        if not (path := Path(f"{base}-{n}" if n > 1 else base)).exists()
    )


def check(console: Console, frame: Frame, seconds: float) -> dict[str, Any]:
    """Ask one tool after the other, and say what came of it; as values."""
    tools, outcomes = tools_for(frame.subject)
    _say(console, f"seed {frame.seed}")
    level = f", kernel {frame.kernel}" if frame.kernel != SEED else ""
    _say(console, f"{frame.subject.kind} {frame.subject.path}{level}, {seconds:g} s of looking")
    asked: list[Outcome] = []
    with kept():
        for tool in tools:
            outcome = _ask(console, tool, frame, seconds * tool.share)
            asked.append(outcome)
            _tell(console, outcome)
            if outcome.interrupted:
                break
    everything = [*asked, *outcomes]
    _print_table(console, everything)
    interrupted = any(outcome.interrupted for outcome in asked)
    left = len(tools) - len(asked)
    _print_verdict(console, frame.subject, everything, left, interrupted)
    _say(console, f"folder: {frame.folder}")
    return {
        "schema": SCHEMA,
        "file": str(frame.subject.path),
        "kind": str(frame.subject.kind),
        "kernel": frame.kernel,
        "seed": frame.seed,
        "seconds": seconds,
        "interrupted": interrupted,
        "asked": sum(outcome.has_looked for outcome in asked),
        "findings": sum(len(outcome.found) for outcome in asked),
        "folder": absolute(str(frame.folder)),
        "failed": sum(outcome.failed for outcome in asked),
        "tools": [outcome.as_dict() for outcome in everything],
        "left": [tool.name for tool in tools[len(asked) :]],
    }


def _ask(console: Console, tool: Tool, frame: Frame, seconds: float) -> Outcome:
    """Ask a tool; what it has to say in words goes into its log."""
    log = frame.folder / f"{tool.name.replace(': ', '-')}.txt"
    began = time.monotonic()
    with _working(console, f"{tool.name}: about {seconds:.0f} s"):
        try:
            with log.open("w", encoding="utf-8", errors="backslashreplace") as file:
                words = Console(file=file, width=132, force_terminal=False, no_color=True)
                answer = tool.ask(frame, seconds, words)
        except EmuError as error:
            took = time.monotonic() - began
            why = str(error)
            return Outcome(tool.name, "", tool.blind, took, why_not=why, failed=True, log=str(log))
    return tool.outcome(time.monotonic() - began, answer, log)


@contextlib.contextmanager
def _working(console: Console, text: str) -> Iterator[None]:
    """Show on a terminal that something is done; elsewhere what was done is said in time."""
    if not console.is_terminal:
        yield
        return
    with console.status(escape(text)):
        yield


def _tell(console: Console, outcome: Outcome) -> None:
    if not outcome.has_looked:
        _say(console, f"{outcome.tool}: could not look: {outcome.why_not}")
        return
    for found in outcome.found[:_SHOWN]:
        what = found.what if len(found.what) <= _WIDTH else f"{found.what[: _WIDTH - 4]} ..."
        console.print(
            f"[bold red]{escape(outcome.tool)}[/]: {escape(what)}", highlight=False, soft_wrap=True
        )
        _say(console, f"    again: {found.again}")
    if len(outcome.found) > _SHOWN:
        _say(console, f"{outcome.tool}: {len(outcome.found) - _SHOWN} more in {outcome.log}")


def _print_table(console: Console, outcomes: list[Outcome]) -> None:
    table = Table(header_style="bold")
    table.add_column("tool", no_wrap=True)
    table.add_column("found", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("what it looked at")
    table.add_column("what it does not see")
    for item in outcomes:
        if item.has_looked:
            cells = [str(len(item.found)), f"{item.seconds:.1f}", item.looked_at]
        else:
            cells = ["-", "-", f"nothing: {item.why_not}"]
        if item.interrupted:
            cells[2] += "; interrupted"
        style = "bold red" if item.found else None
        table.add_row(item.tool, *map(escape, cells), item.blind, style=style)
    console.print(table)


def _print_verdict(
    console: Console, subject: Subject, outcomes: list[Outcome], left: int, interrupted: bool
) -> None:
    found = [item for item in outcomes if item.found]
    silent = [item for item in outcomes if not item.has_looked]
    partial = f"interrupted, {left} tool(s) not asked: " if interrupted else ""
    if found:
        names = ", ".join(item.tool for item in found)
        count = sum(len(item.found) for item in found)
        text = f"[bold red]FAIL[/]: {partial}{count} finding(s) in this {subject.kind}, by {names}"
    elif failed := [item.tool for item in outcomes if item.failed]:
        text = f"[bold red]NO VERDICT[/]: {partial}{', '.join(failed)} could not look at it"
    else:
        without = f"; not looked at by {', '.join(i.tool for i in silent)}" if silent else ""
        word = "NO FINDING SO FAR" if interrupted else "PASS"
        text = f"[bold green]{word}[/]: {partial}no tool found a mistake{without}"
    console.print(text, highlight=False, soft_wrap=True)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
