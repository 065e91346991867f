"""The manual's pages: right roff, and all that help says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.cli import man, roff
from emu.cli.guide import Example, Guide
from emu.cli.sheet import Panel, Row, Sheet, sheet_of

NOTHING_LEFT_OUT = "ZCRX_EMU_NOTHING_LEFT_OUT"
SHEETS = {roff.name_of(sheet): sheet for sheet in map(sheet_of, man.contexts())}
#: All that roff could make something else of.
AWKWARD = r"'quoted' .x \fB `tick` ~/a^b -- \(aq … % \" \\n"


@pytest.fixture(scope="session")
def formatter() -> str:
    """What reads pages; CI has it."""
    found = shutil.which("mandoc")
    if found is None:
        say = pytest.fail if os.environ.get(NOTHING_LEFT_OUT) else pytest.skip
        say("there is no mandoc")
    assert found is not None
    return found


def _shown(formatter: str, page: str) -> str:
    """What a reader sees of a page, in one line."""
    done = subprocess.run(
        [formatter, "-Tutf8", "-Owidth=500"], input=page, capture_output=True, text=True, check=True
    )
    return " ".join(re.sub(".\b", "", done.stdout).split())


def _complaints(formatter: str, page: str) -> str:
    done = subprocess.run(
        [formatter, "-Tlint", "-Wwarning"], input=page, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_pages_are_right_and_say_all(formatter: str) -> None:
    for name, text in man.pages().items():
        assert text.isascii()
        assert _complaints(formatter, text) == "", name
        shown = _shown(formatter, text)
        sheet = SHEETS[name.removesuffix(".1")]
        rows = [row for panel in sheet.panels for row in panel.rows]
        wanted = [
            sheet.summary,
            *filter(None, sheet.about),
            *(f"{row.names} {row.value}".rstrip() for row in rows),
            *(row.text for row in rows),
            *(example.run for example in sheet.guide.examples),
            *sheet.guide.exit.values(),
        ]
        for item in wanted:
            assert " ".join(item.split()) in shown, name


def test_a_page_takes_nothing_for_a_request(formatter: str) -> None:
    guide = Guide(examples=(Example(AWKWARD, f"Try. {AWKWARD}"),), exit={AWKWARD: AWKWARD})
    panel = Panel(AWKWARD, (Row(AWKWARD, AWKWARD, f".SH {AWKWARD}"),))
    sheet = Sheet(("zcrx-emu", "x"), "WORD", AWKWARD, (AWKWARD,), (panel, panel), guide)
    text = roff.page(sheet, version="1.0", date="2026-11-30")
    assert _complaints(formatter, text) == ""
    shown = _shown(formatter, text)
    # Twice the summary, once its paragraph, twice four places of a panel, and two of two tables.
    assert shown.count(" ".join(AWKWARD.split())) == 2 + 1 + 2 * 4 + 2 * 2


def test_a_complaint_would_be_heard(formatter: str) -> None:
    assert _complaints(formatter, next(iter(man.pages().values())) + ".NOSUCH\n")


def test_each_page_points_to_pages_that_there_are() -> None:
    made = man.pages()
    assert set(made) == {f"{name}.1" for name in SHEETS}
    for text in made.values():
        for name in re.findall(r"^\.BR (\S+) \(1\)", text, re.MULTILINE):
            assert f"{name.replace(chr(92), '')}.1" in made


def test_pages_are_written(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    ended = call("man", "share/man/man1")
    assert (ended.code, ended.stderr) == (0, "")
    names = {path.name for path in (tmp_path / "share/man/man1").iterdir()}
    assert {Path(line).name for line in ended.stdout.splitlines()} == names
    first = {name: (tmp_path / "share/man/man1" / name).read_text() for name in names}
    assert ' 1 2023-11-14 "zcrx-emu ' in first["zcrx-emu-stress.1"]
    assert call("man", "again").code == 0
    assert first == {name: (tmp_path / "again" / name).read_text() for name in names}


@pytest.mark.parametrize(
    ("folder", "epoch", "said"), [("file", "", "'file'"), ("x", "soon", "soon")]
)
def test_what_cannot_be_is_one_line(
    call: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folder: str,
    epoch: str,
    said: str,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    ended = call("man", folder)
    assert (ended.code, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
