"""What a consumer has in its hands: each mistake is told with its completion and its lines."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import pytest

from emu.consumer import Completion
from emu.core import RawFragment, Touch
from emu.runtime.custody import NAMED_MAX, REMEMBERED, Custody, Site, outside, site_of


def fragment(niov: int, seq: int = 0, at: int = 0) -> RawFragment:
    return RawFragment(niov << 12 | at, 3, 1000, 2, 0, seq, 1, 0)


class Hands:
    """A custody, and what it told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.custody = Custody(12, self.told.append)

    def hand_out(self, raw: RawFragment) -> Completion:
        ordinal = self.custody.hand_out(raw, here())
        return Completion(memoryview(b""), 3, raw.off, raw.res, raw.seq, raw, ordinal)

    def give_back(self, completion: Completion, site: Site | None = None) -> bool:
        return self.custody.give_back(completion.ordinal, completion.raw, site or here())


@pytest.fixture
def hands() -> Hands:
    return Hands()


def here(line: int = 0) -> Site:
    code, number = site_of(sys._getframe(1))
    return code, line or number


def test_what_is_out_comes_back_once(hands: Hands) -> None:
    first, second = hands.hand_out(fragment(5)), hands.hand_out(fragment(5, 1))
    assert (first.ordinal, second.ordinal) == (0, 1)
    assert hands.give_back(second)
    assert hands.give_back(first)
    assert hands.told == []
    assert hands.custody.kept() is None


def test_second_return_names_the_completion_and_both_lines(hands: Hands) -> None:
    completion = hands.hand_out(fragment(5, 7))
    assert hands.give_back(completion, here(10))
    assert not hands.give_back(completion, here(20))
    (text,) = hands.told
    name = os.path.relpath(__file__)
    assert text == (
        f"completion 0 (flow 3, fragment 7, buffer 5) was given back at {name}:20, after it had "
        f"been given back at {name}:10"
    )


def test_return_before_the_memory_began_is_still_no_return(hands: Hands) -> None:
    first = hands.hand_out(fragment(5))
    assert hands.give_back(first)
    for _ in range(REMEMBERED):
        assert hands.give_back(hands.hand_out(fragment(6)))
    assert not hands.give_back(first)
    assert "too long ago to say where" in hands.told[0]


@pytest.mark.parametrize("off", [-1, 2**64, 6 << 12, "a" * 500, None])
def test_changed_completion_is_told_and_leaves_the_true_one_out(hands: Hands, off: Any) -> None:
    completion = hands.hand_out(fragment(5))
    made_up = replace(completion, raw=replace(completion.raw, off=off))
    assert not hands.give_back(made_up)
    assert "never handed out" in hands.told[0]
    assert len(hands.told[0]) < 200
    assert hands.give_back(completion)


@pytest.mark.parametrize("ordinal", [-1, 77, 2**70, "x", None])
def test_completion_with_another_ordinal_was_never_handed_out(hands: Hands, ordinal: Any) -> None:
    completion = replace(hands.hand_out(fragment(5)), ordinal=ordinal)
    assert not hands.give_back(completion)
    assert "never handed out" in hands.told[0]


def test_each_line_is_told_once_and_only_the_first_ones(hands: Hands) -> None:
    completion = hands.hand_out(fragment(5))
    assert hands.give_back(completion)
    for line in range(1, NAMED_MAX + 4):
        for _ in range(3):
            assert not hands.give_back(completion, here(line))
    assert len(hands.told) == NAMED_MAX


def test_touch_is_put_down_to_the_fragment_that_held_the_byte(hands: Hands) -> None:
    low, high = hands.hand_out(fragment(5)), hands.hand_out(fragment(5, 1, at=2048))
    hands.give_back(low, here(10))
    hands.give_back(high, here(11))
    hands.custody.touched(Touch(5 << 12 | 999, 0, False), sys._getframe())
    assert "completion 0 (flow 3, fragment 0, buffer 5) was read at " in hands.told[0]
    assert hands.told[0].endswith(":10")


def test_touch_of_what_nobody_held_says_so(hands: Hands) -> None:
    hands.custody.touched(Touch(6 << 12, 0, True), None)
    assert hands.told == [
        "buffer 6 was written to at a line that is not known and none of its fragments was out"
    ]


def test_what_is_kept_is_counted_and_the_oldest_named(hands: Hands) -> None:
    for seq in range(5):
        hands.hand_out(fragment(5, seq))
    hands.give_back(hands.hand_out(fragment(6)))
    kept = hands.custody.kept()
    assert kept is not None
    assert kept.count == 5
    assert kept.text.startswith("completion 0 (flow 3, fragment 0, buffer 5), handed out at ")


def test_frames_of_the_library_are_not_the_users() -> None:
    frame = outside(sys._getframe())
    assert frame is not None
    assert frame.f_code.co_filename == __file__
    assert outside(None) is None
