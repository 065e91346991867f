"""KTAP: by the letter of its description, and nothing passes that was not asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tap.parser import Parser

import emu.check.cli as check_cli
from emu.check.outcome import Answer, Found, Part
from emu.check.subject import subject_of
from emu.check.tools import Frame, Tool
from emu.cli.root import load
from emu.compile.provider_file import library_of
from emu.errors import ConfigError, EnvironmentProblem
from emu.formats.ktap import Tried, ktap_text, search_tests, skipped

from .conftest import BROKEN, EXAMPLES
from .ktap_reader import Result, WrongError, read_ktap

PROVIDER = EXAMPLES / "plain_provider.c"
_WORDS = st.text(max_size=8)
TESTS = st.recursive(
    st.builds(
        Tried,
        _WORDS,
        st.booleans(),
        st.sampled_from(["", "SKIP", "ERROR"]),
        _WORDS,
        st.lists(_WORDS, max_size=2).map(tuple),
    ),
    lambda inner: st.builds(
        Tried, _WORDS, st.booleans(), parts=st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=4,
)


def _same(tests: list[Tried], results: list[Result]) -> None:
    assert len(tests) == len(results)
    for test, result in zip(tests, results, strict=True):
        assert (result.is_ok, result.directive) == (test.is_ok, test.directive)
        _same(list(test.parts), result.parts)


@given(tests=st.lists(TESTS, max_size=3))
@settings(max_examples=40, deadline=None)
def test_whatever_the_words_are_it_is_ktap(tests: list[Tried]) -> None:
    text = ktap_text(tests)
    _same(tests, read_ktap(text))
    assert all(ord(char) >= 32 for line in text.splitlines() for char in line)


def test_reader_forgives_nothing() -> None:
    good = ktap_text([Tried("a", parts=(Tried("b", False),)), skipped("c", "no")])
    assert [item.is_ok for item in read_ktap(good)] == [False, True]
    for old, new in (
        ("1..2", "1..3"),
        ("ok 2", "ok 3"),
        ("not ok 1 a", "ok 1 a"),
        ("  KTAP version 1\n", ""),
        ("  not ok 1 b", "    not ok 1 b"),
    ):
        with pytest.raises(WrongError):
            read_ktap(good.replace(old, new, 1))


def test_parsers_of_tap_read_the_outer_level() -> None:
    text = ktap_text(
        [Tried("one", False, said=("why",), parts=(Tried("x", False),)), skipped("two", "y")]
    )
    found = [line for line in Parser().parse_text(text) if line.category == "test"]
    assert [(line.ok, line.description, line.skip) for line in found] == [
        (False, "one", False),
        (True, "two", True),
    ]
    assert found[1].directive.reason == "y"


# ---- a check ----------------------------------------------------------------------------


def _says(*answer: Any) -> Callable[..., Answer]:
    return lambda *_: Answer(*answer)


def _fails(_frame: Frame, *_: object) -> Answer:
    raise EnvironmentProblem("there is no compiler")


PARTS = [
    Part("a", True, "9 executions, all of it"),
    Part("b", False, "lost"),
    Part("c", None, "no"),
]
QUIET = Tool("quiet", 0.5, "much", _says("a lot", [], False))
RACER = Tool(
    "race", 0.5, "much", _says("3 scenarios", [Found("b: lost", "x", "again x")], False, PARTS)
)
STOPPED = Tool("stopped", 0.5, "all", _says("a bit", [], True))
BROKEN_TOOL = Tool("broken", 0.5, "all", _fails)


@pytest.fixture
def checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[Result]]]:
    """Check with these tools; exit code and what is said in KTAP."""

    def check(*tools: Tool) -> tuple[int, list[Result]]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(check_cli, "tools_for", lambda _subject: (list(tools), []))
        code = load("check").main([str(PROVIDER), "--ktap", "-"], standalone_mode=False) or 0
        said = capfd.readouterr()
        assert "PASS" in said.err or "FAIL" in said.err or "NO " in said.err
        return code, read_ktap(said.out)

    return check


def test_tool_is_a_test_and_its_parts_are_tests_of_it(checked: Any) -> None:
    code, (quiet, race) = checked(QUIET, RACER)
    assert code == 1
    assert quiet.is_ok
    assert quiet.said[0].startswith("quiet: looked at a lot in ")
    assert not race.is_ok
    assert "race: again x" in race.said
    assert [(part.name, part.is_ok, part.directive) for part in race.parts] == [
        ("a", True, ""),
        ("b", False, ""),
        ("c", True, "SKIP"),
    ]
    assert race.parts[2].why == "no"


def test_what_could_not_be_asked_does_not_pass(checked: Any) -> None:
    code, (broken, quiet) = checked(BROKEN_TOOL, QUIET)
    assert code == 2
    assert (broken.is_ok, broken.directive, broken.why) == (False, "ERROR", "there is no compiler")
    assert quiet.is_ok
    code, (stopped, left) = checked(STOPPED, QUIET)
    assert (stopped.directive, left.directive) == ("SKIP", "SKIP")
    assert left.why == "interrupted before it was its turn"


def test_library_is_skipped_with_the_reason(tmp_path: Path) -> None:
    from emu.check.tools import tools_for
    from emu.formats.ktap import check_tests

    _, left = tools_for(subject_of(library_of(PROVIDER)))
    (race,) = check_tests({"tools": [item.as_dict() for item in left], "left": []})
    assert (race.name, race.directive) == ("race", "SKIP")
    assert "name its source" in race.why


def test_corpus_is_kept_for_the_next_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Path | None] = []

    def ask(frame: Frame, *_: object) -> Answer:
        seen.append(frame.corpus)
        return Answer("a lot", [], False)

    monkeypatch.setattr(check_cli, "tools_for", lambda _: ([Tool("fuzz", 1, "", ask)], []))
    load("check").main([str(PROVIDER), "--corpus", "kept/here"], standalone_mode=False)
    assert seen == [Path("kept/here")]
    assert seen[0] is not None
    assert seen[0].is_dir()
    words = [str(EXAMPLES / "plain_consumer.c"), "--corpus", "c"]
    with pytest.raises(ConfigError, match="corpus: 'c' is not allowed; programs are for"):
        load("check").main(words, standalone_mode=False)


# ---- a search ---------------------------------------------------------------------------


def test_scenarios_of_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--scenario", "refill-vs-scrub", "--provider", str(BROKEN), "--ktap", "-"]
    assert load("race").main([*words, "--json", "race.json"], standalone_mode=False) == 1
    said = capfd.readouterr()
    (test,) = read_ktap(said.out)
    assert not test.is_ok
    assert any("it must be in one place" in line for line in test.said)
    assert "FINDINGS: 1" in said.err
    assert json.loads((tmp_path / "race.json").read_text())["untried"] == []


def test_nothing_looked_at_is_no_pass() -> None:
    item = {"scenario": "s", "finding": None, "schedules": 0, "complete": False, "share": 0.0}
    untried = [{"scenario": "t", "why": "the set-up"}]
    cut = {**item, "scenario": "u", "schedules": 5, "interrupted": True}
    summary = {"scenarios": [{**item, "interrupted": False}, cut], "untried": untried}
    assert [(test.name, test.directive) for test in search_tests(summary)] == [
        ("s", "SKIP"),
        ("u", "SKIP"),
        ("t", "SKIP"),
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["check", str(PROVIDER), "--ktap", "-", "--json", "-"],
            "ktap: '-' is not allowed; stdout",
        ),
        (["race", "--ktap", "/nowhere/x"], "ktap: '/nowhere/x' cannot be written"),
        (["race", "--list", "--ktap", "x"], "ktap: 'x' is not allowed; it is of a search"),
    ],
)
def test_wrong_use(words: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)):
        load(words[0]).main(words[1:], standalone_mode=False)
