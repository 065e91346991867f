"""Process faults: kill, stop, starve and replace the processes of a run, restart its queues.

The control process carries them out, so their ordinals are milliseconds of
traffic. What a fault does to a process is expected afterwards: a consumer that
was killed on purpose is no finding, and is replaced.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
from dataclasses import dataclass
from typing import Protocol

from emu.core import JOURNAL_MAX, Trigger
from emu.runtime.processes import Processes, Worker
from emu.runtime.role import rules_of
from emu.runtime.starvation import Starvation
from faults import Actor, Plan, PlanRule

_NEVER = math.inf
_ROLES = {
    "kill-consumer": "consumer",
    "churn": "consumer",
    "scrub-midway": "consumer",
    "stop-consumer": "consumer",
    "stop-provider": "provider",
    "stop-nic": "nic",
    "starve-consumer": "consumer",
    "starve-provider": "provider",
    "starve-nic": "nic",
}


class _Run(Protocol):
    """What a process fault needs of a session."""

    processes: Processes

    def stop_consumer(self, queue: int) -> None:
        """Ask a queue's consumer to finish."""

    def scrub_living(self, queue: int, rule: int) -> bool:
        """Scrub a queue whose user lives; False if that cannot be now."""

    def restart_queue(self, queue: int) -> bool:
        """Give a queue a new page pool; False if that is not possible now."""

    def add_area(self, queue: int) -> bool:
        """Give a queue one area more; False if that is not possible now, or none is left."""


@dataclass(slots=True)
class _Lane:
    """One rule, and whom it meets."""

    position: int
    name: str
    rule: PlanRule
    rng: random.Random
    noted_ms: int = -1  #: of the last firing


