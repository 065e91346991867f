"""Progress: who keeps a queue from going on, and what excuses it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from emu.compile import ondemand
from emu.config import RunConfig
from emu.core import StandingView
from emu.verdict.progress import Blame, Movement, Progress, QueueMovement, Standing, excuses, who
from emu.verdict.report import Report
from faults import parse_plan

RunUntilStill = Callable[[RunConfig, Blame], Report]
NEED = 16
#: A queue of 100 buffers whose NIC waits for some, all of them with the user.
EMPTY = StandingView(
    since=1,
    looks=9,
    longest=0,
    longest_since=0,
    last_since=0,
    last_until=0,
    short_rounds=0,
    consumed=0,
    waits_for_cq=0,
    has_user=1,
    consumer_sleeps=1,
    freelist=0,
    cache=0,
    ptr_ring=0,
    grant_ring=0,
    nic=0,
    unread=0,
    returned=0,
    kept=100,
    completions_unread=0,
    rqes_unread=0,
    oldest_niov=0,
    oldest_completion=0,
    oldest_flow=0,
    oldest_seq=0,
)


@pytest.mark.parametrize(
    ("view", "blame", "words"),
    [
        ({}, Blame.CONSUMER, "the consumer keeps 100 buffers and gives none back"),
        ({"kept": 85, "grant_ring": 15}, Blame.CONSUMER, "keeps 85 buffers"),
        ({"kept": 84, "grant_ring": 16}, Blame.NIC, "does not take what it is granted"),
        ({"kept": 99, "returned": 1, "rqes_unread": 1}, Blame.PROVIDER, "where 1 RQEs wait"),
        ({"kept": 99, "freelist": 1}, Blame.PROVIDER, "grants none of the 1 buffers that it has"),
        ({"kept": 0, "unread": 100, "completions_unread": 300}, Blame.CONSUMER, "of which 300"),
        ({"waits_for_cq": 1, "completions_unread": 64}, Blame.CONSUMER, "of which 64 wait"),
        ({"kept": 0}, Blame.PROVIDER, "its buffers are lost"),
    ],
)
def test_who_is_to_blame_is_told_by_where_the_buffers_are(
    view: dict[str, int], blame: Blame, words: str
) -> None:
    found = who(replace(EMPTY, **view), need=NEED)
    assert found is not None
    assert found[0] is blame
    assert words in found[1]


def test_queue_that_can_go_on_is_nobodys_fault() -> None:
    """Room in the completion queue is there; or its traffic is over, and buffers are back."""
    assert who(replace(EMPTY, waits_for_cq=1), need=NEED) is None
    back = replace(EMPTY, since=0, looks=0, kept=84, grant_ring=16)
    assert who(back, need=NEED) is None


def test_our_own_consumer_keeps_no_more_than_it_holds() -> None:
    """What it gave back and still has references on is the provider's doing."""
    found = who(EMPTY, need=NEED, kept_rightly=33)
    assert found is not None
    assert found[0] is Blame.PROVIDER


@pytest.mark.parametrize(
    ("plan", "fired", "for_s", "excused"),
    [
        ("hoard:1", 68, 9.0, True),
        ("hoard:1", 67, 9.0, False),  # 100 are kept and 32 may be: 67 are not enough
        ("hoard:1", 0, 9.0, False),
        ("drop-when-full:1:count=17", 4, 9.0, True),
        ("cq-stall:1:us=1000000", 3, 2.9, True),
        ("cq-stall:1:us=1000000", 3, 3.1, False),
        ("stop-consumer:at=5:ms=500", 1, 0.4, True),
        ("stop-consumer:at=5:ms=500", 1, 0.6, False),
        ("bad-pad:1", 1_000_000, 0.1, False),
        ("rq-overrun:1:count=17", 4, 9.0, True),
        # A word that lies loses no return.
        ("tail-random:1", 1000, 9.0, False),
        ("tail-back:1:distance=1000", 1000, 9.0, False),
        ("tail-ahead:1:jump=1000", 1000, 9.0, False),
        ("head-scribble:1", 1000, 9.0, False),
    ],
)
def test_fault_excuses_no_more_than_it_did(
    plan: str, fired: int, for_s: float, excused: bool
) -> None:
    found = excuses(parse_plan(plan), [fired], kept=100, kept_rightly=32, for_s=for_s)
    assert bool(found) is excused
    if excused:
        assert found[0].startswith(plan.partition(":")[0])


