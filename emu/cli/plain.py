"""The words of a command line that need no parser.

Typer turns every value over to a library of validation that takes a tenth of a second to load.
What most people type is an option's name and a plain value after it. That is read here, and
nothing else: of whatever is not quite plain, a mistake above all, nothing is said but that the
parser shall read it. It shall come to the same for what is read here (``tests/cli/test_plain.py``).
"""

from __future__ import annotations

import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.models import OptionInfo

_INT = re.compile(r"[0-9]{1,18}")
_FLOAT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
_TEXT = re.compile(r"[^-\s].*")
#: Of an option's description: what is no demand on its value. (What stands first in ``Option(…)``
#: is called its default, but beside ``Annotated`` it is a name.)
_WORDS = ("help", "default", "param_decls", "metavar", "autocompletion")
_UNDEMANDING = typer.Option(help="")


class _NotPlain(Exception):
    """The parser shall read it."""


def values_in(function: Callable[..., Any], words: Sequence[str]) -> dict[str, Any] | None:
    """Read a command's options from its words.

    Args:
        function: The command, with its options as Typer takes them.
        words: What stands behind its name.

    Returns:
        The value of each option that was given, by the name of its parameter; None if the
        parser shall read the words.
    """
    try:
        return _read(function, iter(words))
    except _NotPlain:
        return None


def _read(function: Callable[..., Any], words: Iterator[str]) -> dict[str, Any]:
    options = _options(function)
    given: dict[str, Any] = {}
    for word in words:
        option, is_one_word, value = word.partition("=")
        if option not in options:
            raise _NotPlain
        name, kind = options[option]
        if name in given:
            raise _NotPlain
        if isinstance(kind, bool):
            if is_one_word:
                raise _NotPlain
            given[name] = kind
        else:
            given[name] = _value(kind, value if is_one_word else next(words, ""))
    return given


def _options(function: Callable[..., Any]) -> dict[str, tuple[str, Any]]:
    """Of each option: its parameter, and the type of its value; of a flag, what it stands for."""
    options: dict[str, tuple[str, Any]] = {}
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *described = typing.get_args(hints[name])
        info = described[0] if len(described) == 1 else None
        if parameter.default is parameter.empty or not _is_undemanding(info):
            raise _NotPlain
        kind = _without_none(kind)
        if typing.get_origin(kind) is list:  # it may be there more than once: for the parser
            continue
        for each in _names(info) or _usual_names(name, kind):
            positive, _, negative = each.partition("/")
            options[positive] = (name, True if kind is bool else kind)
            if negative:
                options[negative] = (name, False)
    return options


def _is_undemanding(info: object) -> typing.TypeGuard[OptionInfo]:
    """Has an option nothing but names and a help?"""
    if not isinstance(info, OptionInfo):
        return False
    usual = vars(_UNDEMANDING)
    return all(usual[key] == value for key, value in vars(info).items() if key not in _WORDS)


def _names(info: OptionInfo) -> list[str]:
    """Those that an option says it has."""
    names = (info.default, *(info.param_decls or ()))
    return [name for name in names if isinstance(name, str)]


def _usual_names(parameter: str, kind: type) -> list[str]:
    word = parameter.replace("_", "-")
    return [f"--{word}/--no-{word}" if kind is bool else f"--{word}"]


def _without_none(kind: Any) -> Any:
    """``X`` of ``X | None``."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (kind,) = (each for each in typing.get_args(kind) if each is not types.NoneType)
    return kind


def _value(kind: Any, word: str) -> Any:
    if kind is int and _INT.fullmatch(word):
        return int(word)
    if kind is float and _FLOAT.fullmatch(word):
        return float(word)
    if kind in (str, Path) and _TEXT.fullmatch(word):
        return kind(word)
    if isinstance(kind, enum.EnumMeta):
        for member in list[enum.Enum](kind):
            if member.value == word:
                return member
    raise _NotPlain