class ProcessFaults:
    """The process faults of a plan; does nothing for a plan without any."""

    def __init__(self, plan: Plan, seed: int, queues: int) -> None:
        self._queues = queues
        self._lanes = [
            _Lane(at, rule.fault.name, rule, random.Random(f"{seed}/{at}"))
            for at, rule in enumerate(plan.rules)
            if rule.fault.actor is Actor.PROCESS
        ]
        rules = rules_of(plan, Actor.PROCESS)
        for rule in rules:
            rule["first"] = max(rule["first"], 1 if rule["every"] else 0)  # not before it has begun
        self._trigger = Trigger(rules, seed)
        self.fired = [0] * len(plan.rules)  #: how often each rule of the plan fired
        self.journal: list[tuple[int, int | None, int]] = []  #: rule, queue, millisecond
        self.missing_from: int | None = None  #: of the first firing that the journal left out
        self._expected: set[int] = set()  # pids of consumers that we made end
        self._stopped: dict[int, float] = {}  # pid: millisecond at which it goes on
        self._starved: list[tuple[float, Starvation]] = []  # millisecond at which it ends
        self.notes: list[str] = []  #: what could not be done as a rule wants it

    def act(self, run: _Run, now_ms: float) -> None:
        """Carry out what is due."""
        self.resume(now_ms)
        for lane in self._lanes:
            is_due = now_ms >= self._trigger.next(lane.position)
            if is_due and self._fire(lane, run, now_ms):
                self.fired[lane.position] += 1
                self._trigger.fire(lane.position, int(now_ms) + 1)

    def resume(self, now_ms: float) -> None:
        """Let processes go on whose time is up; also while the run waits for one of them."""
        for pid, until in list(self._stopped.items()):
            if now_ms >= until:
                self._resume(pid)
        for item in list(self._starved):
            if now_ms >= item[0]:
                self._starved.remove(item)
                item[1].end()

    def _victim(self, lane: _Lane, run: _Run) -> Worker | None:
        """Whom the rule is about; None while there is nobody who has attached."""
        starved = self._pids_starved if lane.name.startswith("starve-") else frozenset()
        candidates = [
            worker
            for worker in run.processes.live(_ROLES[lane.name])
            if run.processes.has_joined(worker)
            and worker.pid not in starved
            and worker.pid not in self._stopped
            and worker.pid not in self._expected
            and lane.rule.queue in (None, worker.queue)
        ]
        return lane.rng.choice(candidates) if candidates else None

    @property
    def _pids_starved(self) -> frozenset[int]:
        return frozenset().union(*(starvation.pids for _, starvation in self._starved))

    def _starve(self, lane: _Lane, run: _Run, worker: Worker, now_ms: float) -> bool:
        """Let a process share a core with the one that has used most CPU time so far."""
        ms, nice, *_ = lane.rule.params
        others = [
            other
            for other in run.processes.live()
            if other is not worker
            and run.processes.has_joined(other)
            and other.pid not in self._pids_starved
        ]
        if not others:
            return False
        try:
            starvation = Starvation(worker, max(others, key=lambda other: other.cpu_s), nice)
        except OSError as error:  # it is about to end, or a cgroup takes its core away
            self._tell(f"{lane.name}: {error.strerror}")
            return False
        for note in starvation.notes:
            self._tell(f"{lane.name}: {note}")
        self._starved.append((now_ms + ms, starvation))
        return True

    def _tell(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _restart(self, queue: int, run: _Run) -> bool:
        """Restart a queue; not while the provider, who does it, is stopped."""
        if any(worker.pid in self._stopped for worker in run.processes.live("provider")):
            return False
        return run.restart_queue(queue)

    def _add_area(self, lane: _Lane, run: _Run) -> int | None:
        """Add an area to a queue that has one to come; not while somebody is stopped at it."""
        served = [*run.processes.live("nic"), *run.processes.live("provider")]
        if any(worker.pid in self._stopped for worker in served):
            return None
        queues = list(range(self._queues)) if lane.rule.queue is None else [lane.rule.queue]
        lane.rng.shuffle(queues)
        return next((queue for queue in queues if run.add_area(queue)), None)

    def _fire(self, lane: _Lane, run: _Run, now_ms: float) -> bool:
        """Carry a rule out; False if that cannot be now."""
        if lane.name == "queue-restart":
            queue = lane.rule.queue
            if queue is None:
                queue = lane.rng.randrange(self._queues)
            done = self._restart(queue, run)
        elif lane.name == "add-area":
            queue = self._add_area(lane, run)
            done = queue is not None
        else:
            worker = self._victim(lane, run)
            if worker is None:
                return False
            queue = worker.queue
            done = self._do_to(worker, lane, run, now_ms)
        if done:
            self._note(lane, queue, int(now_ms))
        return done

    def _do_to(self, worker: Worker, lane: _Lane, run: _Run, now_ms: float) -> bool:
        pid = worker.pid
        if lane.name.startswith("starve-"):
            return self._starve(lane, run, worker, now_ms)
        if lane.name == "scrub-midway":
            assert worker.queue is not None
            return run.scrub_living(worker.queue, lane.position)
        if lane.name == "kill-consumer":
            self._expected.add(pid)
            os.kill(pid, signal.SIGKILL)
        elif lane.name == "churn":
            assert worker.queue is not None
            self._expected.add(pid)
            run.stop_consumer(worker.queue)
        else:
            os.kill(pid, signal.SIGSTOP)
            self._stopped[pid] = now_ms + lane.rule.params[0]
        return True

    def _note(self, lane: _Lane, queue: int | None, ms: int) -> None:
        """Write a firing down; each of a rule has a millisecond of its own."""
        lane.noted_ms = max(ms, lane.noted_ms + 1)
        if len(self.journal) < JOURNAL_MAX:
            self.journal.append((lane.position, queue, lane.noted_ms))
        elif self.missing_from is None:
            self.missing_from = lane.noted_ms

    def _resume(self, pid: int) -> None:
        del self._stopped[pid]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def expected(self, worker: Worker) -> bool:
        """Did a fault make this consumer end?"""
        return worker.pid in self._expected

    @property
    def disturbs(self) -> bool:
        """Is a process stopped right now, so that no progress is to be expected?"""
        return bool(self._stopped)

    def rest(self) -> None:
        """Let every stopped or starved process go on: the run comes to its end."""
        self.resume(_NEVER)
