"""What the simulation says has words: its tables and ours have the same names and numbers."""

from __future__ import annotations

import re

import pytest

from emu.compile.ondemand import core_sources
from emu.race.runner import Memory, Runner, Search
from emu.race.scenario import Scenario
from emu.race.sentences import (
    ENTRIES,
    FINDINGS,
    OF_BUFFERS,
    REFUSALS,
    TOUCHES,
    WORDS,
    finding_text,
    numbers_of,
    refusal_text,
    word_text,
)


def _rows(file: str, macro: str) -> list[list[str]]:
    """The arguments of each ``X(…)`` of a table."""
    text = (core_sources() / "sim" / file).read_text()
    table = re.search(rf"#define {macro}\(X\)(.*?[^\\])\n", text, re.DOTALL)
    assert table
    return [row.split(", ") for row in re.findall(r"X\(([^)]*)\)", table[1])]


def test_each_finding_has_a_sentence_with_its_numbers() -> None:
    rows = {name: int(count) for name, _, count, _ in _rows("finding.h", "SIM_FINDINGS")}
    assert {name: len(numbers_of(text)) for name, text in FINDINGS.items()} == rows
    assert rows.keys() > OF_BUFFERS


def test_no_finding_tells_by_more_numbers_than_it_has() -> None:
    most = max(int(count) for _, _, count, _ in _rows("finding.h", "SIM_FINDINGS"))
    text = (core_sources() / "sim" / "finding.h").read_text()
    assert f"#define SIM_NUMBERS_MAX {most}U" in text
    for name, _, count, telling in _rows("finding.h", "SIM_FINDINGS"):
        assert int(telling) <= int(count), name


def test_each_touch_has_a_word() -> None:
    assert [[name] for name in TOUCHES] == _rows("finding.h", "SIM_TOUCHES")


def test_each_word_of_shared_memory_has_a_name_with_its_numbers() -> None:
    rows = {name: int(count) for name, count in _rows("words.h", "WORDS")}
    assert {name: len(numbers_of(text)) for name, text in WORDS.items()} == rows
    assert [[name] for name in ENTRIES] == _rows("words.h", "WORDS_ENTRIES")


def test_each_word_of_a_buffer_has_a_name_of_its_own(racy: Runner) -> None:
    scenario = Scenario("one", "", {"nic": "send 1", "provider": "refill"}, setup="grant 1",
                        end="expect-home")  # fmt: skip
    found = racy.search(scenario, Search(memory=Memory.SC)).found
    assert found is not None
    words = {step.word for step in found.steps if step.word.endswith(" of niov 0")}
    assert words == {"user refs of niov 0", "delivered of niov 0"}


def test_each_refusal_has_a_reason() -> None:
    assert [[name] for name in REFUSALS] == _rows("world.h", "WORLD_REFUSALS")


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("NONE", "-"),
        ("NIOV_POOL 3", "pool of niov 3"),
        ("PTR_RING_SLOT 1 0", "ptr ring 1 slot 0"),
        ("RQE", "rqe"),
        ("RQE 2", "rqe 2"),
        ("CQE 0 1", "cqe 0 (2nd half)"),
    ],
)
def test_word_is_named(said: str, word: str) -> None:
    assert word_text(said) == word


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"found": "LOCK_LEFT", "numbers": ""}, "a lock was left taken"),
        (
            {"found": "VERDICTS", "numbers": "6 2 0"},
            "verdict no_user_ref was given 2 times, not 0",
        ),
        ({"found": "VERDICTS", "numbers": "9 0 1"}, "verdict ? was given 0 times, not 1"),
        (
            {"found": "DATA_RACE", "numbers": "5 1 0 2", "word": "NIOV_USER_REFS 0"},
            "data race at user refs of niov 0: an atomic store of b, not ordered with a's "
            "plain read",
        ),
        (
            {
                "found": "ASSERTION",
                "numbers": "12",
                "word": "NONE",
                "file": "/cext/kernel/area.h",
                "function": "take",
                "text": "now == {2}",
            },
            "area.h:12: take: assertion failed: now == {2}",
        ),
    ],
)
def test_finding_is_a_sentence(said: dict[str, str], text: str) -> None:
    assert finding_text(said, ("a", "b")) == text


def test_refusal_names_the_operation_that_it_is_about() -> None:
    setup = [("alloc", 1, 1, 0), ("return", 0, 1, 0)]
    assert refusal_text({"why": "NO_SCENARIO", "operation": "0"}, setup) == (
        "scenario: : it is none"
    )
    assert refusal_text({"why": "RING_FULL", "operation": "2"}, setup) == (
        "setup: operation 2, return: it does nothing, or less than it says: "
        "the refill ring has no room for it"
    )
