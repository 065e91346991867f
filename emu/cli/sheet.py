"""All there is to say of a command, in the order in which it is said: what help and manual show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emu.cli.guide import WHOLE, Guide, guide_of

#: Where options stand that no panel names.
_OTHERS = "Options"


@dataclass(frozen=True, slots=True)
class Row:
    """An option, an argument or a command, and what is said of it."""

    names: str  #: ``-o, --output``
    value: str  #: what stands behind it, or empty
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Rows below a heading."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A command: its words (``zcrx-emu faults list``), and what is said of it."""

    words: tuple[str, ...]
    usage: str  #: what follows the words
    summary: str
    about: tuple[str, ...]  #: paragraphs
    panels: tuple[Panel, ...]
    guide: Guide


def words_of(context: Any) -> tuple[str, ...]:
    """The words by which a command is called, the program's name first."""
    words: list[str] = []
    while context is not None:
        if context.parent is not None or not getattr(context.command, "is_whole", False):
            words.insert(0, context.info_name)
        context = context.parent
    return (WHOLE, *words)


def sheet_of(context: Any) -> Sheet:
    """Collect what there is to say.

    Args:
        context: The parser's, of a command of this project.

    Raises:
        ValueError: Its guide is none.
    """
    command, words = context.command, words_of(context)
    guide = guide_of("-".join(words[1:]) or WHOLE)
    paragraphs = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    commands = getattr(command, "commands", {})
    parameters = command.get_params(context)
    arguments = [item for item in parameters if item.param_type_name == "argument"]
    options = [item for item in parameters if item.param_type_name == "option"]
    usage = [
        "[OPTIONS]",
        *map(_argument_in_usage, arguments),
        *(["COMMAND ..."] if commands else []),
    ]
    rows = {max(item.opts, key=len).lstrip("-"): _option(item, context) for item in options}
    rows |= {name: Row(name, "", item.help.split("\n")[0]) for name, item in commands.items()}
    panels = [
        Panel("Arguments", tuple(_argument(item, context) for item in arguments)),
        *_panels(guide.panels, rows, "Commands" if commands else _OTHERS),
    ]
    return Sheet(
        words,
        " ".join(usage),
        paragraphs[0],
        (*paragraphs[1:], *guide.about),
        tuple(panel for panel in panels if panel.rows),
        guide,
    )


def called(name: str) -> str:
    """How that is called which a guide points to: a command, or a document."""
    return name if name.endswith(".md") or name == WHOLE else f"{WHOLE} {name}"


def _panels(
    wanted: Mapping[str, tuple[str, ...]], rows: dict[str, Row], others: str
) -> Iterator[Panel]:
    left = dict(rows)
    for title, names in wanted.items():
        yield Panel(title, tuple(left.pop(name) for name in names if name in left))
    is_command = {name: not row.names.startswith("-") for name, row in left.items()}
    for title, kind in ((others, True), (_OTHERS, False)):
        yield Panel(title, tuple(row for name, row in left.items() if is_command[name] is kind))


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _argument_in_usage(argument: Any) -> str:
    word = _metavar(argument)
    return word if argument.required else f"[{word}]"


def _argument(argument: Any, context: Any) -> Row:
    record = argument.get_help_record(context)
    text = record[1] if record else ""
    return Row(_metavar(argument), "", text.removesuffix("[required]").rstrip())


def _option(option: Any, context: Any) -> Row:
    """An option's names apart from what stands behind them."""
    said, text = option.get_help_record(context)
    words = said.split()
    names = next((at for at, word in enumerate(words) if word[0] not in "-/"), len(words))
    return Row(" ".join(words[:names]), " ".join(words[names:]), text)
