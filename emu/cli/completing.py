"""The other side of a shell's completion: what it may offer, asked by a variable.

The scripts of ``zcrx-emu completion`` start ``zcrx-emu`` with a variable in its environment. The
parser's own machinery finds out what is being completed; what may stand there is said by the
command, or by :mod:`emu.cli.values`. The answer has a line for each offer: a value, and
behind a tab a word about it.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

#: Between the words of the line so far, the last of which is being completed.
_BETWEEN = "\x1f"
_WORDS = "_ZCRX_EMU_WORDS"
#: Of bash: the line up to the cursor, and what of it a completion takes the place of: bash begins a
#: new word behind ``:`` and ``=``.
_LINE, _WORD = "_ZCRX_EMU_LINE", "_ZCRX_EMU_WORD"
#: What bash would not read as itself.
_SPECIAL = re.compile(r"([^\w@%+=:,./~-])")


def _machinery() -> Any:
    """The parser's module for it: Typer brings its own copy of Click, or uses the installed one."""
    command = next(base for base in TyperCommand.__mro__ if base.__name__ == "Command")
    return importlib.import_module(f"{command.__module__.rpartition('.')[0]}.shell_completion")


def _offers(command: Any, words: list[str]) -> Iterator[tuple[str, str]]:
    """Whole words that may take the place of the last one, with what is said of each."""
    machinery = _machinery()

    class Asked(machinery.ShellComplete):  # type: ignore[misc, name-defined]
        """What the machinery cannot be without."""

        name = source_template = ""

        def source_vars(self) -> Any:
            return {}

        def get_completion_args(self) -> Any:
            return words[1:-1], words[-1]

        def format_completion(self, item: Any) -> str:
            return str(item.value)

    asked = Asked(command, {}, words[0], "")
    typed = words[-1]
    option = re.match(r"--[\w-]+=", typed)
    head = option.group() if option else ""
    for item in asked.get_completions(words[1:-1], typed):
        if item.type == "plain":  # files are the shell's to find
            text = " ".join((item.help or "").split())
            yield head + item.value, text


def answer(shell: str, command: Any) -> str:
    """What a shell is told.

    Args:
        shell: ``bash``, ``zsh`` or ``fish``.
        command: The whole command line, as the parser has it.
    """
    if shell == "bash":
        lines = _for_bash(command)
    else:
        words = os.environ.get(_WORDS, "").split(_BETWEEN)
        lines = (f"{value}\t{text}" for value, text in _offers(command, words))
    return "".join(f"{line}\n" for line in lines)


def _for_bash(command: Any) -> Iterator[str]:
    line = os.environ.get(_LINE, "")
    words: list[str] = _machinery().split_arg_string(line)
    if not words or line[-1:].isspace():
        words.append("")
    replaced = os.environ.get(_WORD, "")
    kept = len(words[-1]) - len(replaced) if words[-1].endswith(replaced) else 0
    for value, _ in _offers(command, words):
        yield _SPECIAL.sub(r"\\\1", value[kept:])
