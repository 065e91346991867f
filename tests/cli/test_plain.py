"""What is read without the parser comes to what the parser makes of it."""

from __future__ import annotations

import enum
import inspect
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from emu.cli import plain
from emu.cli.root import COMMANDS, _import, load

FUNCTIONS = [name for name in COMMANDS if not isinstance(_import(name), typer.Typer)]
#: Those whose words are options alone.
PLAIN = [name for name in FUNCTIONS if plain.values_in(_import(name), []) is not None]


def _function(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = _import(name)
    return function


def _parsed(name: str, words: list[str]) -> dict[str, Any]:
    """What Typer makes of the words: of each parameter."""
    values: dict[str, Any] = load(name).make_context(name, list(words)).params
    # Of an option that may be repeated and is not there the function gets its default.
    return {key: None if value == () else value for key, value in values.items()}


def _value_for(kind: Any) -> str:
    """A word that can stand behind an option."""
    if isinstance(kind, enum.EnumMeta):
        return str(list(kind)[-1].value)
    return {int: "7", float: "2.5", str: "some,text=1", Path: "a/folder"}[kind]


def _words_of(name: str) -> list[list[str]]:
    """Each option of a command, with a value where it takes one."""
    options = plain._options(_function(name))
    return [
        [option] if isinstance(kind, bool) else [option, _value_for(kind)]
        for option, (_, kind) in options.items()
    ]


@pytest.mark.parametrize("name", PLAIN)
def test_each_option_is_read_as_the_parser_reads_it(name: str) -> None:
    function, nothing = _function(name), _parsed(name, [])
    defaults = {key: value.default for key, value in _parameters(function).items()}
    assert defaults == nothing
    assert _words_of(name)
    for words in _words_of(name):
        values = plain.values_in(function, words)
        assert values is not None, words
        assert defaults | values == _parsed(name, words), words
        if len(words) == 2:
            assert plain.values_in(function, ["=".join(words)]) == values


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
    return dict(inspect.signature(function).parameters)


def test_commands_of_options_alone_are_read() -> None:
    assert {*PLAIN} >= {"stress", "fuzz", "race", "doctor", "config"}


def test_all_options_at_once() -> None:
    words = [word for option in _words_of("fuzz") for word in option]
    values = plain.values_in(_function("fuzz"), words)
    assert values is not None
    assert _parsed("fuzz", []) | values == _parsed("fuzz", words)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--packets"],
        ["--packets", "-1"],
        ["--packets", "1_000"],
        ["--packets", "x"],
        ["--packets="],
        ["--packets", "1", "--packets", "2"],
        ["--pin", "--no-pin"],
        ["--pin=1"],
        ["--duration", "1e3"],
        ["--duration", "nan"],
        ["--verify", "some"],
        ["--json", "-"],
        ["--traffic", ""],
        ["--packet", "1"],
        ["--packets", "1", "more"],
        ["-p"],
    ],
    ids=" ".join,
)
def test_what_is_not_quite_plain_is_left_to_the_parser(words: list[str]) -> None:
    assert plain.values_in(_function("stress"), words) is None


def test_option_that_demands_something_is_left_to_the_parser() -> None:
    def command(count: typing.Annotated[int, typer.Option(min=3)] = 5) -> None: ...

    assert plain.values_in(command, ["--count", "4"]) is None


def test_plain_words_load_no_library_of_validation() -> None:
    script = (
        "import sys\nfrom emu.cli.root import main\nsys.argv = ['zcrx-emu', 'config', '--cflags']\n"
        "try: main()\nfinally: print('pydantic' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("-I")
    assert done.stderr == "False\n"