@pytest.mark.parametrize(
    ("plan", "fired", "excused"),
    [
        ("double-return:1", 34, True),
        ("double-return:1", 33, False),  # two runs each, and 68 are to be explained
        ("nic-hold:1:count=1", 1000, False),  # not the consumer's
    ],
)
def test_what_is_beside_a_good_return_may_keep_it_where_runs_are_taken(
    plan: str, fired: int, excused: bool
) -> None:
    asked = (parse_plan(plan), [fired])
    how: dict[str, Any] = {"kept": 100, "kept_rightly": 32, "for_s": 9.0}
    assert not excuses(*asked, **how)
    assert bool(excuses(*asked, **how, by_runs=True)) is excused


def test_what_is_excused_is_a_note_and_no_finding() -> None:
    still = Standing(
        queue=0,
        since_s=1.0,
        for_s=2.0,
        waits_for="a buffer",
        blame=Blame.CONSUMER,
        why="the consumer keeps 100 buffers",
        where={"kept": 100},
        oldest=None,
    )
    assert Movement((QueueMovement(standing=still),)).findings == [still]
    excused = Movement((QueueMovement(standing=replace(still, excused_by=("hoard",))),))
    assert excused.findings == []
    assert excused.notes[0].endswith("That is what faults lead to: hoard")
    went_on = Movement((QueueMovement(longest_s=3.0, longest_since_s=1.0),))
    assert "nothing was delivered for 3.00 s" in went_on.notes[0]
    assert went_on.findings == []


# ---- a time that ends ---------------------------------------------------------------------------


class _Consumer:
    """At work, and asleep whenever it is looked at: this process's number, no CPU time."""

    role, queue, pid = "consumer", 0, os.getpid()

    def sample_cpu(self) -> float:
        return self.cpu_s

    cpu_s = 0.0


class _Processes:
    """One consumer, and a plan that never fired."""

    def __init__(self, fired: list[int]) -> None:
        self.consumer: _Consumer | None = _Consumer()
        self._fired = fired

    def at_work(self, role: str, _queue: int) -> _Consumer | None:
        return self.consumer if role == "consumer" else None

    def is_stopped_on_purpose(self) -> bool:
        return False

    def fired(self, _queue: int) -> list[int]:
        return self._fired


class _Queue:
    """A queue whose buffers are all with the user since the first second, until told otherwise."""

    index = 0
    view = replace(EMPTY, since=10**9)
    delivered = 0

    def still_since(self) -> int:
        return self.view.since

    def standing(self) -> StandingView:
        return self.view

    def counters(self, _group: object) -> dict[str, int]:
        return {"packets_delivered": self.delivered, "packets_offered": self.delivered}

    def go_on(self, now: float) -> None:
        length = int(now * 1e9) - self.view.since
        self.view = replace(EMPTY, since=0, kept=0, longest=length, longest_since=10**9)
        self.delivered = 10**6


