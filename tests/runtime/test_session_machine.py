"""A session takes any steps in any order, and what it ran is judged like any other run.

A Hypothesis state machine draws a small run of real processes and steps for it: its user's
calls, right and wrong, and deaths. The run waits at each of its samples for the next step, so
steps are taken where callers of the API take theirs, and nothing depends on time. At the end,
seeded bugs that the machine must find.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from emu.config import Overload, RunConfig
from emu.errors import ConfigError, EmuError, StateError
from emu.runtime import fork_server
from emu.runtime.memory import RunMemory
from emu.runtime.processes import Worker
from emu.runtime.sample import QueueSample, Sample
from emu.runtime.session import Session
from emu.spec.state import POOLS_MAX
from emu.verdict.report import Report
from faults import parse_plan

pytestmark = pytest.mark.long

#: Each example is a run of real processes. A profile may ask for more of them.
LIMITS = settings(
    max_examples=max(14, settings().max_examples // 7),
    stateful_step_count=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink would take minutes
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
STEP_TIMEOUT_S = 50.0
#: Small packets: a few buffers are enough for progress, whatever is held. So many flows that each
#: queue has some.
TRAFFIC = "synthetic:kind=raw,size=1448,flows=32,packets=256"
#: What replaces consumers on its own.
KILLS = ("kill-consumer:every=40", "churn:every=30")
FAULTS = (
    *KILLS,
    "bad-pad:0.05",
    "bad-index:5%",
    "double-return:1%",
    "alias:1%",
    "scrub-midway:every=25",
    "queue-restart:every=20",
    "stop-consumer:every=50:ms=5",
    "stop-nic:every=70:ms=5",
    "nic-drop:1%",
    "nic-reorder:1%:distance=4",
    "alloc-fail:0.1%",
    "header-layout:1",
    "header-garbage:1",
)
#: Of the counters of a queue, those that also shrink.
GAUGES = {"free_count", "instance_refs", "pending_returns", "order_gaps"}
NO_QUEUES: tuple[Any, ...] = (-1, 2, 64, 2**70, True, "0", None, 0.0)

picks = st.integers(0, 1)  # names a queue, modulo how many there are
chances = st.sampled_from([False] * 5 + [True])  # of what should not happen too soon


def counters(sample: QueueSample) -> dict[tuple[str, str], int]:
    """All that only grows."""
    return {
        ("", "injected"): sample.injected,
        **{
            (group, name): value
            for group in ("nic", "provider", "consumer")
            for name, value in getattr(sample, group).items()
            if name not in GAUGES
        },
    }


def is_running(pid: int) -> bool:
    """Is it there, and not only waiting to be reaped?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children() -> set[int]:
    """Processes that this one started and has not reaped."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[1]) == os.getpid():
                    found.add(int(entry.name))
    return found


def belongings() -> tuple[list[str], list[str], list[str], set[int]]:
    """Names in shared memory, descriptors, mappings and children of this process."""
    gc.collect()
    own = f"zcrx-emu.{os.getpid()}."
    names = [name for name in os.listdir("/dev/shm") if own in name]
    maps = Path("/proc/self/maps").read_text().splitlines()
    return (
        names,
        sorted(os.listdir("/proc/self/fd")),
        [line for line in maps if "/dev/shm/zcrx-emu" in line],
        children(),
    )


class SteeredRun:
    """A session's run in a thread of its own, which waits at each sample to be told what to do."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._steps: queue.SimpleQueue[Callable[[Sample], bool]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._step: Callable[[Sample], bool] | None = None
        self._runs_free = False
        self._thread = threading.Thread(target=self._run)
        self.last: Sample | None = None
        self.report: Report | None = None
        self.error: BaseException | None = None
        self._thread.start()

    def _run(self) -> None:
        try:
            self.report = self._session.run(self._at_sample, sample_every_s=0.0)
        except BaseException as error:
            self.error = error
        finally:
            self._done.put(None)

    def _at_sample(self, sample: Sample) -> None:
        self.check_growth(sample)
        while not self._runs_free:
            if self._step is None:
                self._step = self._steps.get(timeout=STEP_TIMEOUT_S)
            if not self._step(sample):
                return  # not yet
            self._step = None
            self._done.put(None)
            return

    def check_growth(self, sample: Sample) -> None:
        """Hold a sample against the one before it."""
        before, self.last = self.last, sample
        if before is None:
            return
        assert before.elapsed_s <= sample.elapsed_s
        for one, two in zip(before.queues, sample.queues, strict=True):
            later = counters(two)
            shrunk = {key: (n, later[key]) for key, n in counters(one).items() if n > later[key]}
            assert shrunk == {}

    @property
    def is_over(self) -> bool:
        """Has it returned?"""
        return not self._thread.is_alive()

    def advance(self, reached: Callable[[Sample], bool]) -> None:
        """Let it run until a sample shows something, or to its end."""
        self._take(reached)

    def call(self, function: Callable[[], object]) -> object:
        """Call at the next sample, which may be the last; or after the run. Its value or error."""
        result: list[object] = []

        def step(_sample: Sample) -> bool:
            try:
                result.append(function())
            except Exception as error:
                result.append(error)
            return True

        self._take(step)
        if not result:  # it ended before it came to this step
            self._thread.join(STEP_TIMEOUT_S)
            result.append(attempt(function))
        return result[0]

    def _take(self, step: Callable[[Sample], bool]) -> None:
        if self.is_over or self._runs_free:
            return
        self._steps.put(step)
        self._done.get(timeout=STEP_TIMEOUT_S)  # it was taken, or the run returned

    def finish(self, *, interrupt: bool) -> Report:
        """Let it run to its end, or to the next sample if it has none, and return its report."""
        self._runs_free = True
        if interrupt:
            self._session.interrupt()
        self._steps.put(lambda _sample: True)  # it may be waiting for one
        self._thread.join(STEP_TIMEOUT_S)
        if self._thread.is_alive():
            for pid in self._session.pids.values():  # else its threads would wait for ever
                os.kill(pid, signal.SIGKILL)
            pytest.fail("the run does not come to an end")
        if self.error is not None:
            raise self.error
        assert self.report is not None
        return self.report


