"""What commands of this project are: their help has all that their guides say."""

from __future__ import annotations

import os
import sys
from typing import Any

from typer.core import TyperCommand, TyperGroup


class GuidedCommand(TyperCommand):
    """A command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, or for a shell that completes: see what there is."""
        _take_as_it_is(ctx)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write it."""
        _write_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Offer options, but none behind the program whose own they would be."""
        if not ctx.allow_interspersed_args and any(
            ctx.params.get(item.name) for item in self.params if item.param_type_name == "argument"
        ):
            return []
        offers: list[Any] = super().shell_complete(ctx, incomplete)
        return offers


class GuidedGroup(TyperGroup):
    """Several commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, or for a shell that completes: see what there is."""
        _take_as_it_is(ctx)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write it."""
        _write_help(ctx, formatter)


def _take_as_it_is(context: Any) -> None:
    """Let no value be made of a word where nothing will be done with it.

    What makes values takes a tenth of a second to load, and a person waits for a completion.
    """
    if context.resilient_parsing:
        for item in context.command.get_params(context):
            item.process_value = lambda _context, value: value


def _write_help(context: Any, formatter: Any) -> None:
    from emu.cli.helping import help_text  # here: a command that works has no use for it
    from emu.cli.sheet import sheet_of

    is_dumb = os.environ.get("TERM", "dumb") == "dumb"
    is_coloured = sys.stdout.isatty() and not is_dumb and not os.environ.get("NO_COLOR")
    formatter.write(help_text(sheet_of(context), formatter.width, is_coloured=is_coloured))
