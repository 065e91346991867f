"""``zcrx-emu runs``: what was run, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from emu.cli import values
from emu.cli.output import JsonOption, check_target, conclude, console_for
from emu.cli.render import short
from emu.errors import ConfigError, cut
from emu.runtime.channel import printable
from emu.verdict.listing import Entry, entries

SCHEMA = 1
_RUNS = Path("runs")
_WIDE = 110  #: columns
_STYLES = {
    "pass": "green",
    "fail": "bold red",
    "finding": "bold red",
    "running": "cyan",
    "unjudged": "yellow",
    "unfinished": "yellow",
    "damaged": "yellow",
}
#: Of a configuration, what tells runs from each other: in words, where it is not the usual.
_TOLD = {
    "kernel": "kernel",
    "queues": "queues",
    "traffic": "traffic",
    "provider": "provider",
    "consumer": "consumer",
}


def _plan(text: str) -> str:
    """A plan's name, if it is a profile; else its rules, or how many there are."""
    from faults import PROFILES

    for profile in PROFILES.values():
        if str(profile.plan) == text:
            return profile.name
    rules = text.count(",") + 1
    return text if len(text) <= 40 else f"{rules} rules"


def _what(entry: Entry, usual: dict[str, Any]) -> str:
    """What was run, in words."""
    words = [entry.command] if entry.command is not None else []
    if entry.seed is not None:
        words.append(f"seed {entry.seed}")
    if entry.options is not None:
        for name, word in _TOLD.items():
            if name in entry.options and entry.options[name] != usual[name]:
                words.append(f"{word} {entry.options[name]}")
        plan = str(entry.options.get("plan") or "none")
        if plan != "none":
            words.append(f"faults {_plan(plan)}")
    return ", ".join([*words, *filter(None, [entry.subject])])


def _verdict(entry: Entry) -> Text:
    why = entry.why
    if entry.verdict == "fail" and entry.command != "check":
        why = why.partition(":")[0]  # the statement that fails; the rest is in its folder
        why += f" and {entry.more} more" if entry.more else ""
    said = entry.verdict.upper() if entry.verdict in ("pass", "fail") else entry.verdict
    text = Text(said, style=_STYLES[entry.verdict])
    return text.append(f": {printable(cut(why))}", style="default") if why else text


def _table(found: list[Entry], width: int) -> Table:
    """A row each; on a narrow terminal without the time, which most names begin with."""
    from emu.config import RunConfig

    usual = RunConfig(seed=0).as_dict()
    is_wide = width >= _WIDE
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    if is_wide:
        table.add_column("when", no_wrap=True)
    table.add_column("name", overflow="fold", min_width=21)
    table.add_column("verdict", overflow="fold", min_width=4)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("packets", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for entry in found:
        table.add_row(
            *([entry.when.replace("T", " ")] if is_wide else []),
            Text(printable(entry.name)),
            _verdict(entry),
            "" if entry.seconds is None else f"{entry.seconds:.1f}",
            "" if entry.packets is None else short(entry.packets),
            Text(printable(_what(entry, usual))),
        )
    return table


def command(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help=f"A folder of runs, of checks or of findings; {_RUNS} if not given.",
            autocompletion=values.folders,
        ),
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """List earlier runs and checks, or findings, with what came of each; the newest first."""
    check_target("json", json_target)
    place = folder or _RUNS
    try:
        found = entries(place)
    except OSError as error:
        if folder is None and isinstance(error, FileNotFoundError):
            found = []  # nothing was run here
        else:
            raise ConfigError(
                f"folder: {cut(repr(str(place)))} cannot be read ({error.strerror}); "
                "name a folder of runs or of findings"
            ) from None
    console = console_for(json_target)
    if json_target != "-":
        if found:
            console.print(_table(found, console.width), highlight=False)
        else:
            console.print(f"nothing in {place}", highlight=False, markup=False, soft_wrap=True)
    value = {"schema": SCHEMA, "folder": str(place), "runs": [item.as_dict() for item in found]}
    conclude(json_target, value)