@pytest.fixture(scope="module", autouse=True)
def no_server_is_kept() -> Iterator[None]:
    """Each run has its own: what it began with is there again when it has ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork_server, "_kept", fork_server._Kept())
        yield


def attempt(function: Callable[[], object]) -> object:
    """What it returns, or the error that it raises."""
    try:
        return function()
    except Exception as error:
        return error


def check_refusal(outcome: object, kind: type[EmuError]) -> None:
    """Assert that a call was refused in one line."""
    assert type(outcome) is kind, outcome
    assert len(str(outcome).splitlines()) == 1


class Life(RuleBasedStateMachine):
    """The life of a session, from its processes to its report."""

    session_type: ClassVar[type[Session]] = Session

    def __init__(self) -> None:
        super().__init__()
        self.session: Any = None  # a Session between create() and the end
        self.run: Any = None  # a SteeredRun once it has begun

    @initialize(
        seed=st.integers(0, 2**64 - 1),
        queues=st.sampled_from([2, 2, 2, 2, 1]),
        area_buffers=st.sampled_from([17, 32, 64, 300]),
        rq_entries=st.sampled_from([1, 4, 64, 1024]),
        cq_entries=st.sampled_from([16, 64, 1024]),
        ptr_ring_size=st.sampled_from([1, 8, 1024]),
        initial_index=st.sampled_from([0, 2**32 - 1, 2**32 - 300]),
        hold=st.sampled_from([8, 3, 0]),
        copy_every=st.sampled_from([0, 0, 7]),
        overload=st.sampled_from(Overload),
        packets=st.sampled_from([0, 0, 0, 0, 0, 20_000]),
        respawn=st.sampled_from([True, True, True, False]),
        plan=st.lists(st.sampled_from(FAULTS), max_size=3, unique=True),
        starts=st.sampled_from([True, True, True, True, True, False]),
    )
    def create(self, plan: list[str], starts: bool, **fields: Any) -> None:
        self.before = belongings()
        self.config = RunConfig(
            traffic=TRAFFIC,
            grant_entries=16,
            log_entries=65536,
            wait_ms=60_000,
            plan=parse_plan(",".join(plan)),
            **fields,
        )
        note(f"RunConfig.from_dict({self.config.as_dict()!r})")
        self.replaces_alone = any(rule in KILLS for rule in plan)
        self.is_limited = bool(self.config.packets)
        self.attached: list[bool | None] = [True] * self.config.queues
        self.taken_back = [0] * self.config.queues
        self.delivered_until = [0] * self.config.queues  # its detachment: fragments of a queue
        self.ends: set[str] = set()  # how the run must end now, if that is decided
        self.session = self.session_type(self.config, stall_s=30.0).__enter__()
        self.pids_seen = set(self.session.pids.values())
        if starts:  # else what comes before may be wrong
            self.start()

    def call(self, name: str, *arguments: object) -> object:
        """Call a method of the session where its users do."""
        return self.do(lambda: getattr(self.session, name)(*arguments))

    def do(self, function: Callable[[], object]) -> object:
        """Take a step; before the run there is no sample to wait for."""
        return attempt(function) if self.run is None else self.run.call(function)

    def started(self) -> dict[str, int]:
        """Who was started last of each label; of a consumer the reaper: its child is told later."""
        return {worker.label: worker.process.pid for worker in self.session.processes.workers}

    @property
    def is_on(self) -> bool:
        """Is there traffic, for all that the steps did?"""
        return self.run is not None and not self.ends

    def end(self, how: str) -> None:
        """The step that was taken ends the run; one that is over ends no other way."""
        if self.is_on:
            self.ends.add(how)

    # ---- the run goes on ----

    @precondition(lambda self: self.run is None)
    @rule()
    def start(self) -> None:
        self.run = SteeredRun(self.session)

    @precondition(lambda self: self.is_on)
    @rule(packets=st.integers(1, 3000))
    def advance(self, packets: int) -> None:
        """Until more is offered on each queue that has a consumer, as far as that goes."""
        goals: list[int] = []

        def reached(sample: Sample) -> bool:
            offered = [at.nic["packets_offered"] for at in sample.queues]
            if not goals:
                goals.extend(count + packets for count in offered)
            served = zip(offered, goals, self.attached, strict=True)
            return all(count >= goal for count, goal, attached in served if attached)

        # With a limit the queues end one by one: then one sample more is all that can be asked.
        self.run.advance((lambda _sample: True) if self.is_limited else reached)

    @rule()
    def sample(self) -> None:
        def look() -> None:
            sample = self.session.sample()
            if self.run is not None:
                self.run.check_growth(sample)
            assert len(sample.queues) == self.config.queues

        assert self.do(look) is None

    # ---- right and wrong calls about a queue ----

    has_detached = False  #: a consumer, at some time

    @rule(pick=picks, may_end=chances)
    def detach(self, pick: int, may_end: bool) -> None:
        """The last consumer's detachment ends the run, so that is to be rare."""
        at = pick % self.config.queues
        if self.is_on and self.attached.count(True) == self.attached[at] == 1 and not may_end:
            at = (at + 1) % self.config.queues
            if self.attached[at]:
                return

        def step() -> tuple[tuple[int, int], int, bool]:
            pid = self.session.pids[f"consumer of queue {at}"]
            result = self.session.detach_consumer(at)
            return result, self.delivered(at), is_running(pid)

        outcome = self.do(step)
        self.has_detached = True
        self.judge_detach(at, outcome)

    def delivered(self, at: int) -> int:
        """Fragments that the NIC has delivered on a queue."""
        return int(self.session.sample().queues[at].nic["fragments_delivered"])

    def judge_detach(self, at: int, outcome: object) -> None:
        if self.run is None or self.attached[at] is False:
            check_refusal(outcome, StateError)
        elif self.is_limited:
            if isinstance(outcome, Exception):
                check_refusal(outcome, StateError)
            self.attached[at] = None
        elif not self.is_on:
            assert isinstance(outcome, tuple), outcome
            assert outcome[0] == (0, 0)
        else:
            assert isinstance(outcome, tuple), outcome
            (references, buffers), self.delivered_until[at], lives = outcome
            assert 0 <= buffers <= references
            assert not lives
            self.taken_back[at] += references
            self.attached[at] = False
            if not any(self.attached):
                self.end("finished")

    @rule(pick=picks)
    def attach(self, pick: int) -> None:
        at = pick % self.config.queues
        before = self.started()
        if self.is_on and self.attached[at] is False:  # nothing is delivered to nobody
            assert self.do(lambda: self.delivered(at)) == self.delivered_until[at]
        outcome = self.call("attach_consumer", at)
        after = self.started()
        label = f"consumer of queue {at}"
        if self.run is None or self.attached[at] is True:
            check_refusal(outcome, StateError)
            assert after == before or self.replaces_alone or self.config.respawn
        elif self.is_limited:
            if isinstance(outcome, Exception):
                check_refusal(outcome, StateError)
            self.attached[at] = None
        else:
            assert outcome is None
            assert (before[label] != after[label]) == self.is_on
            self.attached[at] = self.attached[at] or self.is_on

    @rule(
        call=st.sampled_from(["detach_consumer", "attach_consumer", "restart_queue"]),
        number=st.sampled_from(NO_QUEUES),
    )
    def name_no_queue(self, call: str, number: object) -> None:
        def step() -> tuple[object, bool]:
            before = self.started(), self.restarts()
            outcome = attempt(lambda: getattr(self.session, call)(number))
            return outcome, before == (self.started(), self.restarts())

        outcome = self.do(step)
        assert isinstance(outcome, tuple), outcome
        check_refusal(outcome[0], ConfigError)
        assert str(outcome[0]).startswith(f"queue: {number!r} is not allowed; it must be 0")
        assert outcome[1]

    def restarts(self) -> list[int]:
        """Page pools made after the first, by queue."""
        return [at.provider["restarts"] for at in self.session.sample().queues]

    @rule(pick=picks, times=st.sampled_from([1, 1, POOLS_MAX + 1]))
    def restart_queue(self, pick: int, times: int) -> None:
        """Each that is said to be done is done, until the slots run out and after it."""
        at = pick % self.config.queues

        def step() -> tuple[list[bool], int]:
            before = self.restarts()[at]
            told = [self.session.restart_queue(at) for _ in range(times)]
            return told, self.restarts()[at] - before

        outcome = self.do(step)
        if self.run is None:
            check_refusal(outcome, StateError)
            return
        assert isinstance(outcome, tuple), outcome
        told, made = outcome
        assert made == sum(told)
        if self.ends:
            assert not any(told)

    # ---- what ends consumers and runs ----

    @rule(may_end=chances)
    def interrupt(self, may_end: bool) -> None:
        """Before the run it ends it at once."""
        if self.is_on and not may_end:
            return
        assert self.call("interrupt") is None
        if self.run is None:
            self.start()
        self.end("interrupted")

    @precondition(lambda self: self.is_on and not self.is_limited)
    @precondition(lambda self: self.config.respawn or not self.replaces_alone)
    @rule(pick=picks)
    def kill(self, pick: int) -> None:
        """The run replaces it, or ends and says so."""
        at = pick % self.config.queues
        if self.attached[at]:
            label = f"consumer of queue {at}"
            pid = self.do(lambda: self.kill_now(label))
            if self.config.respawn:
                self.run.advance(lambda _sample: self.session.pids[label] != pid)
            else:
                self.end(f"{label} was killed by SIGKILL")

    def kill_now(self, label: str) -> int:
        """Kill a process and wait until it has ended, without reaping it."""
        pid = int(self.session.pids[label])
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return pid

    @precondition(lambda self: self.is_on and not self.is_limited)
    @precondition(lambda self: self.config.respawn and all(self.attached))
    @rule(pick=picks)
    def kill_and_replace_all(self, pick: int) -> None:
        """The run gets to know of a death while it waits for something else."""
        at = pick % self.config.queues
        label = f"consumer of queue {at}"
        order = [*(other for other in range(self.config.queues) if other != at), at]

        def step() -> list[tuple[int, int]]:
            self.kill_now(label)
            results = [self.session.detach_consumer(number) for number in order]
            for number in order:
                self.session.attach_consumer(number)
            self.fresh = self.started()
            return results

        results = self.do(step)
        assert isinstance(results, list), results
        for number, (references, _) in zip(order, results, strict=True):
            self.taken_back[number] += references
        self.run.advance(lambda _sample: True)
        if not self.replaces_alone:  # nobody puts the old one's end down to a new one
            assert self.started() == self.fresh

    # ---- the judgement ----

    def teardown(self) -> None:
        if self.session is None:
            return
        try:
            if self.run is not None:
                self.judge(self.run.finish(interrupt=not self.ends))
        finally:
            pids = set(self.session.pids.values()) | self.pids_seen
            self.session.close()
        check_refusal(attempt(self.session.run), StateError)
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
        self.session = self.run = None
        assert belongings() == self.before

    def judge(self, report: Report) -> None:
        """All holds but for what the steps and the plan led to."""
        killed = {end for end in self.ends if "killed" in end}
        if self.is_limited:
            assert report.ended in {"interrupted", "packets", "finished"}
        else:
            assert {report.ended} == (self.ends or {"interrupted"})
        # A NIC that drops may have offered all while nobody was there who would have taken it.
        nobody = (
            self.has_detached
            and self.config.overload is Overload.DROP
            and report.total("nic", "packets_delivered") == 0
        )
        empty = {text for text in report.problems if nobody and text.startswith("substance: ")}
        assert set(report.problems) == killed | empty
        assert report.ok == (not killed | empty)
        # Who was killed may have been the one who would have shown something.
        unjudged = {"substance"} if killed | empty else set()
        assert {item.name for item in report.statements if not item.holds} <= unjudged
        self.check_counts(report)
        check_refusal(attempt(self.session.run), StateError)

    def check_counts(self, report: Report) -> None:
        last = self.session.sample()
        for queue_report, seen, final in zip(
            report.queues, self.run.last.queues, last.queues, strict=True
        ):
            for sample in (seen, final):
                assert dict(queue_report.nic) == sample.nic
                assert dict(queue_report.provider) == sample.provider
                assert dict(queue_report.consumer) == sample.consumer
                assert sample.places.freelist == self.config.area_buffers
        offered, delivered, dropped = (
            report.total("nic", f"packets_{name}") for name in ("offered", "delivered", "dropped")
        )
        assert offered == delivered + dropped
        result = report.reconciliation
        assert (result.lost, result.mismatch_count) == (0, 0)
        assert result.checked == report.total("provider", "consumed")
        for queue_report, references in zip(report.queues, self.taken_back, strict=True):
            assert queue_report.scrub["references"] >= references
        for process in report.processes:
            if process.role != "consumer":
                assert process.exit_code == 0


