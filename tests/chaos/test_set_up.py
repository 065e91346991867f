"""Faults of setting up in real runs: odd starts change nothing, and a failed one leaves nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.consumer import Consumer
from emu.runtime.processes import Processes
from emu.runtime.session import Session
from emu.verdict.report import Report, Statement
from faults import parse_plan

pytestmark = pytest.mark.long


def row_of(report: Report, name: str) -> Any:
    (row,) = [row for row in report.reconciliation.rows if row.name == name]
    return row


# ---- Odd starts ----------------------------------------------------------------------------------


def reads_everything(consumer: Consumer) -> None:
    """Return each fragment when it comes; the consumer process imports this module."""
    for completion in consumer:
        consumer.give_back(completion)


@pytest.mark.parametrize(
    "start", ["header-layout:1", "index-wrap:1:distance=2", "header-garbage:1"]
)
@pytest.mark.parametrize("consumer", ["builtin", f"{__name__}:reads_everything"])
def test_odd_start_changes_nothing_for_any_consumer(
    survive: Callable[..., Report], start: str, consumer: str
) -> None:
    report = survive(f"{start},bad-pad:1%", consumer=consumer, queues=2)
    assert report.total("nic", "packets_delivered") == 40_000
    assert report.total("consumer", "bytes") == report.total("nic", "bytes_offered")
    assert report.reconciliation.rows[1].injected == 1


@pytest.mark.parametrize("name", ["kill-consumer", "churn"])
def test_new_consumers_find_their_rings_too(survive: Callable[..., Report], name: str) -> None:
    plan = f"header-layout:1,index-wrap:1,header-garbage:1,{name}:every=150"
    report = survive(plan, queues=2, packets=0, duration_s=0.7)
    *starts, replaced = (row.injected for row in report.reconciliation.rows[1:])
    assert starts == [1, 1, 1]
    assert replaced > 0


def test_faults_on_index_words_meet_the_words_of_a_drawn_layout(
    survive: Callable[..., Report],
) -> None:
    report = survive("header-layout:1,index-wrap:1,head-scribble:1%,cq-head-scribble:1%")
    assert row_of(report, "cq-head-scribble").injected > 100


@pytest.mark.parametrize(
    ("value", "verdicts"),
    [
        ("random", {"bad_pad"}),
        ("ones", {"bad_pad"}),
        ("entries", {"accepted", "still_referenced", "no_user_ref"}),
    ],
)
def test_tail_that_runs_ahead_finds_the_garbage(
    survive: Callable[..., Report], value: str, verdicts: set[str]
) -> None:
    """Slots that nobody wrote are judged by what stood there before the ring was made."""
    report = survive(f"header-garbage:1:value={value},tail-ahead:at=10:jump=64", rq_entries=4096)
    row = row_of(report, "tail-ahead")
    assert row.injected == 1
    assert row.judged == 64
    assert set(row.earned) <= verdicts


def test_without_a_wrong_index_garbage_is_never_read(survive: Callable[..., Report]) -> None:
    report = survive("header-garbage:1:value=ones", queues=2)
    assert report.verdicts["bad_pad"] == 0
    assert report.total("consumer", "bad_completions") == 0


# ---- A set-up that fails -------------------------------------------------------------------------


def held() -> tuple[list[str], list[str], str, list[str]]:
    """Descriptors, mappings of shared memory, children and threads of this process."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    children = "".join(p.read_text() for p in Path("/proc/self/task").glob("*/children"))
    return (
        sorted(os.listdir("/proc/self/fd")),
        [line for line in maps if "/dev/shm/" in line],
        children,
        sorted(os.listdir("/proc/self/task")),
    )


def attempt(number: int, **fields: Any) -> Report:
    config = RunConfig(seed=5, plan=parse_plan(f"setup-fail:at={number}"), **fields)
    with Session(config) as session:
        return session.run()


def unwind_of(report: Report) -> Statement | None:
    return next((item for item in report.statements if item.name == "unwind"), None)


