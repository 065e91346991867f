"""Faults of setting up, without a set-up: when rules are due, what they draw, what is noticed."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emu.config import RunConfig
from emu.errors import RefusedStep
from emu.runtime.memory import RunMemory
from emu.runtime.segment import create_segment
from emu.runtime.setup_faults import Holdings, SetupFaults
from emu.verdict.report import Statement
from faults import parse_plan

SHAPE = RunConfig(area_buffers=40, rq_entries=64, cq_entries=64).shape(flows_max=3)


def faults(plan: str, seed: int = 1) -> SetupFaults:
    return SetupFaults(parse_plan(plan), seed)


def refused_at(made: SetupFaults, steps: int = 100) -> int | None:
    """The number of the step that was refused, of so many."""
    made.begin()
    for number in range(steps):
        try:
            made.step(f"do number {number}")
        except RefusedStep:
            assert made.refused == f"step {number} (do number {number})"
            return number
    made.finish()
    return None


# ---- Steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "number"),
    [
        ("setup-fail:at=0", 0),
        ("setup-fail:at=7", 7),
        ("setup-fail:at=99", 99),
        ("setup-fail:at=100", None),
        ("setup-fail:every=5", 0),
        ("setup-fail:every=5:from=1", 5),
        ("setup-fail:every=5:from=6:until=9", None),
        ("setup-fail:1", 0),
        ("setup-fail:100%:from=12", 12),
        ("setup-fail:0", None),
        ("setup-fail:at=9,setup-fail:at=4", 4),
        ("setup-fail:every=1:after=index-wrap,index-wrap:0", None),
        ("bad-pad:1,kill-consumer:1", None),
    ],
)
def test_rule_refuses_the_step_that_it_is_due_at(plan: str, number: int | None) -> None:
    made = faults(plan)
    assert refused_at(made) == number
    assert sum(made.fired) == (number is not None)


def test_rule_about_steps_sleeps_until_the_other_has_fired() -> None:
    made = faults("setup-fail:every=1:after=index-wrap,index-wrap:1")
    made.begin()
    made.step("before")
    made.shape(SHAPE)
    with pytest.raises(RefusedStep, match=r"^set-up: step 1 \(after\) failed on purpose"):
        made.step("after")
    assert made.fired == [1, 1]


def test_seed_decides_the_step() -> None:
    found = [refused_at(faults("setup-fail:5%", seed)) for seed in range(40)]
    assert found == [refused_at(faults("setup-fail:5%", seed)) for seed in range(40)]
    assert len(set(found)) > 10


def test_what_comes_after_the_set_up_is_no_step() -> None:
    made = faults("setup-fail:at=3,setup-fail:1%:from=50")
    made.begin()
    for number in range(3):
        made.step(str(number))
    made.finish()
    for number in range(200):
        made.step(f"later {number}")
    assert made.fired == [0, 0]
    assert made.notes == (
        "setup-fail:at=3 did not fire: setting up had 3 steps",
        "setup-fail:0.01:from=50 did not fire: setting up had 3 steps",
    )
    audited = (Statement("order", True, "in order"),)
    assert made.statements(audited) == audited


# ---- What is asked once --------------------------------------------------------------------------


@pytest.mark.parametrize(("distance", "start"), [(0, 0), (1, 2**32 - 1), (65535, 2**32 - 65535)])
def test_indices_start_at_a_distance_from_the_wrap(distance: int, start: int) -> None:
    made = faults(f"bad-pad:1,index-wrap:at=0:distance={distance}")
    assert made.shape(SHAPE).initial_index == start
    assert made.fired == [0, 1]
    assert made.notes == (f"index-wrap: the rings' indices start at {start}",)


def test_first_rule_that_is_due_decides() -> None:
    made = faults("index-wrap:0:distance=1,index-wrap:1:distance=2,index-wrap:1:distance=3")
    assert made.shape(SHAPE).initial_index == 2**32 - 2
    assert made.shape(SHAPE).initial_index == 2**32 - 2  # asked once, whoever asks
    assert made.fired == [0, 1, 0]


@pytest.mark.parametrize("trigger", ["1", "100%", "at=0", "every=1", "every=7", "1:once"])
def test_each_trigger_of_a_layout_means_always(trigger: str) -> None:
    made = faults(f"header-layout:{trigger}")
    assert made.shape(SHAPE).ring_layout > 0
    assert made.fired == [1]


def test_layout_is_drawn_from_the_seed() -> None:
    def drawn(seed: int) -> int:
        return faults("header-layout:1", seed).shape(SHAPE).ring_layout

    assert len({drawn(seed) for seed in range(50)}) == 50
    assert drawn(3) == drawn(3)


def test_probability_leaves_some_runs_alone() -> None:
    drawn = [faults("header-layout:30%", seed).shape(SHAPE).ring_layout for seed in range(200)]
    assert 40 < sum(layout > 0 for layout in drawn) < 80


def test_without_a_rule_nothing_changes() -> None:
    made = faults("none")
    made.begin()
    with mmap.mmap(-1, 4096) as rings:
        made.fill_rings(SHAPE, 0, rings)
        assert rings[:] == bytes(4096)
    assert made.shape(SHAPE) == SHAPE
    assert made.notes == ()


def filled(plan: str, queue: int = 0, seed: int = 1, size: int = 4096 + 8) -> bytes:
    with mmap.mmap(-1, size) as rings:
        faults(plan, seed).fill_rings(SHAPE, queue, rings)
        return rings[:]


def test_garbage_is_drawn_for_each_queue_and_seed() -> None:
    one = filled("header-garbage:1")
    assert one == filled("header-garbage:1")
    assert len({one, filled("header-garbage:1", queue=1), filled("header-garbage:1", seed=2)}) == 3
    assert len(set(one)) == 256


def test_garbage_may_be_ones_or_look_like_returns() -> None:
    assert filled("header-garbage:1:value=ones") == b"\xff" * 4104
    entries = filled("header-garbage:1:value=entries")
    found = list(struct.iter_unpack("<QII", entries[:4096]))
    assert {(length, pad) for _, length, pad in found} == {(4096, 0)}
    assert {off % 4096 for off, _, _ in found} == {0}
    assert {off // 4096 for off, _, _ in found} == set(range(40))


def test_garbage_counts_once_for_all_queues() -> None:
    made = faults("header-garbage:1")
    with mmap.mmap(-1, 64) as rings:
        for queue in range(3):
            made.fill_rings(SHAPE, queue, rings)
    assert made.fired == [1]


def test_consumer_is_not_told_where_its_rings_stand() -> None:
    """Garbage over everything, then format: the words are where only the kernel side knows."""
    made = faults("header-layout:1,header-garbage:1:value=ones,index-wrap:1")
    memory = RunMemory(made.shape(SHAPE), 2, None, made)
    views = memory.views()
    try:
        assert memory.shape_for("nic").ring_layout == memory.shape.ring_layout > 0
        assert memory.shape_for("provider") == memory.shape_for("nic")
        assert memory.shape_for("consumer").ring_layout == 0
        offsets = []
        for queue in range(2):
            _, rings_fd, *_ = memory.queue_for("provider", queue).fds
            with mmap.mmap(rings_fd, 0) as rings:
                words = struct.unpack_from("<16I", rings)
                offsets.append(words)
                for at in (words[0], words[1], words[8], words[9]):
                    assert struct.unpack_from("<I", rings, at) == (2**32 - 16,)
                assert rings[words[2] : words[2] + 16 * 64] == b"\xff" * 16 * 64
                assert rings[words[10] : words[10] + 32 * 64] == b"\xff" * 32 * 64
        assert offsets[0] != offsets[1]
        assert views[0].places().in_flight == 0
    finally:
        memory.close()


# ---- What is left --------------------------------------------------------------------------------


def a_descriptor() -> Iterator[str]:
    fd = os.open("/dev/null", os.O_RDONLY)
    yield f"{fd} (/dev/null)"
    os.close(fd)


def a_name() -> Iterator[str]:
    path = Path(f"/dev/shm/zcrx-emu.{os.getpid()}.1.test")
    path.touch()
    yield path.name
    path.unlink()


def a_mapping() -> Iterator[str]:
    segment = create_segment(4096)
    mapped = segment.map()
    yield "zcrx-emu."
    mapped.close()
    segment.close()


def a_process() -> Iterator[str]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield str(child.pid)
        child.kill()


def a_dead_child() -> Iterator[str]:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    yield str(child.pid)
    child.wait()


def a_thread() -> Iterator[str]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield str(thread.native_id)
    end.set()
    thread.join()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (a_descriptor, "descriptors"),
        (a_name, "names"),
        (a_mapping, "mappings"),
        (a_mapping, "descriptors"),
        (a_process, "processes"),
        (a_dead_child, "processes"),
        (a_thread, "threads"),
    ],
)
def test_what_this_process_holds_more_is_told(make: Callable[[], Iterator[str]], kind: str) -> None:
    before = Holdings.now()
    making = make()
    words = next(making)
    more = Holdings.now().beyond(before)
    assert kind in more
    if kind != "mappings":
        assert any(item.startswith(words) or words in item for item in more[kind])
    assert next(making, None) is None
    assert Holdings.now().beyond(before) == {}


def test_statement_names_what_is_left() -> None:
    made = faults("setup-fail:at=1")
    before = refused_at(made)
    assert before == 1
    leak = a_descriptor()
    words = next(leak)
    made.judge_unwinding()
    *silent, unwind = made.statements([Statement("order", True, "in order")])
    assert [item.holds for item in silent] == [None]
    assert unwind == Statement(
        "unwind",
        False,
        f"step 1 (do number 1) failed on purpose and left 1 descriptor; descriptors: {words}",
    )
    assert next(leak, None) is None
    made.judge_unwinding()
    assert made.statements([])[0].text == (
        "step 1 (do number 1) failed on purpose; nothing had been made, nothing is left"
    )
