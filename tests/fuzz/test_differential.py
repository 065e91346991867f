"""The specification beside the provider: a mistake on either side is a difference, and is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.bugs import CONTENT_BUGS, Bug
from emu.fuzz import differential
from emu.fuzz.differential import compare, compare_all
from emu.fuzz.harness import Harness, Target
from emu.fuzz.program import Operation

from ..conftest import change

STRICT, CHECKED = 1, 4
PUSH, SCRUB, REFILL, CHECK = 5, 10, 11, 19


def program(*operations: bytes, flags: int = 0) -> bytes:
    """4 buffers, a refill ring of 4, a ptr ring of 8."""
    return bytes([3, 2, 7, flags, 0, 0, 0, 0]) + b"".join(operations)


def push(off: int, pad: int = 0) -> bytes:
    """One entry that is written and published."""
    return bytes([PUSH, 0]) + off.to_bytes(8, "little") + bytes(4) + pad.to_bytes(4, "little")


def _bug(name: str, old: str, new: str) -> Bug:
    return Bug(name, "of these tests", change("kernel/provider.c", old, new))


BUGS = {
    "pad": (
        _bug("pad-believed", "if (rqe.__pad)", "if (rqe.__pad == 0xdead)"),
        program(push(0, pad=1), bytes([REFILL])),
        "entries",
        "BAD_PAD",
    ),
    "area": (
        _bug("area-believed", "if (rqe.off & IORING_ZCRX_AREA_MASK)", "if (rqe.off == UINT64_MAX)"),
        program(push(1 << 48), bytes([REFILL])),
        "entries",
        "BAD_AREA",
    ),
    "strict": (
        _bug(
            "strict-the-wrong-way-round",
            "(contract) ? ZCRX_BAD_INDEX : WELL_FORMED",
            "(contract) ? WELL_FORMED : ZCRX_BAD_INDEX",
        ),
        program(push(1 << 44), bytes([REFILL]), flags=STRICT),
        "entries",
        "BAD_INDEX",
    ),
    "bound": (
        CONTENT_BUGS["bound-off-by-one"],
        program(push(4 << 12), bytes([REFILL])),
        "entries",
        "BAD_INDEX",
    ),
}


@pytest.mark.parametrize("name", BUGS)
def test_seeded_bug_is_a_difference(name: str, fast_harness: Harness) -> None:
    bug, hit, field, expected = BUGS[name]
    # Only because of the bug: ours passes the same program.
    assert compare(fast_harness, hit) is None
    difference = compare(Harness(Target(bug=bug, sanitize=False)), hit)
    assert difference is not None
    assert (difference.step, difference.operation) == (1, "refill")
    assert difference.field == field
    assert expected in str(difference.model)
    assert expected not in str(difference.actual)
    assert len(difference.text.splitlines()) == 1
    assert re.fullmatch(
        r"after operation 1 \(refill\): entries: the model says .+, the provider .+",
        difference.text,
    )


def _scrub_counts_one_more(self: Any, op: Operation) -> list[int]:
    return [self.scrub() + 1]


def _scrub_does_nothing(self: Any, op: Operation) -> list[int]:
    return [0]


def _check_is_forgotten(self: Any, op: Operation) -> list[int]:
    return [self._available()]


@pytest.mark.long
@pytest.mark.parametrize(
    ("method", "changed"),
    [
        ("do_scrub", _scrub_counts_one_more),
        ("do_scrub", _scrub_does_nothing),
        ("do_hide", lambda self, op: []),
        ("do_refuse", lambda self, op: []),
        ("do_return", lambda self, op: []),
        ("do_head", lambda self, op: []),
        ("_held", lambda self, op, refs: [niov for niov in range(len(refs)) if refs[niov]]),
    ],
)
def test_mistake_in_the_specification_is_a_difference(
    method: str,
    changed: Callable[..., Any],
    fast_harness: Harness,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The comparison has teeth: what the specification says of each operation matters."""
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    assert fast_harness.call(["draw", "1", "60", "48", str(drawn)]).returncode == 0
    programs = sorted(drawn.iterdir())
    assert compare_all(fast_harness, programs) == []
    monkeypatch.setattr(differential._Machine, method, changed)
    differences = compare_all(fast_harness, programs)
    assert differences
    for path, difference in differences:
        assert path in programs
        assert difference.model != difference.actual


def test_verdicts_that_wait_to_be_looked_at_hold_the_ring_up(
    fast_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has room for 64: of 100 entries the rest is judged after somebody looked."""
    shape = bytes([3, 8, 7, CHECKED, 0, 0, 0, 0])
    entries = bytes([PUSH, 99]) + bytes(12) + (1).to_bytes(4, "little")
    hit = shape + entries + bytes([REFILL, REFILL, CHECK, REFILL])
    assert compare(fast_harness, hit) is None
    answers = [record.numbers("answers") for record in fast_harness.states(hit)[1:-1]]
    assert answers[1:] == [[64], [0], [36], [36]]
    monkeypatch.setattr(differential._Machine, "do_check", _check_is_forgotten)
    difference = compare(fast_harness, hit)
    assert difference is not None
    assert (difference.step, difference.field) == (3, "answers")


def test_rewritten_entries_end_the_comparison_where_they_are_read(fast_harness: Harness) -> None:
    rewrite = bytes([9, 0, 0]) + bytes(16)
    hit = program(push(0), rewrite, bytes([REFILL]), bytes([SCRUB, 0]))
    assert fast_harness.run(hit).is_clean
    assert compare(fast_harness, hit) is None
