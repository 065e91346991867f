"""``zcrx-emu`` itself: its commands by name, each loaded when it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from emu.cli import plain
from emu.cli.guided import GuidedCommand, GuidedGroup
from emu.cli.output import EXIT_USAGE
from emu.cli.running import run_app
from emu.host.ending import ended_by_signals, leave

#: Of each command: where it is (a function, or an app of several), and what its help begins with.
COMMANDS = {
    "stress": (
        "emu.cli.commands:stress",
        "Move traffic at full speed with faults injected, and account for everything.",
    ),
    "recv": (
        "emu.cli.commands:recv",
        "Receive one TCP connection through NIC, provider and consumer into a file.",
    ),
    "check": (
        "emu.check.cli:command",
        "Put a provider or a consumer in C to every tool that can find a mistake in it.",
    ),
    "exec": (
        "emu.exec.cli:app",
        "Run a program of zero-copy receive against this project's provider, and check it.",
    ),
    "replay": (
        "emu.cli.replay:command",
        "Run an earlier run's configuration and seed again, or a finding of fuzz or race.",
    ),
    "report": (
        "emu.page.cli:command",
        "Write a page of an earlier run, check, campaign or finding, or of two runs.",
    ),
    "runs": (
        "emu.cli.runs:command",
        "List earlier runs and checks, or findings, with what came of each; the newest first.",
    ),
    "fuzz": (
        "emu.fuzz.cli:command",
        "Hunt for programs of operations in which a memory provider goes wrong.",
    ),
    "race": (
        "emu.race.cli:command",
        "Run the core under chosen interleavings and memory models, and find its races.",
    ),
    "campaign": (
        "emu.campaign.cli:command",
        "Have thousands of runs, searches and fuzzings done by many workers, by a plan.",
    ),
    "doctor": (
        "emu.cli.doctor:command",
        "Say what this machine offers for a run, with advice.",
    ),
    "config": (
        "emu.cli.library:command",
        "Say what a C compiler needs to build on libzcrx_emu.",
    ),
    "examples": (
        "emu.cli.examples:command",
        "Write the documents' example programs into a folder, to try and to start from.",
    ),
    "completion": (
        "emu.cli.completion:command",
        "Write what makes a shell complete this command's words by TAB.",
    ),
    "schema": (
        "emu.cli.schema:command",
        "Show the JSON Schema of what commands write, or list all there are.",
    ),
    "man": ("emu.cli.man:command", "Write the manual's pages into a folder."),
    "faults": ("emu.cli.faults:app", "Show the faults there are, and check plans of them."),
}


class _Late(TyperCommand):
    """A command as the list of all shows it; called, it is loaded and leaves the rest to that."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **more: Any) -> Any:
        assert self.name is not None
        return load(self.name).make_context(info_name, args, *rest, **more)


class _Commands(GuidedGroup):
    is_whole = True  #: its name is no word of a command's

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.commands.update({name: _Late(name, help=text) for name, (_, text) in COMMANDS.items()})


def _import(name: str) -> Any:
    """A command's function, or its app."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    # Until it is loaded there is nothing to undo; an import may not let an exception pass.
    with ended_by_signals(lambda number: leave(number, None)):
        return getattr(importlib.import_module(module), attribute)


def load(name: str) -> Any:
    """Import a command: what Click calls one, of whichever Click Typer uses."""
    found = _import(name)
    if not isinstance(found, typer.Typer):
        function = found
        found = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        found.command(name, cls=GuidedCommand)(function)
    return typer.main.get_command(found)


app = typer.Typer(
    name="zcrx-emu",
    cls=_Commands,
    help="Linux io_uring zero-copy receive in user space, with faults on purpose.",
    # Commands inherit it.
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata  # here: it takes longer than all the rest

        print(f"zcrx-emu {importlib.metadata.version('zcrx-emu')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Linux io_uring zero-copy receive in user space, with faults on purpose."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(EXIT_USAGE)


#: By this variable a shell asks what it may offer (see emu.cli.completing).
COMPLETING = "_ZCRX_EMU_COMPLETE"


#: Commands that begin with a run, which wants its processes as soon as it is understood.
_RUNS = frozenset({"stress", "recv", "replay"})


@contextlib.contextmanager
def _loaded_ahead(name: str, words: Sequence[str]) -> Iterator[None]:
    """Have what a run's processes load loaded while this one loads what reads its words."""
    if name not in _RUNS or {"-h", "--help"} & set(words):
        yield
        return
    with ended_by_signals(lambda number: leave(number, None)):
        from emu.runtime.fork_server import kept, load_ahead
        from emu.runtime.processes import worker_python

    with kept():
        load_ahead(*worker_python())
        yield


def _command_line() -> object:
    if shell := os.environ.get(COMPLETING):
        from emu.cli.completing import answer

        print(answer(shell, typer.main.get_command(app)), end="")
        return 0
    name, *words = sys.argv[1:] or [""]
    with _loaded_ahead(name, words):
        return _run(name, words)


def _run(name: str, words: Sequence[str]) -> object:
    """Run what the words say, without Typer where they are plain."""
    if name in COMMANDS and not isinstance(command := _import(name), typer.Typer):
        values = plain.values_in(command, words)
        if values is not None:
            return command(**values)
    return app(standalone_mode=False)


def main() -> None:
    """Run ``zcrx-emu``."""
    run_app(_command_line, "zcrx-emu")
