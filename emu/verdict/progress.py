"""Progress: does each queue get what is offered to it, and if not, who is to blame?

The NIC keeps account of the time in which packets were offered and none was delivered
(``struct zcrx_nic_shared``). A queue in such a time is suspected here; it is found to stand
still once it is shown that nothing can move: twice seen the same, although whoever is to act
had its chance. A process that got no CPU time had none, however long ago that was.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from emu.config import FRAGMENTS_MAX, Pace, RunConfig
from emu.contract import BY_RUNS
from emu.core import CounterGroup, Queue, StandingView
from emu.host.proc import STATE, stat_words
from faults import Actor, Plan

LOOK_EVERY_S = 0.05  #: between looks at a suspected queue; a look may cost a millisecond
ASKED_ROUNDS = 20  #: a provider that was asked so often in vain has looked everywhere …
ASKED_S = 0.25  #: … in at least so long
IDLE_S = 1.0  #: a consumer that sleeps for so long with nothing to read will give nothing back
BUSY_S = 2.0  #: whoever did something else for so long
UNDECIDED_MAX_S = 5.0  #: a run's end waits no longer to see whether a queue goes on
LONG_S = 1.0  #: a time without a delivery that is worth a note
#: A queue that was shown to stand still for so long is a finding, whatever came afterwards.
TOO_LONG_S = 5.0
#: Packets that pass beside what stands still, since they are small: at once, and a second.
TRICKLE = 64
TRICKLE_PER_S = 100
_CHANCE_S = 0.02  #: CPU time that shows that a process ran


class Blame(enum.StrEnum):
    """Who keeps a queue from going on."""

    CONSUMER = "consumer"
    PROVIDER = "provider"
    NIC = "nic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A queue that stands still."""

    queue: int
    since_s: float  #: of traffic
    for_s: float
    waits_for: str  #: what the NIC waits for
    blame: Blame
    why: str  #: in words
    where: Mapping[str, int]  #: buffers by place
    oldest: Mapping[str, int] | None  #: of those that the user keeps
    excused_by: tuple[str, ...] = ()  #: faults that explain it, with how often they fired
    went_on: bool = False  #: it moved again later

    @property
    def text(self) -> str:
        """All of it in a line."""
        where = ", ".join(f"{count} {_WHERE[name]}" for name, count in self.where.items() if count)
        stands = "stood still from" if self.went_on else "stands still since"
        since = f"{self.since_s:.2f} s of the run{' on' if self.went_on else ''}"
        went_on = ", then it went on" if self.went_on else ""
        text = (
            f"queue {self.queue} {stands} {since}, for {self.for_s:.2f} s{went_on}: {self.why}. "
            f"Its buffers: {where or 'nowhere'}"
        )
        if self.oldest is not None and self.blame is Blame.CONSUMER:
            text += (
                f"; the user has had buffer {self.oldest['niov']} for the longest time, since "
                f"completion {self.oldest['completion']} (flow {self.oldest['flow']}, fragment "
                f"{self.oldest['seq']})"
            )
        return text

    def as_dict(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {
            "since_s": round(self.since_s, 6),
            "for_s": round(self.for_s, 6),
            "waits_for": self.waits_for,
            "blame": str(self.blame),
            "why": self.why,
            "where": dict(self.where),
            "oldest": None if self.oldest is None else dict(self.oldest),
            "excused_by": list(self.excused_by),
            "went_on": self.went_on,
        }


@dataclass(frozen=True, slots=True)
class QueueMovement:
    """How one queue moved."""

    longest_s: float = 0.0  #: the longest time in which packets were offered and none delivered
    longest_since_s: float = 0.0  #: of traffic
    standing: Standing | None = None  #: at the end; or earlier, if its provider did not look
    slow: str | None = None  #: that it moved slowly, by a fault; in words
    is_open: bool = False  #: the longest time had not ended with the traffic

    def as_dict(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {
            "longest_s": round(self.longest_s, 6),
            "longest_since_s": round(self.longest_since_s, 6),
            "still": None if self.standing is None else self.standing.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Movement:
    """How the queues moved; empty of a run without traffic."""

    queues: tuple[QueueMovement, ...] = ()

    @property
    def findings(self) -> list[Standing]:
        """Queues that stand still and that nothing explains."""
        still = (queue.standing for queue in self.queues)
        return [item for item in still if item is not None and not item.excused_by]

    @property
    def notes(self) -> list[str]:
        """What is worth a note: what faults explain, and what went on again."""
        notes = []
        for number, queue in enumerate(self.queues):
            if queue.standing is not None and queue.standing.excused_by:
                why = ", ".join(queue.standing.excused_by)
                notes.append(f"{queue.standing.text}. That is what faults lead to: {why}")
            elif queue.standing is None and queue.slow is not None:
                notes.append(f"queue {number}: {queue.slow}")
            if queue.standing is None and queue.longest_s >= LONG_S:
                notes.append(
                    f"queue {number}: nothing was delivered for {queue.longest_s:.2f} s, from "
                    f"{queue.longest_since_s:.2f} s of the run on, although packets were offered; "
                    + ("it was not over at the end" if queue.is_open else "then it went on")
                )
        return notes


_WHERE = {
    "kept": "kept by the user",
    "unread": "in completions that the user has not read",
    "returned": "in RQEs that the provider has not read",
    "nic": "with the NIC",
    "grant_ring": "granted to the NIC",
    "cache": "in the alloc cache",
    "ptr_ring": "in the ptr ring",
    "freelist": "on the freelist",
}


def who(
    view: StandingView, *, need: int, kept_rightly: int | None = None
) -> tuple[Blame, str] | None:
    """Who keeps a queue from going on, and how; None when it could go on by itself.

    Args:
        view: The queue.
        need: Buffers, and completions, of the largest packet.
        kept_rightly: Buffers that the user may keep by what is known of it; None: nothing is.
    """
    if view.waits_for_cq:
        if view.completions_unread == 0:
            return None
        return (
            Blame.CONSUMER,
            f"the consumer does not read its completions, of which {view.completions_unread} wait",
        )
    has_grants = view.grant_ring >= need
    if has_grants:
        return None if view.looks == 0 else (Blame.NIC, "the NIC does not take what it is granted")
    if view.rqes_unread:
        return (
            Blame.PROVIDER,
            f"the provider does not look at the refill ring, where {view.rqes_unread} RQEs wait",
        )
    spare = view.freelist + view.cache + view.ptr_ring
    if spare:
        return Blame.PROVIDER, f"the provider grants none of the {spare} buffers that it has"
    if view.unread and view.unread >= view.kept:
        return (
            Blame.CONSUMER,
            f"the consumer does not read its completions, of which {view.completions_unread} wait",
        )
    if view.kept == 0:
        return Blame.PROVIDER, "its buffers are lost"
    if kept_rightly is not None and view.kept > kept_rightly:
        return (
            Blame.PROVIDER,
            "the provider took the RQEs that return its buffers, and left the user its references",
        )
    return Blame.CONSUMER, f"the consumer keeps {view.kept} buffers and gives none back"


#: Runs that what one firing wrote may stand in: at its beginning, and at its end.
_RUNS_BESIDE = 2


def excuses(
    plan: Plan,
    fired: Sequence[int],
    *,
    kept: int,
    kept_rightly: int,
    for_s: float,
    by_runs: bool = False,
) -> tuple[str, ...]:
    """The faults that explain why a queue stands still, as far as their credit goes.

    Args:
        plan: The run's.
        fired: How often each of its rules did, on this queue.
        kept: Buffers that the user keeps.
        kept_rightly: Those that it may keep without a fault.
        for_s: How long the queue stands still.
        by_runs: The provider takes entries in a row that name the same buffer all or none: what a
            consumer writes beside a good return may keep that one's buffer.
    """
    keeping: list[str] = []
    pausing: list[str] = []
    lost, paused_s = 0, 0.0
    for rule, times in zip(plan.rules, fired, strict=True):
        fault = rule.fault
        if not times:
            continue
        said = f"{fault.name} (fired {times} times)" if times > 1 else f"{fault.name} (fired once)"
        params = dict(zip((p.name for p in fault.params), rule.params, strict=True))
        each = fault.buffers_kept(params)
        if by_runs and fault.actor is Actor.CONSUMER:
            each = max(each, _RUNS_BESIDE)
        if each:
            lost += each * times
            keeping.append(said)
        pause_s = fault.pause_s(params)
        if pause_s:
            paused_s += pause_s * times
            pausing.append(said)
    if kept > kept_rightly and kept - min(lost, kept) <= kept_rightly:
        return tuple(keeping)
    if paused_s >= for_s:
        return tuple(pausing)
    return ()


# ---- watching ------------------------------------------------------------------------------


class _Worker(Protocol):
    role: str
    queue: int | None

    @property
    def pid(self) -> int: ...

    def sample_cpu(self) -> float: ...


class Service(Protocol):
    """What is asked about the processes of a run."""

    def at_work(self, role: str, queue: int) -> _Worker | None:
        """Who serves a queue in a role, has attached and was not asked to leave; or None."""

    def is_stopped_on_purpose(self) -> bool:
        """Does a fault have a process stopped right now?"""

    def fired(self, queue: int) -> Sequence[int]:
        """How often each rule of the plan did on that queue, so far."""


def _state(pid: int) -> str:
    """A process's state as in ``/proc/PID/stat``: R, S, D, T …; X when it is gone."""
    try:
        return stat_words(pid)[STATE]
    except (OSError, IndexError):
        return "X"


@dataclass(slots=True)
class _Chance:
    """Whether a process could have acted since a moment: it ran, or it did not want to."""

    worker: _Worker
    cpu_s: float
    rested: int = 0  #: looks at which it did not want to run

    @classmethod
    def of(cls, worker: _Worker) -> _Chance:
        return cls(worker, worker.sample_cpu())

    def look(self) -> bool:
        self.rested += _state(self.worker.pid) not in "RD"
        return self.rested > 1 or self.worker.sample_cpu() - self.cpu_s >= _CHANCE_S


@dataclass(slots=True)
class _Suspect:
    """A queue that has not moved since it was seen first like this."""

    view: StandingView
    blame: Blame
    since: int  #: ns, by the NIC
    delivered: int  #: packets by then
    at: float
    chances: dict[str, _Chance]
    slept: bool = True  #: the consumer had nothing to read whenever we looked, and slept
    odd: bool = False  #: it was seen otherwise the last time: perhaps in the middle of something

    def has_moved(self, delivered: int, now: float) -> bool:
        """Is it more than a trickle that was delivered since?"""
        return delivered - self.delivered > TRICKLE + TRICKLE_PER_S * (now - self.at)

    def is_like(self, view: StandingView) -> bool:
        """Did nothing come back to be filled again, or move at all?"""
        before = self.view
        return (
            view.waits_for_cq == before.waits_for_cq
            and view.consumed == before.consumed
            and view.completions_unread >= before.completions_unread
            and view.kept >= before.kept
        )


@dataclass(slots=True)
class _Count:
    """Notices a count that does not move any more."""

    stall_s: float
    count: int = -1
    since: float = field(default_factory=time.monotonic)

    def is_stuck(self, count: int, now: float) -> bool:
        if count != self.count:
            self.count, self.since = count, now
        return now - self.since > self.stall_s


def _dealt_with(nic: Mapping[str, int]) -> int:
    """Packets that were delivered, or dropped for another reason than want of room."""
    wanted = nic["dropped_no_buffer"] + nic["dropped_cq_full"]
    return nic["packets_delivered"] + nic["packets_dropped"] - wanted


def _delivered(queue: Queue) -> int:
    return queue.counters(CounterGroup.NIC)["packets_delivered"]


class Progress:
    """Watches all queues.

    Args:
        queues: The control process's views.
        config: The run's.
        processes: Its processes.
        stall_s: Seconds without a delivery on any queue after which a run is over.
        started_at: When its traffic began, by ``time.monotonic()``.
        need: Buffers that its largest packet takes.
    """

    def __init__(
        self,
        queues: Sequence[Queue],
        *,
        config: RunConfig,
        processes: Service,
        stall_s: float,
        started_at: float,
        need: int = FRAGMENTS_MAX,
    ) -> None:
        self._queues = queues
        self._config = config
        self._processes = processes
        self._stall_s = stall_s
        self._started_at = started_at
        self._need = need
        self._is_tcp = config.traffic.startswith("tcp:")
        self._suspects: dict[int, _Suspect] = {}
        self._looked: dict[int, float] = {}
        self._undecided_since: float | None = None
        self._delivered: dict[int, int] = {}  # packets, when the run was to end
        self._moved = _Count(stall_s)
        #: Queues that stand still now, by number.
        self.standing: dict[int, Standing] = {}
        #: Those whose provider was shown not to look, whatever came later.
        self.proven: dict[int, Standing] = {}
        #: Those that stood still for too long and went on again: the longest time of each.
        self.recovered: dict[int, Standing] = {}

    # ---- each tick -------------------------------------------------------------

    def look(self) -> None:
        """Look at all queues; cheap while they move."""
        now = time.monotonic()
        for queue in self._queues:
            since = queue.still_since()
            if queue.index in self._suspects:
                self._forget_moving(queue, now)
            if since == 0 and queue.index not in self._suspects:
                continue
            if since == 0 and not self._has_ended(queue):
                continue  # a small packet has passed: how it goes on is seen at once
            if now - self._looked.get(queue.index, 0.0) >= LOOK_EVERY_S:
                self._looked[queue.index] = now
                self._look_at(queue, now)

    def _forget_moving(self, queue: Queue, now: float) -> None:
        delivered = _delivered(queue)
        if self._suspects[queue.index].has_moved(delivered, now):
            self._go_on(queue.index)

    def _has_ended(self, queue: Queue) -> bool:
        """Is it suspected of having stood still when its traffic ended?"""
        suspect = self._suspects.get(queue.index)
        return suspect is not None and suspect.view.last_since != 0

    def _clear(self, queue: int) -> None:
        self._suspects.pop(queue, None)
        self.standing.pop(queue, None)

    def _go_on(self, queue: int) -> None:
        """It moves, or could: what was found is over, but not forgotten if it was for too long."""
        found = self.standing.get(queue)
        self._clear(queue)
        before = self.recovered.get(queue)
        if found is None or found.excused_by or found.for_s < TOO_LONG_S:
            return
        if before is None or before.for_s < found.for_s:
            self.recovered[queue] = replace(found, went_on=True)

    def _look_at(self, queue: Queue, now: float) -> None:
        consumer = self._processes.at_work("consumer", queue.index)
        view = queue.standing()
        if not view.has_user or consumer is None or self._processes.is_stopped_on_purpose():
            self._clear(queue.index)
            return
        if view.since == 0 and view.last_since == 0:
            self._go_on(queue.index)
            return
        suspect = self._suspects.get(queue.index)
        blamed = self._who(view)
        sleeps = bool(view.consumer_sleeps) and view.completions_unread == 0
        if suspect is not None and not self._goes_on_standing(suspect, view, sleeps):
            if suspect.slept and sleeps and not suspect.odd:
                suspect.odd = True
                return
            self._go_on(queue.index)
            suspect = None
        if blamed is None:
            self._go_on(queue.index)
            return
        if suspect is None:
            workers = {
                "consumer": consumer,
                "provider": self._processes.at_work("provider", queue.index),
                "nic": self._processes.at_work("nic", queue.index),
            }
            chances = {role: _Chance.of(one) for role, one in workers.items() if one is not None}
            delivered = _delivered(queue)
            since = view.since or view.last_since
            suspect = _Suspect(view, blamed[0], since, delivered, now, chances)
            self._suspects[queue.index] = suspect
        suspect.odd = False
        suspect.slept &= sleeps
        had_chance = {role: chance.look() for role, chance in suspect.chances.items()}
        if self._is_shown(suspect, view, now - suspect.at, had_chance):
            self._find(queue, view, suspect.since)

    def _goes_on_standing(self, suspect: _Suspect, view: StandingView, sleeps: bool) -> bool:
        """Is all as it was, or no better?"""
        blamed = self._who(view)
        if blamed is None or blamed[0] is not suspect.blame:
            return False
        # A small packet may come and go beside buffers that a consumer at rest never gives back.
        rests = sleeps and suspect.slept and suspect.blame is Blame.CONSUMER
        return rests or suspect.is_like(view)

    def _who(self, view: StandingView) -> tuple[Blame, str] | None:
        is_ours = self._config.consumer == "builtin" and not self._config.plan.rules
        return who(
            view,
            need=self._need,
            kept_rightly=self._config.hold + 1 if is_ours else None,
        )

    def _is_shown(
        self, suspect: _Suspect, view: StandingView, for_s: float, had_chance: Mapping[str, bool]
    ) -> bool:
        """Is it shown that nothing moves by itself any more?"""
        blamed = self._who(view)
        assert blamed is not None
        blame = blamed[0]
        if view.since and not had_chance.get("nic", True):
            return False
        if blame is Blame.PROVIDER:
            asked = view.short_rounds - suspect.view.short_rounds
            if asked >= ASKED_ROUNDS and for_s >= ASKED_S:
                return True
        if blame is Blame.CONSUMER and suspect.slept and for_s >= IDLE_S:
            return True
        return for_s >= BUSY_S and had_chance.get(str(blame), True)

    def _find(self, queue: Queue, view: StandingView, since: int) -> None:
        blamed = self._who(view)
        assert blamed is not None
        blame, why = blamed
        until = view.last_until if view.last_since else time.monotonic_ns()
        for_s = (until - since) / 1e9
        oldest = {
            name: getattr(view, f"oldest_{name}") for name in ("niov", "completion", "flow", "seq")
        }
        found = Standing(
            queue=queue.index,
            since_s=since / 1e9 - self._started_at,
            for_s=for_s,
            waits_for="room in the completion queue" if view.waits_for_cq else "a buffer",
            blame=blame,
            why=why,
            where={name: getattr(view, name) for name in _WHERE},
            oldest=oldest if view.kept else None,
            excused_by=excuses(
                self._config.plan,
                self._processes.fired(queue.index),
                kept=view.kept,
                kept_rightly=self._kept_rightly,
                for_s=for_s,
                by_runs=self._config.kernel in BY_RUNS,
            ),
        )
        self.standing[queue.index] = found
        if blame is Blame.PROVIDER and not found.excused_by:
            self.proven[queue.index] = found

    @property
    def _kept_rightly(self) -> int:
        """Buffers that a consumer may keep by itself without starving its queue."""
        if self._config.consumer == "builtin":
            return self._config.hold + 1
        return self._config.buffers // 2

    # ---- what follows from it -----------------------------------------------------

    def is_undecided(self) -> bool:
        """Is it still to be seen whether a queue goes on? Not for ever: to be asked at the end."""
        now = time.monotonic()
        if self._undecided_since is None:
            self._undecided_since = now
            for queue in self._queues:
                self._delivered[queue.index] = _delivered(queue)
                view = queue.standing()
                if view.since == 0 and view.last_since:  # its traffic is over already
                    self._look_at(queue, now)
        waited_s = now - self._undecided_since
        return waited_s <= UNDECIDED_MAX_S and any(
            self._is_queue_undecided(queue, waited_s) for queue in self._queues
        )

    def _is_queue_undecided(self, queue: Queue, waited_s: float) -> bool:
        if queue.index in self.standing or self._processes.at_work("consumer", queue.index) is None:
            return False
        if self._processes.is_stopped_on_purpose():
            return False
        passed = _delivered(queue) - self._delivered[queue.index]
        if passed > TRICKLE + TRICKLE_PER_S * waited_s:
            return False
        return queue.index in self._suspects or queue.still_since() != 0

    def is_stalled(self) -> bool:
        """Nothing delivered on any queue for long, and no fault explains it. To be asked often."""
        now = time.monotonic()
        dealt_with = sum(_dealt_with(queue.counters(CounterGroup.NIC)) for queue in self._queues)
        if self._processes.is_stopped_on_purpose():
            self._moved.count = -1
        if not self._moved.is_stuck(dealt_with, now):
            return False
        # A connection does not end by itself: a user that keeps its buffers is waited for in vain.
        if any(self._is_tcp or not item.excused_by for item in self.standing.values()):
            return True
        return self._does_nic_rest(now)

    def _does_nic_rest(self, now: float) -> bool:
        """Does the NIC offer nothing, although packets and all that they need are there?"""
        if self._is_tcp or self._config.pace is Pace.ORIGINAL:
            return False
        for queue in self._queues:
            places = queue.places()
            room = places.in_flight + FRAGMENTS_MAX <= queue.shape.cq_entries
            granted = places.grant_ring >= FRAGMENTS_MAX
            if not (room and granted) or queue.still_since():
                continue
            view = queue.standing()
            if not view.has_user:
                continue
            self.standing[queue.index] = Standing(
                queue=queue.index,
                since_s=self._moved.since - self._started_at,
                for_s=now - self._moved.since,
                waits_for="nothing",
                blame=Blame.NIC,
                why=f"the NIC does not take what it is granted{_how(self._processes, queue.index)}",
                where={name: getattr(view, name) for name in _WHERE},
                oldest=None,
            )
            return True
        return False

    # ---- when the traffic is over ------------------------------------------------------

    def movement(self) -> Movement:
        """What there is to say of all queues; while they are still served."""
        now = time.monotonic_ns()
        queues = []
        for queue in self._queues:
            view = queue.standing()
            length, since = view.longest, view.longest_since
            found = (self.standing, self.proven, self.recovered)
            standing = next((each[queue.index] for each in found if queue.index in each), None)
            is_open = view.since != 0 and now - view.since > length
            if is_open:
                length, since = now - view.since, view.since
            since_s = since / 1e9 - self._started_at if since else 0.0
            fired = self._processes.fired(queue.index)
            said = slow(self._config, fired, queue.counters(CounterGroup.NIC), view)
            queues.append(QueueMovement(length / 1e9, since_s, standing, said, is_open))
        return Movement(tuple(queues))


def _how(processes: Service, queue: int) -> str:
    worker = processes.at_work("nic", queue)
    return " (its process is stopped)" if worker is not None and _state(worker.pid) == "T" else ""


def slow(
    config: RunConfig, fired: Sequence[int], nic: Mapping[str, int], view: StandingView
) -> str | None:
    """What there is to say of a queue that goes on, but with few buffers; None: nothing."""
    names = [
        rule.fault.name
        for rule, times in zip(config.plan.rules, fired, strict=True)
        if times and rule.fault.actor is Actor.CONSUMER and rule.fault.keeps
    ]
    if view.kept * 2 <= config.buffers or not names:
        return None
    return (
        f"the user keeps {view.kept} of its {config.buffers} buffers "
        f"({', '.join(dict.fromkeys(names))}), so it goes on slowly: "
        f"{nic['packets_delivered']} of {nic['packets_offered']} packets were delivered"
    )
