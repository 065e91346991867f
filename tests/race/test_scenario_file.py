"""Scenarios of the user's own: what is wrong is named by file and line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.errors import ConfigError
from emu.race.scenario_file import find_scenarios

Call = Callable[..., Any]
GOOD = """\
from emu.race import Scenario, Shape

SCENARIO = Scenario("mine", "Two scrubs.", {"one": "scrub", "two": "scrub"},
                    shape=Shape(niovs=2), setup="alloc 2; deliver 2 1", end="expect-home")
"""


def test_scenario_of_a_file_is_searched(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(GOOD)
    ended = call("race", "--scenario", "mine.py")
    assert (ended.code, ended.stderr) == (0, "")
    assert "mine: complete: all " in ended.stdout


def test_example_of_the_docs_is_complete_and_clean(call: Call, tmp_path: Path) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "racing.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", docs, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(example)
    ended = call("race", "--scenario", "mine.py")
    assert (ended.code, ended.stderr) == (0, "")
    assert "two-returns: complete: all " in ended.stdout


def test_file_may_define_several(tmp_path: Path) -> None:
    path = tmp_path / "several.py"
    path.write_text(
        "from emu.race import Scenario\n"
        "SCENARIOS = [Scenario(f'n{i}', 'x', {'a': 'refill'}) for i in range(3)]\n"
    )
    assert [item.name for item in find_scenarios(str(path))] == ["n0", "n1", "n2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nthis is no Python\n", "mine.py:2: SyntaxError: invalid syntax"),
        ("x = 1\n\ny = 1 / 0\n", "mine.py:3: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "mine.py:2: SystemExit: 3"),
        ("from emu.race import nothing\n", "mine.py:1: ImportError"),
        (
            "from emu.race import Scenario\n\nSCENARIO = Scenario('Mine', 'x', {'a': 'refill'})\n",
            "mine.py:3: scenario: 'Mine' is not allowed",
        ),
        ("x = 1\n", "mine.py: it must define SCENARIO"),
        ("SCENARIOS = []\n", "mine.py: it must define SCENARIO"),
        ("SCENARIO = 'refill-vs-scrub'\n", "mine.py: it must define SCENARIO"),
        (GOOD.replace('"scrub"', '"scrubb"'), "operation of actor one: 'scrubb' is not allowed"),
        (GOOD.replace("niovs=2", "niovs=65"), "scenario mine: niovs: 65: it must be a number"),
        (GOOD.replace("alloc 2;", "alloc 2 3 4;"), "scenario mine: operation: alloc: it takes"),
        (GOOD.replace("alloc 2;", "destroy 1; "), "setup: destroy found buffers all at home"),
        (GOOD.replace("alloc 2;", "await-rqes; "), "setup: it does not come to an end"),
    ],
)
def test_wrong_file_is_answered_in_one_line(
    call: Call, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "mine.py").write_text(text)
    ended = call("race", "--scenario", "mine.py")
    assert ended.code == 2
    assert len(ended.stderr.splitlines()) == 1
    assert words in ended.stderr


def test_absent_file_is_answered_in_one_line(call: Call) -> None:
    ended = call("race", "--scenario", "absent.py")
    assert (ended.code, ended.stdout) == (2, "")
    assert "scenario: 'absent.py' cannot be read (No such file or directory)" in ended.stderr


def test_unknown_scenario_is_answered_with_near_names() -> None:
    with pytest.raises(ConfigError, match=r"'refill-vs-scrubs' .*near are refill-vs-scrub"):
        find_scenarios("refill-vs-scrubs")


@pytest.mark.parametrize(
    ("setup", "actor", "words"),
    [
        ("alloc 1; deliver 0 1", "refill", "deliver: 0 of them is to do nothing"),
        ("deliver 1 1", "refill", "operation 1, deliver: .* the stack's hand does not hold"),
        ("alloc 9", "refill", "operation 1, alloc: .* there are fewer buffers"),
        ("alloc 1; return 0", "refill", "operation 2, return: .* the user does not hold it"),
        ("send 1", "refill", "operation 1, send: .* no buffer is granted"),
        ("flush", "refill", "operation 1, flush: .* the refill ring is empty"),
        ("grant 1", "cut 1", "cut: no close follows"),
        ("grant 1", "close", "close: nothing was cut before it"),
    ],
)
def test_operation_that_does_nothing_is_refused(
    call: Call, tmp_path: Path, setup: str, actor: str, words: str
) -> None:
    text = GOOD.replace("alloc 2; deliver 2 1", setup).replace(
        '"one": "scrub"', f'"one": "{actor}"'
    )
    (tmp_path / "mine.py").write_text(text)
    ended = call("race", "--scenario", "mine.py")
    assert ended.code == 2
    assert re.search(f"scenario mine: .*{words}", ended.stderr)
    assert len(ended.stderr.splitlines()) == 1
