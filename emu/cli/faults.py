"""``zcrx-emu faults``: the catalogue, and plans in words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from emu.cli import values
from emu.cli.guided import GuidedCommand, GuidedGroup
from emu.cli.output import EXIT_USAGE, JsonOption, check_target, emit_json
from emu.cli.plan import plan_errors, plan_of
from faults import CATALOGUE, PROFILES, find
from faults.custom import survey
from faults.tables import (
    broken_table,
    catalogue_table,
    fault_table,
    plan_table,
    profile_table,
)

app = typer.Typer(cls=GuidedGroup, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    """Show the faults there are, and check plans of them."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


@app.command("list", cls=GuidedCommand)
def _list(json_target: JsonOption = None) -> None:
    """List every fault with what it does, installed ones, and the ready-made profiles."""
    check_target("json", json_target)
    own, broken = survey()
    emit_json(
        json_target,
        {
            "faults": [fault.as_dict() for fault in CATALOGUE.values()],
            "installed": [fault.as_dict() for fault in own],
            "broken": [asdict(item) for item in broken],
            "profiles": [profile.as_dict() for profile in PROFILES.values()],
        },
    )
    if json_target != "-":
        console = Console()
        console.print(catalogue_table(CATALOGUE.values()))
        if own:
            console.print("Faults of installed packages:")
            console.print(catalogue_table(own))
        if broken:
            console.print("Faults of installed packages that cannot be used:")
            console.print(broken_table(broken))
        console.print(profile_table(PROFILES.values()))


@app.command("show", cls=GuidedCommand)
def _show(
    name: Annotated[
        str,
        typer.Argument(help="A fault's name, or MODULE:CLASS.", autocompletion=values.faults),
    ],
    json_target: JsonOption = None,
) -> None:
    """Explain one fault: what is done, what it must earn, and what holds despite it."""
    with plan_errors():
        fault = find(name)
    check_target("json", json_target)
    emit_json(json_target, fault.as_dict())
    if json_target != "-":
        Console().print(fault_table(fault))


@app.command("check", cls=GuidedCommand)
def _check(
    plan_text: Annotated[
        str,
        typer.Argument(metavar="PLAN", help="What --faults takes.", autocompletion=values.plans),
    ],
    queues: Annotated[
        int | None, typer.Option(min=1, max=64, help="Check it for a run of that many queues.")
    ] = None,
    json_target: JsonOption = None,
) -> None:
    """Check a plan and say in words what it does."""
    plan = plan_of(plan_text, queues)
    check_target("json", json_target)
    emit_json(json_target, plan.as_dict())
    if json_target != "-":
        Console().print(plan_table(plan))
        print(plan)