def fail_at_each_step(*problems: str, **fields: Any) -> list[str]:
    """Let each step fail, one after the other, until the run begins; the steps' names.

    What the run itself is told to have done wrong is given by names of statements.
    """
    names: list[str] = []
    while True:
        before = held()
        report = attempt(len(names), **fields)
        assert held() == before, names
        unwind = unwind_of(report)
        if unwind is None:
            assert [line.partition(":")[0] for line in report.problems] == list(problems)
            steps = f"setup-fail:at={len(names)} did not fire: setting up had {len(names)} steps"
            assert steps in report.notes
            assert report.reconciliation.rows[1].injected == 0
            assert all(item.holds is (item.name not in problems) for item in report.statements)
            return names
        assert report.problems == ()
        assert report.ok
        assert report.ended == "set-up failed on purpose"
        assert report.reconciliation.rows[1].injected == 1
        assert report.queues == ()
        assert report.processes == ()
        assert {item.holds for item in report.statements if item is not unwind} == {None}
        assert unwind.holds is True
        found = re.fullmatch(
            r"step (\d+) \((.*)\) failed on purpose; .*nothing is left", unwind.text
        )
        assert found is not None
        assert int(found[1]) == len(names)
        names.append(found[2])


OBJECTS = ("kern", "rings", "area", "notes")
WORKERS = ("provider", "nic", "consumer of queue 0", "consumer of queue 1")


def steps_of(workers: tuple[str, ...]) -> list[str]:
    queues = range(len(workers) - 2)
    return [
        *(f"make {name} of queue {queue}" for queue in queues for name in OBJECTS),
        *("map run", "map bells"),
        *(
            step
            for queue in queues
            for step in (
                *(f"map {name} of queue {queue}" for name in ("kern", "rings", "notes")),
                f"format queue {queue}",
                f"create the page pool of queue {queue}",
            )
        ),
        *(
            step
            for worker in workers
            for step in (
                f"open the channel of {worker}",
                f"start {worker}",
                f"watch {worker}",
                *((f"hand {worker} its memory",) if "consumer" not in worker else ()),
            )
        ),
        # Not before nobody can look into the others any more.
        *(f"hand {worker} its memory" for worker in workers if "consumer" in worker),
        *(f"attach {worker}" for worker in workers),
    ]


def check_steps(names: list[str], expected: list[str]) -> None:
    assert len(set(names)) == len(names)
    assert [name for name in names if name in expected] == expected


def test_each_step_may_fail_and_leaves_nothing() -> None:
    names = fail_at_each_step(queues=2, packets=1000)
    first = ["lay out the traffic", "make run", "make bells", "make arena", "map arena"]
    check_steps(names, [*first, *steps_of(WORKERS)])


def test_each_step_of_a_run_that_listens_may_fail() -> None:
    names = fail_at_each_step("substance", traffic="tcp:127.0.0.1:0", duration_s=0.1)
    first = ["open the listening socket", "make run", "make bells"]
    check_steps(names, [*first, *steps_of(WORKERS[:3])])


def test_replaced_consumers_take_no_steps(survive: Callable[..., Report]) -> None:
    """Theirs come in the middle of a run, and are not counted."""
    config = RunConfig(seed=5, packets=10, plan=parse_plan("setup-fail:at=10000"))
    with Session(config) as session:
        notes = " ".join(session.run().notes)
    found = re.search(r"did not fire: setting up had (\d+) steps", notes)
    assert found is not None, notes
    count = int(found[1])
    rule = f"setup-fail:every=1:from={count}"
    report = survive(f"{rule},churn:every=150", packets=0, duration_s=0.7)
    assert f"{rule} did not fire: setting up had {count} steps" in report.notes
    assert report.reconciliation.rows[2].injected > 0


def test_figures_are_what_was_held_when_the_step_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[int, ...]] = []
    close = Processes.close

    def look_and_close(processes: Processes) -> None:
        descriptors, mappings, children, _ = held()
        found.append((len(descriptors), len(mappings), len(children.split())))
        close(processes)

    before = held()
    monkeypatch.setattr(Processes, "close", look_and_close)
    unwind = unwind_of(attempt(32, queues=2))
    assert unwind is not None
    figures = re.search(
        r"(\d+) descriptors, (\d+) mappings and (\d+) processes? undone", unwind.text
    )
    assert figures is not None
    then = (len(before[0]), len(before[1]), len(before[2].split()))
    more = tuple(now - earlier for now, earlier in zip(found[0], then, strict=True))
    assert tuple(map(int, figures.groups())) == more
    assert min(more) > 0