@pytest.mark.parametrize(
    ("until_s", "plan", "fired", "leaves", "is_finding"),
    [
        (6.1, "bad-pad:1", 100, False, True),  # it began after 1 s
        (5.9, "bad-pad:1", 100, False, False),
        (6.1, "hoard:1", 100, False, False),
        (6.1, "bad-pad:1", 100, True, False),  # its user left: nobody can say that it went on
    ],
)
def test_time_without_a_delivery_that_ends_is_a_finding_if_it_was_too_long(
    monkeypatch: pytest.MonkeyPatch,
    until_s: float,
    plan: str,
    fired: int,
    leaves: bool,
    is_finding: bool,
) -> None:
    """By a clock of the test's own: looks every 62.5 ms, and the queue goes on at the end."""
    clock = [1.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.monotonic_ns", lambda: round(clock[0] * 1e9))
    config = RunConfig(area_buffers=100, hold=8, plan=parse_plan(plan), consumer="its:own")
    queue, processes = _Queue(), _Processes([fired])
    watch = Progress(
        cast("Any", [queue]),
        config=config,
        processes=cast("Any", processes),
        stall_s=99.0,
        started_at=0.0,
    )
    while clock[0] < until_s:
        assert processes.consumer is not None
        processes.consumer.cpu_s += 0.05
        watch.look()
        clock[0] += 0.0625
    if leaves:
        processes.consumer = None
        watch.look()
        clock[0] += 0.0625
    queue.go_on(clock[0])
    watch.look()
    assert not watch.standing
    [moved] = watch.movement().queues
    assert (moved.standing is not None) is is_finding
    if moved.standing is not None:
        assert moved.standing.text.startswith("queue 0 stood still from 1.00 s of the run on, for")
        assert "then it went on: the consumer keeps 100 buffers" in moved.standing.text
        assert watch.movement().findings == [moved.standing]
        assert moved.as_dict()["still"]["went_on"] is True


def test_short_run_with_a_hoarding_fault_is_noted_with_where_all_buffers_are(
    run_until_still: RunUntilStill,
) -> None:
    plan = parse_plan("hoard:1:max=65536")
    config = RunConfig(seed=1, duration_s=0.3, area_buffers=100, hold=8, plan=plan)
    report = run_until_still(config, Blame.CONSUMER)
    assert not [item for item in report.problems if item.startswith("progress")]
    assert any("queue 0 stands still since" in n and "hoard (fired" in n for n in report.notes)
    still: Any = report.queues[0].movement["still"]
    assert sum(still["where"].values()) == 100
    assert still["excused_by"]


# ---- providers that let their queue starve ---------------------------------------------------

_PLAIN = Path(__file__).parents[2] / "docs/examples/plain_provider.c"
_LOOK = "\tif (count == 0)\n\t\treturn;"
_ALLOC = "static bool plain_alloc_netmems(struct zcrx_provider_queue *queue, uint32_t pool)\n{"

Spoil = Callable[[str, str], Path]


@pytest.fixture
def spoil(tmp_path: Path) -> Spoil:
    """Build the plain provider with one place of it changed."""

    def build(old: str, new: str) -> Path:
        source, library = tmp_path / "spoilt.c", tmp_path / "spoilt.so"
        text = _PLAIN.read_text()
        assert text.count(old) == 1
        source.write_text(text.replace(old, new))
        command = ["cc", "-std=gnu11", "-g", "-O1", "-fPIC", "-shared", "-w"]
        include = f"-I{ondemand.core_sources()}"
        subprocess.run([*command, include, "-o", str(library), str(source)], check=True)
        return library

    return build


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            _LOOK,
            "\tstatic bool gave_up;\n\tgave_up |= count == 0;\n\tif (gave_up)\n\t\treturn;",
            "the provider does not look at the refill ring",
        ),
        (
            "\tif (count > room)",
            "\tif (count == queue->rq_entries)\n\t\tcount = 0;\n\tif (count > room)",
            "the provider does not look at the refill ring, where 64 RQEs wait",
        ),
        (_ALLOC, _ALLOC + "\n\treturn false;", "the provider grants none of the 1024 buffers"),
    ],
    ids=["gives-up", "full-is-empty", "never-grants"],
)
def test_provider_that_lets_its_queue_starve_is_named(
    spoil: Spoil, run_until_still: RunUntilStill, old: str, new: str, words: str
) -> None:
    library = spoil(old, new)
    config = RunConfig(seed=1, duration_s=0.5, rq_entries=64, provider=str(library), pin=False)
    report = run_until_still(config, Blame.PROVIDER)
    [problem] = report.problems
    assert problem.startswith("progress: queue 0 stands still since ")
    assert words in problem
    still: Any = report.queues[0].movement["still"]
    assert still["blame"] == "provider"
