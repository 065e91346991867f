"""Help: what each command says of itself, and that it is true."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from emu.cli import commands, guide, man, sheet
from emu.cli.helping import help_text
from emu.cli.root import load
from emu.config import RunConfig
from emu.exec.shape import shape_of
from faults import load_plan

ROOT = Path(__file__).parents[2]
WIDTH = 80


CONTEXTS = {"-".join(sheet.words_of(item)[1:]) or guide.WHOLE: item for item in man.contexts()}
SHEETS = {name: sheet.sheet_of(context) for name, context in CONTEXTS.items()}
EXAMPLES = [
    pytest.param(name, example.run, id=f"{name}-{number}")
    for name in SHEETS
    for number, example in enumerate(guide.guide_of(name).examples)
]


def _names(name: str) -> set[str]:
    """What a panel of a guide may name."""
    context = CONTEXTS[name]
    options = (p for p in context.command.params if p.param_type_name == "option")
    names = {max(option.opts, key=len).lstrip("-") for option in options}
    return names | set(getattr(context.command, "commands", ()))


def test_each_guide_is_of_a_command_and_each_command_has_one() -> None:
    assert {path.stem for path in guide.FOLDER.glob("*.toml")} == set(SHEETS)


@pytest.mark.parametrize("name", SHEETS)
def test_guide_says_what_a_reader_needs(name: str) -> None:
    said = SHEETS[name].guide
    assert said.examples
    assert said.exit
    assert said.see
    listed = [item for items in said.panels.values() for item in items]
    assert len(listed) == len(set(listed))
    assert set(listed) <= _names(name)


@pytest.mark.parametrize("name", SHEETS)
def test_guide_points_to_what_there_is(name: str) -> None:
    for item in SHEETS[name].guide.see:
        if item.endswith(".md"):
            assert (ROOT / item).is_file()
        else:
            assert item.replace(" ", "-") in SHEETS


@pytest.mark.parametrize("name", SHEETS)
def test_help_has_everything_once_and_fits(name: str) -> None:
    text = help_text(SHEETS[name], WIDTH - 2)
    assert max(map(len, text.splitlines())) <= WIDTH
    options = re.findall(r"^  (--?\w.*?)(?:  .*)?$", text, re.MULTILINE)
    for item in CONTEXTS[name].command.params:
        if item.param_type_name == "option":
            word = max(item.opts, key=len)
            assert sum(re.search(rf"{word}\b(?!-)", line) is not None for line in options) == 1
    for example in SHEETS[name].guide.examples:
        assert f"\n    {example.run}" in text


def test_colours_change_nothing_but_colours() -> None:
    plain = help_text(SHEETS["stress"], 78)
    coloured = help_text(SHEETS["stress"], 78, is_coloured=True)
    assert coloured != plain
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == plain


def test_options_without_a_panel_come_last() -> None:
    panels = SHEETS["stress"].panels
    assert [panel.title for panel in panels][-1] == "Options"
    assert [row.names for row in panels[-1].rows] == ["-h, --help"]


@pytest.mark.parametrize(
    "text", ["sea = ['stress']", "see = [", "[[examples]]\nrum = 'x'\nwhat = 'y'"]
)
def test_guide_that_is_none_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        guide.parse(text)


# ---- Examples -----------------------------------------------------------------------------------


def _calls(run: str) -> list[list[str]]:
    """The words of each call of ours in a line for a shell."""
    inner = re.findall(r"\$\((zcrx-emu [^)]*)\)", run)
    outer = re.split(r"&&|\||>", re.sub(r"\$\([^)]*\)", "", run))
    words = [shlex.split(part) for part in (*outer, *inner)]
    return [call[1:] for call in words if call and call[0] == "zcrx-emu"]


def _resolved(words: list[str]) -> Any:
    """The context of a call: the parser has read all of its words."""
    context = load(words[0]).make_context(words[0], words[1:])
    inner = getattr(context.command, "commands", {})
    if inner:
        return inner[words[1]].make_context(words[1], words[2:], parent=context)
    return context


@pytest.mark.parametrize(("name", "run"), EXAMPLES)
def test_example_is_read_by_the_parser(name: str, run: str) -> None:
    calls = _calls(run)
    assert calls
    assert name == guide.WHOLE or any("-".join(call).startswith(name) for call in calls)
    for call in calls:
        values = _resolved(call).params
        if call[0] == "exec":
            shape_of(values["shape"])
        elif values.get("faults"):
            load_plan(values["faults"])


@pytest.mark.parametrize(
    ("name", "run"),
    [item for item in EXAMPLES if str(item.values[1]).startswith("zcrx-emu stress")],
)
def test_example_is_a_run(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, run: str
) -> None:
    """Up to where processes are started."""
    asked: list[RunConfig] = []

    def note(_console: object, config: RunConfig, _folder: object, **_options: object) -> None:
        asked.append(config)
        raise typer.Exit

    monkeypatch.setattr(commands, "run_stress", note)
    (tmp_path / "mine.c").write_text("")
    for words in _calls(run):
        ended = call(*words)
        assert (ended.code, ended.stderr) == (0, "")
    assert len(asked) == 1


#: Commands whose examples take no time, and need nothing.
_AT_ONCE = ("faults", "doctor", "config")


@pytest.mark.parametrize(
    ("name", "run"), [item for item in EXAMPLES if str(item.values[0]).startswith(_AT_ONCE)]
)
def test_example_works(call: Callable[..., Any], name: str, run: str) -> None:
    for words in _calls(run):
        ended = call(*words)
        assert ended.stdout
        assert ended.stderr == ""
        assert ended.code in {0} | {int(code) for code in guide.guide_of(name).exit}
