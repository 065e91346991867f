"""Process faults: when they are due, whom they meet, and what is expected afterwards.

The processes is made up, and signals are noted instead of sent.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from emu.runtime.process_faults import ProcessFaults
from faults import parse_plan


@dataclass(eq=False)
class FakeWorker:
    role: str
    queue: int | None
    process: SimpleNamespace
    cpu_s: float = 0.0

    @property
    def pid(self) -> int:
        """A consumer's own would be its reaper's child; the victims of these tests have none."""
        return int(self.process.pid)


def worker(role: str, queue: int | None, pid: int) -> FakeWorker:
    return FakeWorker(role, queue, SimpleNamespace(pid=pid), cpu_s=pid / 10)


@dataclass
class FakeRun:
    """The processes of two queues; it is its own processes."""

    workers: list[FakeWorker] = field(
        default_factory=lambda: [
            worker("provider", None, 10),
            worker("nic", None, 20),
            worker("consumer", 0, 30),
            worker("consumer", 1, 31),
        ]
    )
    joining: set[int] = field(default_factory=set)
    stopped_consumers: list[int] = field(default_factory=list)
    restarts: list[int] = field(default_factory=list)
    restarts_possible: bool = True
    areas_left: dict[int, int] = field(default_factory=dict)

    @property
    def processes(self) -> Any:
        return self

    def live(self, role: str | None = None) -> list[FakeWorker]:
        return [worker for worker in self.workers if role in (None, worker.role)]

    def restart_queue(self, queue: int) -> bool:
        if self.restarts_possible:
            self.restarts.append(queue)
        return self.restarts_possible

    def add_area(self, queue: int) -> bool:
        left = self.areas_left.get(queue, 0)
        self.areas_left[queue] = max(0, left - 1)
        return left > 0

    def has_joined(self, worker: FakeWorker) -> bool:
        return worker.process.pid not in self.joining

    def stop_consumer(self, queue: int) -> None:
        self.stopped_consumers.append(queue)

    def replace(self, pid: int, new_pid: int) -> None:
        (old,) = [worker for worker in self.workers if worker.process.pid == pid]
        self.workers.remove(old)
        self.workers.append(worker(old.role, old.queue, new_pid))


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "emu.runtime.process_faults.os.kill", lambda pid, number: sent.append((pid, number))
    )
    return sent


def faults_of(plan: str, seed: int = 1) -> ProcessFaults:
    return ProcessFaults(parse_plan(plan), seed, 2)


def firings(plan: str, until_ms: int, seed: int = 1) -> list[int]:
    """The milliseconds at which a rule about the NIC, asked at each, fires."""
    made, run, found, before = faults_of(plan, seed), FakeRun(), [], 0
    for now in range(until_ms):
        made.act(run, now)  # type: ignore[arg-type]
        if made.fired[0] != before:
            found.append(now)
        before = made.fired[0]
    return found


def test_areas_are_added_to_whatever_queue_has_one_to_come() -> None:
    made, run = faults_of("add-area:every=1"), FakeRun(areas_left={0: 1, 1: 2})
    for now in range(1, 9):
        made.act(run, now)  # type: ignore[arg-type]
    assert made.fired == [3]  # then there is none left
    assert sorted(queue for _, queue, _ in made.journal if queue is not None) == [0, 1, 1]
    made, run = faults_of("add-area:every=1:queue=1"), FakeRun(areas_left={0: 9, 1: 1})
    for now in range(1, 9):
        made.act(run, now)  # type: ignore[arg-type]
    assert made.journal == [(0, 1, 1)]


@pytest.mark.usefixtures("signals")
def test_no_area_is_added_while_the_nic_is_stopped() -> None:
    made, run = faults_of("stop-nic:at=1:ms=10,add-area:at=2"), FakeRun(areas_left={0: 1})
    for now in (1, 2, 9):
        made.act(run, now)  # type: ignore[arg-type]
    assert made.fired == [1, 0]
    made.act(run, 12)  # type: ignore[arg-type]
    assert made.fired == [1, 1]


@pytest.mark.usefixtures("signals")
def test_each_of_several_milliseconds_fires_even_when_late() -> None:
    assert firings("stop-nic:at=3+4+50:ms=2", 100) == [3, 5, 50]  # it is still stopped at 4
    made, run = faults_of("stop-nic:at=3+4+50:ms=1"), FakeRun()
    for now in (10, 20, 30, 60):
        made.act(run, now)  # type: ignore[arg-type]
    assert made.fired == [3]
    assert made.journal == [(0, None, 10), (0, None, 20), (0, None, 60)]


# ---- When ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("every=100", [100, 200, 300, 400]),
        ("every=100:from=150", [200, 300, 400]),
        ("every=100:from=200:until=300", [200, 300]),
        ("every=100:limit=2", [100, 200]),
        ("every=100:once", [100]),
        ("at=77", [77]),
        ("at=0", [0]),
        ("at=1000", []),
        ("1.0:from=10:until=12", [10, 15]),  # due at 11, and late: it was stopped until then
        ("0", []),
    ],
)
def test_rule_is_due_when_its_trigger_says(rule: str, expected: list[int]) -> None:
    assert firings(f"stop-nic:{rule}:ms=5", 450) == expected


@pytest.mark.usefixtures("signals")
def test_probability_is_for_each_millisecond_and_decided_by_the_seed() -> None:
    plan = "stop-nic:0.05:ms=1"
    once = firings(plan, 4000)
    assert once == firings(plan, 4000) != firings(plan, 4000, seed=2)
    assert 120 < len(once) < 280


@pytest.mark.usefixtures("signals")
def test_late_look_fires_once_and_goes_on_from_there() -> None:
    """The control process looks every few milliseconds: what it missed is not made up for."""
    made, run = faults_of("stop-nic:every=10:ms=1"), FakeRun()
    for now in (35.7, 36.2, 39.9, 40.1):
        made.act(run, now)  # type: ignore[arg-type]
    assert made.fired == [2]


@pytest.mark.usefixtures("signals")
def test_follower_is_awake_from_the_next_millisecond() -> None:
    made, run = (
        faults_of("stop-nic:at=50:ms=1,stop-provider:every=10:after=stop-nic:ms=1"),
        FakeRun(),
    )
    seen = []
    for now in range(75):
        made.act(run, now)  # type: ignore[arg-type]
        seen.append(made.fired[1])
    assert made.fired == [1, 2]
    assert [now for now in range(1, 75) if seen[now] != seen[now - 1]] == [60, 70]


def test_plan_without_process_faults_does_nothing(signals: list[tuple[int, int]]) -> None:
    made, run = faults_of("bad-pad:1.0,nic-drop:1.0"), FakeRun()
    for now in range(100):
        made.act(run, now)  # type: ignore[arg-type]
    assert made.fired == [0, 0]
    assert signals == []
    assert run.stopped_consumers == []
    assert not made.disturbs


# ---- Whom ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "pids"),
    [
        ("stop-nic:at=1", {20}),
        ("stop-provider:at=1", {10}),
        ("stop-consumer:at=1:queue=1", {31}),
        ("kill-consumer:at=1:queue=0", {30}),
        ("kill-consumer:at=1", {30, 31}),
    ],
)
def test_victim_has_the_role_and_the_queue(
    signals: list[tuple[int, int]], plan: str, pids: set[int]
) -> None:
    met = set()
    for seed in range(20):
        faults_of(plan, seed).act(FakeRun(), 1)  # type: ignore[arg-type]
        (victim, number) = signals.pop()
        assert number == (signal.SIGKILL if "kill" in plan else signal.SIGSTOP)
        met.add(victim)
    assert met == pids


def test_consumer_that_has_not_attached_is_waited_for(signals: list[tuple[int, int]]) -> None:
    made, run = faults_of("kill-consumer:at=10:queue=0"), FakeRun(joining={30})
    for now in range(10, 40):
        made.act(run, now)  # type: ignore[arg-type]
    assert (made.fired, signals) == ([0], [])
    run.joining.clear()
    made.act(run, 40)  # type: ignore[arg-type]
    made.act(run, 41)  # type: ignore[arg-type]
    assert made.fired == [1]
    assert signals == [(30, signal.SIGKILL)]


def test_killed_consumer_is_expected_and_not_killed_again(
    signals: list[tuple[int, int]],
) -> None:
    made, run = faults_of("kill-consumer:every=10:queue=0"), FakeRun()
    (victim,) = [worker for worker in run.workers if worker.process.pid == 30]
    for now in range(10, 35):
        made.act(run, now)  # type: ignore[arg-type]
    assert signals == [(30, signal.SIGKILL)]
    expected = [item.process.pid for item in run.workers if made.expected(item)]  # type: ignore[arg-type]
    assert expected == [victim.process.pid]
    run.replace(30, 300)
    made.act(run, 36)  # type: ignore[arg-type]
    assert signals[1:] == [(300, signal.SIGKILL)]
    assert made.fired == [2]


def test_churned_consumer_is_asked_and_expected(signals: list[tuple[int, int]]) -> None:
    made, run = faults_of("churn:at=5:queue=1"), FakeRun()
    made.act(run, 5)  # type: ignore[arg-type]
    assert (run.stopped_consumers, signals) == ([1], [])
    assert [item.queue for item in run.workers if made.expected(item)] == [1]  # type: ignore[arg-type]


# ---- How long -----------------------------------------------------------------------------------


def test_stopped_process_goes_on_after_its_time(signals: list[tuple[int, int]]) -> None:
    made, run = faults_of("stop-provider:at=10:ms=20"), FakeRun()
    made.act(run, 12)  # type: ignore[arg-type]
    assert made.disturbs
    made.act(run, 31.9)  # type: ignore[arg-type]
    assert signals == [(10, signal.SIGSTOP)]
    made.act(run, 32)  # type: ignore[arg-type]
    assert signals == [(10, signal.SIGSTOP), (10, signal.SIGCONT)]
    assert not made.disturbs
    assert not any(made.expected(item) for item in run.workers)


def test_stopped_process_is_not_stopped_twice_at_once(signals: list[tuple[int, int]]) -> None:
    made, run = faults_of("stop-nic:every=10:ms=100,stop-nic:every=15:ms=100"), FakeRun()
    for now in range(100):
        made.act(run, now)  # type: ignore[arg-type]
    assert signals == [(20, signal.SIGSTOP)]
    assert made.fired == [1, 0]


def test_rest_lets_all_go_on(signals: list[tuple[int, int]]) -> None:
    made, run = faults_of("stop-nic:at=1:ms=1000,stop-provider:at=1:ms=1000"), FakeRun()
    made.act(run, 1)  # type: ignore[arg-type]
    signals.clear()
    made.rest()
    made.rest()
    assert sorted(signals) == [(10, signal.SIGCONT), (20, signal.SIGCONT)]
    assert not made.disturbs


def test_stopped_process_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made, run = faults_of("stop-nic:at=1:ms=1000"), FakeRun()
    monkeypatch.setattr("emu.runtime.process_faults.os.kill", lambda _pid, _number: None)
    made.act(run, 1)  # type: ignore[arg-type]

    def is_gone(_pid: int, _number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr("emu.runtime.process_faults.os.kill", is_gone)
    made.rest()
    assert not made.disturbs


# ---- Starving -----------------------------------------------------------------------------------


@dataclass(eq=False)
class FakeStarvation:
    """Notes who is starved, and until when."""

    victim: FakeWorker
    other: FakeWorker
    nice: int
    made: ClassVar[list[FakeStarvation]] = []
    notes: list[str] = field(default_factory=lambda: ["a note"])
    ended: bool = False

    def __post_init__(self) -> None:
        self.made.append(self)

    @property
    def pids(self) -> frozenset[int]:
        return frozenset((self.victim.process.pid, self.other.process.pid))

    def end(self) -> None:
        assert not self.ended
        self.ended = True


@pytest.fixture
def starved(monkeypatch: pytest.MonkeyPatch) -> list[FakeStarvation]:
    made: list[FakeStarvation] = []
    monkeypatch.setattr(FakeStarvation, "made", made)
    monkeypatch.setattr("emu.runtime.process_faults.Starvation", FakeStarvation)
    return made


@pytest.mark.parametrize(
    ("plan", "victim", "other"),
    [
        ("starve-nic:at=1:nice=3", 20, 31),
        ("starve-provider:at=1:nice=3", 10, 31),
        ("starve-consumer:at=1:queue=0:nice=3", 30, 31),
        ("starve-consumer:at=1:queue=1:nice=3", 31, 30),
    ],
)
def test_starved_process_shares_with_the_busiest_other(
    starved: list[FakeStarvation], plan: str, victim: int, other: int
) -> None:
    made = faults_of(plan)
    made.act(FakeRun(), 1)  # type: ignore[arg-type]
    (one,) = starved
    assert (one.victim.process.pid, one.other.process.pid, one.nice) == (victim, other, 3)
    assert made.notes == [f"{plan.partition(':')[0]}: a note"]
    assert not made.disturbs


def test_starving_ends_after_its_time_and_a_note_is_made_once(
    starved: list[FakeStarvation],
) -> None:
    made, run = faults_of("starve-nic:every=10:ms=15"), FakeRun()
    for now in range(10, 40):
        made.act(run, now)  # type: ignore[arg-type]
        if now == 24:
            assert [item.ended for item in starved] == [False]
    # Due at 20 as well, and late: it is starved once at a time.
    assert [item.ended for item in starved] == [True, False]
    assert made.fired == [2]
    assert made.notes == ["starve-nic: a note"]


def test_nobody_is_starved_twice_at_once(starved: list[FakeStarvation]) -> None:
    plan = "starve-nic:at=1:ms=50,starve-consumer:at=1:queue=1:ms=50,starve-provider:at=1:ms=50"
    made, run = faults_of(plan), FakeRun()
    for now in range(1, 50):
        made.act(run, now)  # type: ignore[arg-type]
    assert [sorted(item.pids) for item in starved] == [[20, 31], [10, 30]]
    assert made.fired == [1, 0, 1]


def test_rest_ends_all_starving(starved: list[FakeStarvation]) -> None:
    made, run = faults_of("starve-nic:at=1:ms=1000,starve-provider:at=1:ms=1000"), FakeRun()
    made.act(run, 1)  # type: ignore[arg-type]
    made.rest()
    made.rest()
    assert [item.ended for item in starved] == [True, True]


def test_process_that_cannot_be_starved_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("emu.runtime.process_faults.Starvation", refuse)
    made = faults_of("starve-nic:at=1")
    made.act(FakeRun(), 1)  # type: ignore[arg-type]
    assert made.fired == [0]
    assert made.notes == ["starve-nic: Operation not permitted"]


# ---- Restarts -----------------------------------------------------------------------------------


def test_restart_is_about_the_queue_of_the_rule() -> None:
    run = FakeRun()
    faults_of("queue-restart:at=1:queue=1").act(run, 1)  # type: ignore[arg-type]
    assert run.restarts == [1]
    for seed in range(20):
        faults_of("queue-restart:at=1", seed).act(run, 1)  # type: ignore[arg-type]
    assert set(run.restarts) == {0, 1}


def test_restart_that_is_not_possible_is_put_off_and_not_counted() -> None:
    made, run = faults_of("queue-restart:at=5:queue=0"), FakeRun(restarts_possible=False)
    for now in range(5, 20):
        made.act(run, now)  # type: ignore[arg-type]
    assert made.fired == [0]
    run.restarts_possible = True
    made.act(run, 20)  # type: ignore[arg-type]
    made.act(run, 21)  # type: ignore[arg-type]
    assert (made.fired, run.restarts) == ([1], [0])


@pytest.mark.usefixtures("signals")
def test_restart_waits_for_a_provider_that_is_stopped() -> None:
    made, run = faults_of("stop-provider:at=1:ms=10,queue-restart:at=2:queue=0"), FakeRun()
    for now in range(1, 11):
        made.act(run, now)  # type: ignore[arg-type]
    assert run.restarts == []
    made.act(run, 11)  # type: ignore[arg-type]
    assert made.fired == [1, 1]
    assert run.restarts == [0]
