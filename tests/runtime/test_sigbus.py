"""Shared memory that is cut short or lost under the processes of a run is a verdict."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys

import pytest

from emu.config import RunConfig
from emu.core import MemoryGuard
from emu.runtime.memory import RunMemory
from emu.runtime.sample import Sample
from emu.runtime.segment import create_segment
from emu.runtime.session import Session


def test_page_that_was_taken_away_reads_as_zeros_and_is_told() -> None:
    segment, other = create_segment(4 * 4096), create_segment(4096)
    memory, spared = segment.map(), other.map()
    guard = MemoryGuard()
    guard.watch(memory, "one")
    guard.watch(spared, "other")
    memory[0], memory[8192] = 1, 2
    os.ftruncate(segment.fd, 4096)
    assert guard.hurt() == []
    assert memory[0] == 1
    assert memory[8192] == 0
    memory[8192] = 7
    assert memory[8192] == 7
    assert guard.hurt() == ["one"]
    guard.close()
    guard.close()
    segment.close()
    other.close()


def test_handler_of_somebody_else_is_back_afterwards() -> None:
    before = signal.signal(signal.SIGBUS, lambda *_: None)
    try:
        mine = signal.getsignal(signal.SIGBUS)
        first, second = MemoryGuard(), MemoryGuard()
        first.close()
        second.close()
        assert signal.getsignal(signal.SIGBUS) is mine
    finally:
        signal.signal(signal.SIGBUS, before)


@pytest.mark.parametrize("faulthandler", ["", "import faulthandler; faulthandler.enable()\n"])
def test_memory_that_is_not_looked_after_is_still_a_death(faulthandler: str) -> None:
    """Also where somebody else has a handler: it is called as if we were not there."""
    code = (
        f"{faulthandler}"
        "import os; from emu.core import MemoryGuard\n"
        "from emu.runtime.segment import create_segment\n"
        "guard = MemoryGuard(); one = create_segment(4096); memory = one.map()\n"
        "os.ftruncate(one.fd, 0); memory[0]\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGBUS
    assert ("Fatal Python error: Bus error" in ended.stderr) is bool(faulthandler)


@pytest.mark.parametrize("name", ["run", "kern", "rings", "notes", "area"])
def test_object_that_is_cut_short_while_the_run_is_on_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whoever can do that holds a descriptor: here it is this process itself."""
    monkeypatch.setattr(RunMemory, "close_kernel_side", lambda self: None)
    with Session(RunConfig(seed=1, duration_s=60.0)) as session:
        memory = session._memory
        assert memory is not None
        segment = memory._shared[name] if name == "run" else memory._queues[0][name]
        done = False

        def cut(sample: Sample) -> None:
            nonlocal done
            if not done and sample.queues[0].nic["packets_delivered"] > 1000:
                done = True
                os.ftruncate(segment.fd, 0)

        report = session.run(cut, 0.02)
    assert not report.ok
    named = [name if name == "run" else f"{name} of queue 0"]
    if name in (
        "rings",
        "notes",
        "area",
    ):  # a consumer maps it too, and may be the first to touch it
        named.append("consumer of queue 0 was killed by SIGBUS")
    assert any(words in problem for problem in report.problems for words in named), report.problems


def test_guards_have_room_for_all_objects_of_the_largest_run() -> None:
    guard = MemoryGuard()
    with mmap.mmap(-1, 4096) as memory:
        for number in range(2 + 3 * 64):
            guard.watch(memory, f"object {number}")
        assert len(guard._numbers) == 2 + 3 * 64
        guard.close()
