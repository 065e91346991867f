"""A scenario's text: read in one place, refused in one line, handed on as numbers."""

from __future__ import annotations

import pytest

from emu.errors import ConfigError
from emu.race.library import SCENARIOS
from emu.race.scenario import Scenario, Shape
from emu.race.script import read_script


def test_text_becomes_numbers() -> None:
    scenario = Scenario(
        "one",
        "Of these tests.",
        {"nic": "deliver 2", "user": "push 0x1000; write 010 1 7"},
        shape=Shape(niovs=3, cq=4, index=2**32 - 1),
        setup="alloc 1",
        end="destroy",
        honest=True,
    )
    assert read_script("one", scenario.text).numbers == (
        "3 2 4 2 2 4294967295 0 0 0 1 2\n"
        "1 =nic\ndeliver 2 1 0\n"
        "2 =user\npush 4096 0 0\nwrite 8 1 7\n"
        "1 =\nalloc 1 1 0\n"
        "1 =\ndestroy 0 1 0\n"
    )


def test_lines_come_in_any_order_and_may_be_comments() -> None:
    script = read_script(
        "one", "  # why\nend flush\n\tactor a: refill ;; \t ; flush\nsetup scrub\n"
    )
    assert script.actors == [("a", [("refill", 1, 1, 0), ("flush", 1, 1, 0)])]
    assert (script.setup, script.end) == ([("scrub", 1, 1, 0)], [("flush", 1, 1, 0)])
    assert list(script.shape.values()) == [2, 2, 2, 2, 2, 0, 0]


@pytest.mark.parametrize(
    ("number", "value"),
    [("7", 7), ("0x1F", 31), ("010", 8), ("+3", 3), ("-1", 2**64 - 1), ("9" * 5000, 2**64 - 1)],
)
def test_numbers_are_those_of_c(number: str, value: int) -> None:
    assert read_script("one", f"actor a: tail {number}").actors[0][1] == [("tail", value, 1, 0)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "scenario: : it has no actor"),
        ("foo", "line: foo: it must begin with shape, kernel, setup, actor, end or honest"),
        ("actor a: refill\n" * 9, "actor: actor a: refill: there can be 8 at most"),
        ("#" * 65535, "it is too long"),
        ("shape niovs", "shape: niovs: it must be NAME=NUMBER"),
        ("shape x=1", "shape: x: there is no such size"),
        ("shape niovs=65", "niovs: 65: it must be a number, at most 64"),
        ("shape more=1\nactor a: refill", "more: 1: the kernel seed has one area"),
        (
            "kernel 7.3\nshape niovs=33 more=32\nactor a: refill",
            "more: 32: there are 64 buffers at most",
        ),
        ("actor a: add-area 0", "operation: add-area: 0 of them is to do nothing"),
        ("actor a: fly", "operation: fly: there is no such operation"),
        ("actor a: refill 1", "operation: refill: it takes fewer numbers"),
        ("actor a: return", "operation: return: it takes more numbers"),
        ("actor a: alloc 1_0", "alloc: 1_0: it must be a number"),
        ("actor a: deliver 1 0", "operation: deliver: 0 of them is to do nothing"),
        ("actor a: " + "refill;" * 65, "script: a: it has too many operations"),
        ("actor a: close", "operation: close: nothing was cut before it"),
        ("setup cut\nactor a: refill", "operation: cut: no close follows"),
    ],
)
def test_wrong_text_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_script("scenario one", text)
    assert str(caught.value) == f"scenario one: {words}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_ready_scenario_is_read(name: str) -> None:
    script = read_script(name, SCENARIOS[name].text)
    assert [actor for actor, _ in script.actors] == list(SCENARIOS[name].actors)


def test_kernel_is_a_line_of_its_own_and_seed_needs_none() -> None:
    scenario = Scenario("one", "", {"a": "refill"}, kernel="7.3")
    assert "kernel 7.3" in scenario.text.splitlines()
    assert read_script("scenario one", scenario.text).numbers.split()[7] == "5"
    assert "kernel" not in Scenario("one", "", {"a": "refill"}).text
    with pytest.raises(
        ConfigError, match=r"^kernel: '2\.4' is not allowed; it must be one of seed"
    ):
        Scenario("one", "", {"a": "refill"}, kernel="2.4")
    with pytest.raises(ConfigError, match=r"scenario one: kernel: 2\.4: it must be one of seed"):
        read_script("scenario one", "kernel 2.4\nactor a: refill")
