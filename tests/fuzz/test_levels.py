"""Programs name the kernel that is played; harness, judge and specification go by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.bugs import Bug
from emu.contract import LEVELS, SEED
from emu.fuzz.differential import compare
from emu.fuzz.harness import Harness, Target

from ..conftest import change

Call = Callable[..., Any]

ORDERS = 9  #: of the refill ring; the byte has the level above
LEND_ALL = bytes([0, 3]) + bytes([1, 3, 0, 0])  # alloc and deliver
COPY, DESTROY = bytes([3, 0]), bytes([15])
REFILL, FLUSH = bytes([11]), bytes([12])
HEAD_77 = bytes([8, 77, 0, 0, 0])
PUSH_0 = bytes([5, 0]) + bytes(16)
ADD_2 = bytes([26, 1])
LEND_SIX = bytes([0, 5]) + bytes([1, 5, 0, 0])
PUSH_BAD = bytes([5, 0]) + bytes(12) + bytes([1, 0, 0, 0])


def push_at(off: int) -> bytes:
    return bytes([5, 0]) + off.to_bytes(8, "little") + bytes(8)


def program(level: str, *operations: bytes) -> bytes:
    """4 buffers, a refill ring of 4, a ptr ring of 8."""
    head = bytes([3, 2 + ORDERS * LEVELS.index(level), 7, 0, 0, 0, 0, 0])
    return head + b"".join(operations)


@pytest.mark.parametrize("level", LEVELS)
def test_program_names_its_level(fast_harness: Harness, level: str) -> None:
    trial = fast_harness.run(
        program(level, LEND_ALL, PUSH_0, PUSH_0, REFILL, HEAD_77, REFILL, FLUSH)
    )
    assert trial.is_clean
    assert (f", kernel {level}" in trial.shape) == (level != SEED)


def test_what_is_made_up_is_of_the_level_that_is_asked_for(
    fast_harness: Harness, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for level in (SEED, "7.3"):
        harness = Harness(Target(sanitize=False, kernel=level))
        folder = tmp_path_factory.mktemp("drawn")
        harness.call(["draw", "1", "20", "30", str(folder)])
        programs = [path.read_bytes() for path in sorted(folder.iterdir())]
        assert len(programs) == 20
        assert {each[1] // ORDERS % len(LEVELS) for each in programs} == {LEVELS.index(level)}
        for each in programs:
            assert compare(fast_harness, each) is None


#: Of the core at a level: what shows it, and as what.
MISTAKES = {
    "run-in-part": (
        "7.3",
        change(
            "kernel/area.h",
            "if (now < count)\n\t\t\treturn false;",
            "if (now == 0)\n\t\t\treturn false;\n\t\tcount = 1;",
        ),
        (LEND_ALL, PUSH_0, PUSH_0, REFILL),
        "verdict:no_user_ref:still_referenced",
    ),
    "rejected-ends-run": (
        "7.3",
        change(
            "kernel/provider.c",
            "*verdict_at(batches, i) = verdict;\n\t\tif (verdict < WELL_FORMED)\n\t\t\tcontinue;",
            "*verdict_at(batches, i) = verdict;\n\t\tif (verdict < WELL_FORMED) {\n"
            "\t\t\tuint32_t of = run->niov;\n\n"
            "\t\t\tif (judge_stretch(ifq, pool, batches, run))\n"
            "\t\t\t\tpool->shared->cache[cached++] = of;\n"
            "\t\t\tcontinue;\n\t\t}",
        ),
        (LEND_ALL, PUSH_0, PUSH_BAD, PUSH_0, REFILL),
        "verdict:no_user_ref:accepted",
    ),
    "head-kept": (
        "7.3",
        change(
            "kernel/provider.c",
            "\tzcrx_rq_release(&ifq->rq);\n\tif (done)",
            "\tif (done)\n\t\tzcrx_rq_release(&ifq->rq);\n\tif (done)",
        ),
        (LEND_ALL, HEAD_77, REFILL),
        "head:refill",
    ),
    "first-areas-size": (
        "7.3",
        change(
            "kernel/provider.c",
            "zcrx_area_size(area, (uint32_t)id), area->contract",
            "zcrx_area_size(area, 0), area->contract",
        ),
        (ADD_2, push_at(1 << 48 | 2 << 12), REFILL),
        "verdict:bad_index:no_user_ref",
    ),
    "first-areas-buffers": (
        "7.3",
        change(
            "kernel/provider.c",
            "*niov += shm_load_relaxed_u32(&area->extents[id].first, POINT_AREA_EXTENT);",
            "(void)niov;",
        ),
        (ADD_2, LEND_SIX, push_at(1 << 48), REFILL),
        "niov:refill",
    ),
    "last-area-first": (
        "7.3",
        change(
            "kernel/area.c",
            "count += pop(stack_of(area, id), niovs",
            "count += pop(stack_of(area, areas - 1 - id), niovs",
        ),
        (ADD_2, COPY),
        "result:copy",
    ),
    "first-areas-freelist": (
        "7.3",
        change(
            "kernel/area.c",
            "stack_of(area, zcrx_area_id(area, niov))",
            "stack_of(area, 0)",
        ),
        (ADD_2, bytes([3, 5]), bytes([2, 5, 0])),
        "freelist:drop",
    ),
    "flush-goes-on": (
        "7.1",
        change("kernel/provider.c", "\t\t\t*ended = true;\n\t\t\tbreak;", "\t\t\tcontinue;"),
        (LEND_ALL, PUSH_BAD, PUSH_0, FLUSH),
        "consumed:flush",
    ),
    "destroy-still-checked": (
        "6.18",
        change("kernel/provider.c", "level->checks_destroy ? &zcrx_mp_ops", "true ? &zcrx_mp_ops"),
        (COPY, DESTROY),
        "result:destroy",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_at_a_level_is_found_by_both_readers(fast_harness: Harness, name: str) -> None:
    level, patch, operations, signature = MISTAKES[name]
    harness = Harness(Target(bug=Bug(name, "of these tests", patch), sanitize=False))
    hit = program(level, *operations)
    assert fast_harness.run(hit).is_clean
    trial = harness.run(hit)
    assert trial.outcome == "finding"
    assert trial.signature == signature
    assert compare(fast_harness, hit) is None
    assert compare(harness, hit) is not None


@pytest.mark.parametrize("level", ["6.18", "7.1", "7.3"])
def test_campaign_at_a_level_is_clean(level: str, call: Call, tmp_path: Path) -> None:
    ended = call(
        "fuzz", "--fast", "--jobs", "1", "--time", "0.5", "--engine", "generate", "--kernel", level,
        "--corpus", str(tmp_path), "--findings", str(tmp_path / "found"),
    )  # fmt: skip
    assert ended.code == 0
    assert f"our provider as kernel {level}" in ended.stdout + ended.stderr