# ---- A set-up that is not undone -----------------------------------------------------------------


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the end of a run do something more; what it returns undoes that after the test."""
    undo: list[Callable[[], object]] = []
    close = Processes.close

    def arrange(leak: Callable[[], Callable[[], object]]) -> None:
        def close_and_leak(processes: Processes) -> None:
            close(processes)
            if not undo:
                undo.append(leak())

        monkeypatch.setattr(Processes, "close", close_and_leak)

    yield arrange
    for function in undo:
        function()


def leak_descriptor() -> Callable[[], object]:
    fd = os.open("/dev/zero", os.O_RDONLY)
    return lambda: os.close(fd)


def leak_process() -> Callable[[], object]:
    child = subprocess.Popen(["sleep", "60"])

    def end() -> None:
        child.kill()
        child.wait()

    return end


def leak_thread() -> Callable[[], object]:
    end = threading.Event()
    threading.Thread(target=end.wait).start()
    return end.set


def leak_name() -> Callable[[], object]:
    path = Path(f"/dev/shm/zcrx-emu.{os.getpid()}.1.left")
    path.touch()
    return path.unlink


@pytest.mark.parametrize(
    ("leak", "words"),
    [
        (leak_descriptor, r"left 1 descriptor; descriptors: \d+ \(/dev/zero\)"),
        (leak_process, r"left 1 process; processes: \d+ \(sleep\)"),
        (leak_thread, r"left 1 thread; threads: \d+"),
        (leak_name, r"left 1 name; names: zcrx-emu\.\d+\.1\.left"),
    ],
)
def test_what_is_left_is_a_finding(leave: Any, leak: Any, words: str) -> None:
    leave(leak)
    report = attempt(20)
    assert not report.ok
    (problem,) = report.problems
    assert re.fullmatch(rf"unwind: step 20 \(.*\) failed on purpose and {words}", problem)


# ---- The command line ----------------------------------------------------------------------------


def test_command_says_which_step_failed_and_that_all_was_undone(call: Any) -> None:
    arguments = ("--queues", "2", "--seed", "1", "--run-dir", "run")
    answer = call("stress", "--faults", "setup-fail:at=3", *arguments)
    line = r"unwind       step 3 \(.+\) failed on purpose; 2 descriptors undone, nothing is left"
    assert answer.code == 0
    assert re.search(line, answer.stdout)
    assert "ended: set-up failed on purpose" in answer.stdout
    assert "PASS: what was set up before the failure was undone" in answer.stdout
    assert answer.stderr == ""
    written = json.loads(Path("run/run.json").read_text())
    assert written["faults"]["injected"] == {"setup-fail": 1}
    assert written["audit"]["unwind"] is True
    assert written["audit"]["conservation"] is None
    again = call("replay", "run", "--json", "again.json")
    assert again.code == 0
    assert re.search(line, again.stdout)
    report = json.loads(Path("again.json").read_text())
    assert report["audit"] == written["audit"]


def test_command_fails_when_something_is_left(call: Any, leave: Any) -> None:
    leave(leak_descriptor)
    answer = call("stress", "--faults", "setup-fail:at=3", "--seed", "1")
    assert answer.code == 1
    words = r"FAIL: unwind: step 3 \(.+\) failed on purpose and left 1 descriptor"
    assert re.search(words, answer.stdout)


def test_replay_draws_the_same_start(call: Any) -> None:
    plan = "index-wrap:50%,header-layout:50%,header-garbage:50%,setup-fail:1%"
    notes = set()
    for seed in range(4):
        folder = f"run{seed}"
        arguments = ("--packets", "200", "--seed", str(seed), "--run-dir", folder)
        assert call("stress", "--faults", plan, *arguments).code == 0
        first = json.loads(Path(folder, "run.json").read_text())
        assert call("replay", folder, "--json", "again.json").code == 0
        again = json.loads(Path("again.json").read_text())
        assert again["notes"] == first["notes"]
        assert again["faults"]["injected"] == first["faults"]["injected"]
        notes.add(tuple(first["notes"]))
    assert len(notes) > 1


def test_receiver_that_cannot_start_says_so(call: Any) -> None:
    answer = call(
        *("recv", "--listen", "127.0.0.1:0", "--output", "out", "--faults", "setup-fail:at=20")
    )
    assert answer.code == 0
    assert "listening on" not in answer.stdout
    assert "failed on purpose" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--faults", "index-wrap:1", "--initial-index", "7"), "initial_index: 7 is not allowed"),
        (("--faults", "header-layout:at=5"), "header-layout: at: 5 is not allowed; it must be 0"),
        (("--faults", "index-wrap:1:from=1"), "index-wrap: from: 1 is not allowed; it must be 0"),
        (("--faults", "header-garbage:1:queue=0"), "header-garbage: queue: it concerns all"),
        (
            ("--faults", "index-wrap:1,header-layout:1:after=index-wrap"),
            "header-layout: after: it is asked before all others",
        ),
    ],
)
def test_start_that_cannot_be_is_refused_in_a_line(
    call: Any, arguments: tuple[str, ...], words: str
) -> None:
    answer = call("stress", "--packets", "10", *arguments)
    assert answer.code == 2
    assert words in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
