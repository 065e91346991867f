"""The operations in words are those that the simulation knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emu.compile.ondemand import core_sources
from emu.errors import ConfigError
from emu.race.operations import OPERATIONS, check_operations, split


def test_table_is_that_of_the_simulation() -> None:
    source = (core_sources() / "sim" / "script.h").read_text()
    assert re.findall(r'X\(\w+, "([a-z-]+)"\)', source) == list(OPERATIONS)


def test_explanations_are_one_line_and_say_who() -> None:
    for word, (_, text) in OPERATIONS.items():
        assert re.match(r"(provider|stack|NIC|user|control|end): [a-z]", text, re.I), word
        assert len(text) <= 80, word


def test_docs_explain_each_operation_as_the_command_does() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "racing.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)[^`]*` \| (.*) \|$", docs, re.MULTILINE))
    assert {word: rows.get(word) for word in OPERATIONS} == {
        word: text for word, (_, text) in OPERATIONS.items()
    }


def test_unknown_operation_is_answered_with_near_names() -> None:
    with pytest.raises(ConfigError, match=r"^operation of actor nic: 'refil' .*near are refill"):
        check_operations("actor nic", "alloc 1; refil")


def test_script_is_split_at_semicolons() -> None:
    assert split(" alloc 1;; refill ; ") == ["alloc 1", "refill"]
