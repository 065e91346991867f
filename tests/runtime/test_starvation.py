"""Starving a process: what it is bound to meanwhile, and that nothing of it is left behind."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from emu.runtime import starvation
from emu.runtime.starvation import Starvation, may_renice, threads

#: Whoever runs the tests may be nice.
OWN = os.getpriority(os.PRIO_PROCESS, 0)
NICER = min(OWN + 7, 19)
can_be_nicer = pytest.mark.skipif(NICER == OWN, reason="nobody is nicer than these tests")
CORES = sorted(os.sched_getaffinity(0))

Start = Callable[[], "FakeWorker"]


@dataclass(eq=False)
class FakeWorker:
    """A process that does nothing, in two threads, until its input is closed."""

    process: subprocess.Popen[bytes]
    exit_code: int | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self) -> None:
        """Let it go one step further, and wait until it has."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"done\n"

    def kill(self) -> None:
        self.process.kill()
        self.exit_code = self.process.wait()


WAITS = """
import sys, threading
def start():
    threading.Thread(target=threading.Event().wait, daemon=True).start()
start()
print("done", flush=True)
for line in sys.stdin:
    start()
    print("done", flush=True)
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes like workers; they are gone at the end."""
    started: list[FakeWorker] = []

    def one() -> FakeWorker:
        process = subprocess.Popen(
            [sys.executable, "-c", WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(FakeWorker(process))
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        return started[-1]

    yield one
    for worker in started:
        worker.kill()
        for pipe in (worker.process.stdin, worker.process.stdout):
            assert pipe is not None
            pipe.close()


def states(worker: FakeWorker) -> list[tuple[set[int], int]]:
    """Affinity and niceness of each thread."""
    return [
        (os.sched_getaffinity(tid), os.getpriority(os.PRIO_PROCESS, tid))
        for tid in threads(worker.pid)
    ]


def starve(victim: FakeWorker, other: FakeWorker, nice: int = 0) -> Starvation:
    return Starvation(victim, other, nice)  # type: ignore[arg-type]


@pytest.fixture
def priority_comes_back(start: Start) -> bool:
    """May we lower a niceness again here?"""
    return may_renice(start().pid, OWN)


def test_both_share_a_core_and_get_back_what_they_had(start: Start) -> None:
    victim, other = start(), start()
    os.sched_setaffinity(other.pid, {CORES[-1]})
    before = states(victim), states(other)
    assert len(before[0]) == 2
    starving = starve(victim, other)
    assert starving.pids == {victim.pid, other.pid}
    assert {frozenset(cores) for cores, _ in states(victim) + states(other)} == {
        frozenset({CORES[-1]})
    }
    starving.end()
    assert (states(victim), states(other)) == before


def test_thread_that_began_meanwhile_is_let_go_too(start: Start) -> None:
    victim, other = start(), start()
    starving = starve(victim, other)
    victim.say()
    assert len(threads(victim.pid)) == 3
    starving.end()
    assert [cores for cores, _ in states(victim)] == [set(CORES)] * 3


@can_be_nicer
def test_victim_is_nice_meanwhile_if_it_can_be_undone(
    start: Start, priority_comes_back: bool
) -> None:
    victim, other = start(), start()
    starving = starve(victim, other, nice=NICER)
    assert [nice for _, nice in states(victim)] == [NICER if priority_comes_back else OWN] * 2
    assert [nice for _, nice in states(other)] == [OWN, OWN]
    assert any("left out" in note for note in starving.notes) == (not priority_comes_back)
    starving.end()
    assert [nice for _, nice in states(victim)] == [OWN, OWN]


@can_be_nicer
def test_priority_that_could_not_be_taken_back_is_left_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starvation, "_has_capability", lambda: False)
    victim, other = start(), start()
    resource.prlimit(victim.pid, resource.RLIMIT_NICE, (0, 0))
    starving = starve(victim, other, nice=NICER)
    assert [nice for _, nice in states(victim)] == [OWN, OWN]
    assert starving.notes[0] == (
        f"nice={NICER} left out: it could not be taken back without CAP_SYS_NICE or an "
        f"RLIMIT_NICE of {20 - OWN}"
    )
    starving.end()


@pytest.mark.parametrize(("limit", "nice", "may"), [(19, 0, False), (20, 0, True), (1, 19, True)])
def test_limit_of_the_process_says_how_far_it_may_go_back(
    start: Start, monkeypatch: pytest.MonkeyPatch, limit: int, nice: int, may: bool
) -> None:
    worker = start()
    monkeypatch.setattr(starvation, "_has_capability", lambda: False)
    monkeypatch.setattr(resource, "prlimit", lambda _pid, _what: (limit, limit))
    assert may_renice(worker.pid, nice) is may


def test_one_core_is_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, other = start(), start()
    real = os.sched_getaffinity
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0} if pid == 0 else real(pid))
    starving = starve(victim, other)
    assert starving.notes == ["one core is all there is, so binding has no effect"]
    starving.end()


def test_dead_victim_does_not_keep_the_other_from_being_let_go(start: Start) -> None:
    victim, other = start(), start()
    starving = starve(victim, other)
    victim.kill()
    starving.end()
    assert [cores for cores, _ in states(other)] == [set(CORES)] * 2


def test_process_that_cannot_be_bound_leaves_all_as_it_was(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, other = start(), start()
    before = states(victim), states(other)
    real, calls = os.sched_setaffinity, []

    def refuse_once(tid: int, cores: set[int]) -> None:
        calls.append(tid)
        if len(calls) == 3:  # the other one is bound already
            raise PermissionError(1, "Operation not permitted")
        real(tid, cores)

    monkeypatch.setattr(os, "sched_setaffinity", refuse_once)
    with pytest.raises(PermissionError):
        starve(victim, other)
    assert (states(victim), states(other)) == before


def test_process_that_is_gone_cannot_be_starved(start: Start) -> None:
    victim, other = start(), start()
    victim.kill()
    with pytest.raises(ProcessLookupError):
        starve(victim, other)
    assert [cores for cores, _ in states(other)] == [set(CORES)] * 2


def test_threads_are_those_of_the_process() -> None:
    ready, leave = threading.Event(), threading.Event()

    def wait() -> None:
        ready.set()
        leave.wait()

    before = set(threads(os.getpid()))
    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait()
    assert set(threads(os.getpid())) - before == {thread.native_id}
    leave.set()
    thread.join()