#: A profile that asks for more is given the time for it.
TestLife = pytest.mark.timeout(100 + 5 * LIMITS.max_examples)(Life.TestCase)
TestLife.settings = LIMITS


# ---- The machine finds what it should -----------------------------------------------------------


class TakesASecondDetachForDone(Session):
    def detach_consumer(self, queue: int) -> tuple[int, int]:
        if self._is_on("detach_consumer", queue) and self._consumers[queue] is None:
            return 0, 0
        return super().detach_consumer(queue)


class LetsASecondConsumerIn(Session):
    def attach_consumer(self, queue: int) -> None:
        if self._is_on("attach_consumer", queue):
            self._consumers[queue] = None
        super().attach_consumer(queue)


class LetsADetachedConsumerLive(Session):
    def detach_consumer(self, queue: int) -> tuple[int, int]:
        processes: Any = self.processes
        kill, processes.kill = processes.kill, lambda _worker: None
        try:
            return super().detach_consumer(queue)
        finally:
            processes.kill = kill


class ClaimsARestartThatItDidNotAskFor(Session):
    def restart_queue(self, queue: int) -> bool:
        if self._is_on("restart_queue", queue) and queue == self.config.queues - 1:
            return True
        return super().restart_queue(queue)


class PutsADeathDownToTheNextConsumer(Session):
    def _user_is_gone(self, worker: Worker) -> None:
        assert worker.queue is not None
        self._consumers[worker.queue] = worker
        super()._user_is_gone(worker)


class ShowsTheLastSampleButOne(Session):
    _shown: Sample | None = None

    def sample(self) -> Sample:
        if self._shown is None or not self._is_over:
            self._shown = super().sample()
        return self._shown


class KeepsItsMemory(Session):
    def close(self) -> None:
        kept.append(self._memory)
        self._memory = None
        super().close()


#: What the last one leaves behind.
kept: list[RunMemory | None] = []


@pytest.fixture
def closed_memory() -> Iterator[None]:
    """Nothing of a seeded bug stays for the tests that follow."""
    yield
    for memory in kept:
        if memory is not None:
            memory.close()
    kept.clear()


@pytest.mark.usefixtures("closed_memory")
@pytest.mark.parametrize(
    "bug",
    [
        TakesASecondDetachForDone,
        LetsASecondConsumerIn,
        LetsADetachedConsumerLive,
        ClaimsARestartThatItDidNotAskFor,
        PutsADeathDownToTheNextConsumer,
        ShowsTheLastSampleButOne,
        KeepsItsMemory,
    ],
)
def test_seeded_bug_is_found(bug: type[Session]) -> None:
    """What is found is found again only if the processes are as fast as before: that is enough."""

    class BuggyLife(Life):
        session_type = bug

    with pytest.raises((AssertionError, Flaky)):
        run_state_machine_as_test(
            BuggyLife,
            settings=settings(
                LIMITS,
                max_examples=60,
                phases=[Phase.generate],
                derandomize=True,
                database=None,
                report_multiple_bugs=False,
            ),
        )
