"""The control process: makes a run's memory and processes, watches, tears down, judges.

The order of a shutdown is the kernel's: the NIC stops offering, the user reads
what is left and goes, the control process scrubs while the provider is still
at work, buffers come home, the queue is torn down and the destroy check runs.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from emu.config import FRAGMENTS_MAX, RunConfig
from emu.core import Caller, CounterGroup, Observer, PluginCall, Queue, Reconciler, RunState
from emu.errors import ConfigError, EnvironmentProblem, RefusedStep, StateError
from emu.host.descriptors import OF_QUEUE, OF_RUN, need
from emu.host.ending import ended_by_signals
from emu.host.streams import hold_descriptors
from emu.runtime import netlink
from emu.runtime.arena import Arena, make_arena
from emu.runtime.channel import Word
from emu.runtime.guard import Hidden
from emu.runtime.keeper import CALL_TIMEOUT_S, look_at
from emu.runtime.memory import RunMemory
from emu.runtime.process_faults import ProcessFaults
from emu.runtime.processes import Processes, Worker, place
from emu.runtime.role import consumer_setup, nic_setup, provider_setup
from emu.runtime.sample import QueueSample, Sample
from emu.runtime.segment import sweep
from emu.runtime.series import Series
from emu.runtime.setup_faults import SetupFaults
from emu.traffic import PcapSource, SyntheticSource, TcpSource, listen, parse_source
from emu.verdict.flight import EventKind, FlightRecorder
from emu.verdict.progress import Movement, Progress
from emu.verdict.received import Output
from emu.verdict.report import SETUP_FAILED, Report
from emu.verdict.watch import Noticed, Watch
from faults import Actor, Plan

if TYPE_CHECKING:  # what judges is loaded while the workers are
    from emu.verdict.judgement import FinishedRun

TCP_FLOWS_MAX = 4096
ACK_TIMEOUT_S = 10.0
CONSUMER_LEAVE_S = 10.0  #: for a consumer to read what is left and to go …
CONSUMER_STILL_S = 2.0  #: … and for one that does nothing any more
TICK_S = 0.01
STALL_S = 5.0
#: Ends of a run that may wait to see whether a queue that seems to stand still goes on.
_MAY_WAIT = frozenset({"duration", "packets"})


class Session:
    """One run, from its memory to its report. A context manager: leaving it ends everything.

    Args:
        config: What to run.
        run_dir: Folder for ``run.json``; None to write nothing.
        output_fd: Queue 0's consumer writes the payload there, in order; -1 = nowhere.
        stop_at_end: The traffic is over when so many connections ended and what came was read;
            0 = never.
        listener: For a ``tcp:`` source: a listening socket, if the caller made one.
        keeps_flight: The report has what the flight recorders keep, of a good run too.
        stall_s: Seconds without a delivery after which a run that could go on is stalled.
        tick_s: Seconds after which the control process looks again; process faults are no denser.

    Raises:
        ConfigError: The configuration cannot be.
        EnvironmentProblem: The machine cannot give what the run needs.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        run_dir: Path | None = None,
        output_fd: int = -1,
        stop_at_end: int = 0,
        listener: socket.socket | None = None,
        keeps_flight: bool = False,
        stall_s: float = STALL_S,
        tick_s: float = TICK_S,
    ) -> None:
        self._stall_s = stall_s
        self._tick_s = tick_s
        self._keeps_flight = keeps_flight
        self.config = config
        self.run_dir = run_dir
        self.listener = listener
        self._output_fd = output_fd
        self._stop_at_end = stop_at_end
        self._output = Output(output_fd) if output_fd >= 0 and stop_at_end else None
        #: The provider of somebody else's that is run, if any.
        self.provider = None if config.provider is None else look_at(config.provider)
        #: The consumer of somebody else's in C that is run, if any.
        self.raw_consumer = (
            look_at(config.consumer, "consumer") if config.has_raw_consumer else None
        )
        self.listener_address: str | None = None  #: where a ``tcp:`` source listens, once set up
        self._setup = SetupFaults(config.plan, config.seed)
        self.processes = Processes(self._setup, brings_code=config.brings_code)
        self.processes.place_of = self._place_of
        self._keeper: Worker | None = None  # calls somebody else's provider for us
        self._keeper_is_lost = False  # it did not come back from a call
        self._being_scrubbed: int | None = None  # by the keeper, at this moment
        self._memory: RunMemory | None = None
        self._queues: list[Queue] = []
        self._reconcilers: list[Reconciler] = []
        self._observers: list[Observer] = []  # one a queue, where consumers write their rings
        self._interrupted: str | None = None
        self._stack = contextlib.ExitStack()
        self._notes = list(config.roundings)
        self._capture: dict[str, Any] | None = None  # what became of the frames of the traffic
        if self.provider is not None:
            self._notes.append(f"the provider is {self.provider.name}, from {self.provider.given}")
        if self.raw_consumer is not None:
            self._notes.append(
                f"the consumer is {self.raw_consumer.name}, from {self.raw_consumer.given}"
            )
        self._extra_problems: list[str] = []
        self._scrubs = [[0, 0] for _ in range(config.queues)]
        self._scrubbing: set[int] = set()  # queues whose living user has to take note of a scrub
        self._stalled = False
        self._is_judging = False
        self._is_memory_lost = False
        self._need = FRAGMENTS_MAX  # buffers of the largest packet
        self._left_early: list[str] = []  # consumers that nobody had asked to leave, in words
        self._movement = Movement()
        self._dead_since: dict[int, float] = {}  # pid: seconds of traffic
        self._process_faults = ProcessFaults(config.plan, config.seed, config.queues)
        self._series = Series([rule.fault.name for rule in config.plan.rules])
        self._users = [1] * config.queues  # how many users each queue has had
        self._consumers: list[Worker | None] = [None] * config.queues  # None: it was detached
        self._is_over = False  # the traffic, or the session before there was any
        self._replaced: set[int] = set()
        self._netlink: dict[str, Any] = {}
        self._started_at = self._stopped_at = 0.0

    # ---- setting up ------------------------------------------------------------

    def __enter__(self) -> Self:
        hold_descriptors()
        need(OF_RUN + OF_QUEUE * self.config.queues, f"a run of {self.config.queues} queue(s)")
        self._setup.begin()
        self._stack.enter_context(Hidden())
        try:
            self._set_up()
        except RefusedStep:
            self.close()  # there is a report all the same: run() returns it
        except BaseException:
            self.close()
            raise
        self._setup.judge_unwinding()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _set_up(self) -> None:
        removed = sweep()
        if removed:
            self._notes.append(f"removed {len(removed)} shared-memory objects of dead runs")
        arena = self._make_traffic()
        shape = self.config.shape(TCP_FLOWS_MAX if arena is None else arena.flows_max)
        data = None if arena is None else arena.data
        self._memory = RunMemory(
            self._setup.shape(shape),
            self.config.queues,
            data,
            self._setup,
            has_plugin=self.provider is not None,
        )
        self._replays = arena is not None
        if arena is not None:
            self._need = arena.buffers_max
        if arena is None:
            self.config.check_traffic(1)
        else:
            self.config.check_traffic(arena.buffers_max, arena.packets)
        self._control = self._memory.control()
        self._queues = self._memory.views()
        rules = len(self.config.plan.rules)
        self._reconcilers = [Reconciler(queue, rules) for queue in self._queues]
        if self.raw_consumer is not None:
            is_ours = self.provider is None
            self._observers = [Observer(queue, is_ours=is_ours) for queue in self._queues]
        names = [rule.fault.name for rule in self.config.plan.rules]
        self._flight = FlightRecorder(self._queues, names)
        self._watch = Watch(self._queues, self._reconcilers, self._flight)
        self._start_workers()
        self._setup.finish()

    def _make_traffic(self) -> Arena | None:
        source = parse_source(self.config.traffic)
        if isinstance(source, TcpSource):
            self._notes.extend(_never_fire(self.config.plan))
            if self.listener is None:
                self._setup.step("open the listening socket")
                self.listener = listen(source)
            return None
        self._setup.step("lay out the traffic")
        # Python takes its time to start, and so does this; but nothing is started for what may
        # be refused, and of a set-up that fails on purpose each step has its turn.
        if isinstance(source, SyntheticSource) and not (self.provider or self._setup.may_refuse):
            for role, queue in self._roles():
                self.processes.begin(role, queue)
        arena = make_arena(
            source,
            seed=self.config.seed,
            queues=self.config.queues,
            niov_shift=self.config.niov_shift,
        )
        if isinstance(source, PcapSource):
            self._notes.extend(source.notes())
            self._capture = source.account()
        self._fit_to(arena)
        return arena

    def _fit_to(self, arena: Arena) -> None:
        known = len(self.config.roundings)
        self.config = self.config.fitted_to(arena.packets)
        self._notes.extend(self.config.roundings[known:])

    def _start_workers(self) -> None:
        assert self._memory is not None
        self._placed = place(self.config.queues, pin=self.config.pin)
        if self.provider is not None:
            self._create_pools()
        for role, queue in self._roles():
            self._start_worker(role, queue)
        # Now, while they load as well: nothing is to be loaded while there is traffic.
        importlib.import_module("emu.verdict.judgement")
        self.processes.wait_attached()
        self._memory.close_kernel_side()
        if self.listener is not None:
            host, port = self.listener.getsockname()[:2]
            self.listener_address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            self.listener.close()  # the NIC process has it now

    def _roles(self) -> list[tuple[str, int | None]]:
        """Role and queue of each worker, in the order in which they are started."""
        consumers = [("consumer", queue) for queue in range(self.config.queues)]
        return [("provider", None), ("nic", None), *consumers]

    def _create_pools(self) -> None:
        """Let the keeper put the first page pools in charge.

        Raises:
            EnvironmentProblem: The provider refused, or did not come back.
        """
        self._start_worker("keeper", None)
        self.processes.wait_attached()
        for queue in self._queues:
            self._setup.step(f"create the page pool of queue {queue.index}")
            answer = self._ask_keeper("init", queue.index)
            if answer is None:
                why = [*(worker.death() for worker in self.processes.deaths), *self._extra_problems]
                raise EnvironmentProblem(f"provider: {why[0]}")
            if answer.number:
                said = os.strerror(-answer.number) if answer.number > -4096 else answer.number
                raise EnvironmentProblem(f"provider: init() of queue {queue.index}: {said}")

    def _start_worker(self, role: str, queue: int | None) -> None:
        assert self._memory is not None
        shape = self._memory.shape_for(role)
        extra: dict[str, int] = {}
        if role == "nic" and self.listener is not None:
            extra["listen"] = self.listener.fileno()
        if queue == 0 and self._output_fd >= 0:
            extra["output"] = self._output_fd
        queues = range(self.config.queues) if queue is None else [queue]
        worker = self.processes.start(
            role,
            queue,
            {
                "shape": asdict(shape),
                "cpu": self._placed.get((role, queue)),
                "provider": self._library_of(role),
                **self._role_setup(role, queue),
            },
            self._memory.shared_for(role),
            extra,
            [self._memory.queue_for(role, number) for number in queues],
        )
        if queue is not None:
            self._consumers[queue] = worker
        elif role == "keeper":
            self._keeper = worker

    def _library_of(self, role: str) -> str | None:
        """The provider's library that a process opens; a consumer never does."""
        return None if role == "consumer" or self.provider is None else self.provider.path

    def _role_setup(self, role: str, queue: int | None) -> dict[str, Any]:
        if role == "keeper":
            return {}
        if role == "nic":
            return nic_setup(self.config)
        if queue is None:
            return provider_setup(self.config, self.run_dir)
        return consumer_setup(
            self.config,
            queue,
            position=self._queues[queue].consumed(),
            stop_at_end=0,  # the NIC's account says it: a completion may be lost with its reader
            library=None if self.raw_consumer is None else self.raw_consumer.path,
        )

    # ---- watching ----------------------------------------------------------------

    def _reconcile(self) -> None:
        for queue, reconciler in zip(self._queues, self._reconcilers, strict=True):
            if queue.index in self._scrubbing and queue.scrub_seen() is not None:
                self._scrubbing.remove(queue.index)
            if queue.index != self._being_scrubbed:
                self._observe(queue.index)
                reconciler.step()
        self._watch.look()

    def _observe(self, queue: int) -> None:
        """Say what entries meant whose writer does not: before they are reconciled."""
        if self._observers:
            self._observers[queue].step()

    def _observed_scrub(self, queue: int) -> contextlib.AbstractContextManager[None]:
        return self._observers[queue].scrub() if self._observers else contextlib.nullcontext()

    def _set_state(self, state: RunState) -> None:
        self._flight.note(EventKind.STATE, f"state {state.name}")
        self._control.set_state(state)

    def _notice_deaths(self) -> None:
        """Keep who died and when; ends that a fault or ``respawn`` allows are not among them."""
        self._notice_lost_memory()
        for worker in self._deaths:
            if worker.pid not in self._dead_since:
                self._dead_since[worker.pid] = self._now_ms / 1000
                self._watch.found(Noticed("death", worker.queue, worker.death()))

    def _notice_lost_memory(self) -> None:
        """What somebody took away under us (SIGBUS) is a finding, and the end of the run."""
        hurt = self._memory.hurt() if self._memory is not None else []
        if hurt and not self._is_memory_lost:
            self._is_memory_lost = True
            self._interrupted = self._interrupted or "memory lost"
            self._problem(
                f"memory: {', '.join(hurt)} was taken away while the run was on (SIGBUS in the "
                "control process)"
            )

    def _problem(self, text: str) -> None:
        """Something took too long."""
        self._extra_problems.append(text)
        with contextlib.suppress(AttributeError):  # there is nothing to watch yet
            self._watch.found(Noticed("timeout", None, text))

    def _act_process_faults(self) -> None:
        fired = list(self._process_faults.fired)
        self._process_faults.act(self, self._now_ms)
        if fired == self._process_faults.fired:
            return
        for rule, (before, after) in enumerate(zip(fired, self._process_faults.fired, strict=True)):
            if after > before:
                name = self.config.plan.rules[rule].fault.name
                self._flight.note(
                    EventKind.PROCESS_FAULT,
                    f"fault: {name} (rule {rule + 1}) at {self._now_ms:.1f} ms of traffic",
                )

    def interrupt(self, why: str = "interrupted") -> None:
        """End the run early, in order; callable from a signal handler."""
        self._interrupted = why

    @property
    def pids(self) -> dict[str, int]:
        """Process label: pid."""
        return self.processes.pids

    def sample(self) -> Sample:
        """Read the live counters."""
        rules = len(self.config.plan.rules)
        end = self._stopped_at or time.monotonic()
        return Sample(
            elapsed_s=end - self._started_at if self._started_at else 0.0,
            queues=tuple(QueueSample.of(queue, rules) for queue in self._queues),
            cpu_s={worker.label: worker.sample_cpu() for worker in self.processes.workers},
            process_faults=tuple(self._process_faults.fired),
            findings=tuple(self._watch.findings) if self._queues else (),
        )

    def _end_of_traffic(self, progress: Progress) -> str | None:
        """Why the traffic is over, None while it is not."""
        if self._deaths:
            return "died"
        if self._interrupted is not None:
            return self._interrupted
        if not self.processes.live("consumer") or self._all_ended():
            return "finished"
        if self._control.nic_ack >= RunState.QUIESCE:
            return "packets"
        limit = self.config.duration_s
        if limit is not None and time.monotonic() - self._started_at >= limit:
            return "duration"
        if progress.is_stalled():
            self._stalled = True
            self._watch.found(Noticed("progress", None, "progress: nothing moves any more"))
            return "stalled"
        return None

    def _note_leaving(self, worker: Worker) -> None:
        """A consumer ended in order: had it any reason to?"""
        if worker.exit_code != 0 or self._stop_at_end or self._process_faults.expected(worker):
            return
        assert worker.queue is not None
        counters = self._queues[worker.queue].counters(CounterGroup.CONSUMER)
        if not self._replays and counters["ends"]:
            return  # it has read the end of what was sent
        text = (
            f"{worker.label} left by itself after {self._now_ms / 1000:.2f} s, before it was "
            f"asked to; it had taken {counters['fragments']} fragments"
        )
        self._left_early.append(text)
        self._watch.found(Noticed("substance", worker.queue, f"substance: {text}"))

    def _all_ended(self) -> bool:
        """Have as many connections ended as were waited for, and was all that came read?"""
        if not self._stop_at_end:
            return False
        ends = sum(queue.stream_ends() for queue in self._queues)
        return ends >= self._stop_at_end and not any(
            queue.places().in_flight for queue in self._queues
        )

    def run(
        self, on_sample: Callable[[Sample], None] | None = None, sample_every_s: float = 0.25
    ) -> Report:
        """Run to the end and judge.

        Args:
            on_sample: Called with live counters about every ``sample_every_s`` seconds, and once
                more when all is over.

        Raises:
            StateError: It has run before, or is closed.
        """
        of_caller: list[BaseException] = []  # what ``on_sample`` raised is no affair of ours

        def show(sample: Sample) -> None:
            if on_sample is not None:
                try:
                    on_sample(sample)
                except BaseException as error:
                    of_caller.append(error)
                    raise

        try:
            return self._run(show, sample_every_s)
        except StateError:
            raise
        except Exception as error:
            if error in of_caller or self._is_judging:
                raise
            return self._unjudged(error)

    def _unjudged(self, error: Exception) -> Report:
        """The run cannot go on: end it, and say so in a report like any other."""
        with contextlib.suppress(Exception):
            self._abort()
        self.processes.kill_all()
        self._is_over = True
        from emu.verdict.judgement import unjudged

        return unjudged(self._finished("failed"), error, "the run could not go on")

    def _run(self, show: Callable[[Sample], None], sample_every_s: float) -> Report:
        if self._started_at or (self._is_over and self._setup.refused is None):
            raise StateError("run: the session is over; make a new one")
        if self._setup.refused is not None:
            return self._judged(SETUP_FAILED)
        self._started_at = time.monotonic()
        self._flight.traffic_ns = round(self._started_at * 1e9)
        progress = Progress(
            self._queues,
            config=self.config,
            processes=_Service(self),
            stall_s=self._stall_s,
            started_at=self._started_at,
            need=self._need,
        )
        next_sample = self._started_at + sample_every_s
        self._set_state(RunState.TRAFFIC)
        importlib.import_module(
            "emu.verdict.judgement"
        )  # now, so that the end needs not wait for it
        while True:
            self.processes.wait_event(self._tick_s)
            self.processes.reap()
            for worker in self.processes.take_ended():
                self._flight.note(EventKind.END, _end_of(worker), worker.queue)
                if worker.role == "consumer":
                    self._note_leaving(worker)
                    self._user_is_gone(worker)
            self.processes.look_who_joined()
            self._act_process_faults()
            self._reconcile()
            self._notice_deaths()
            progress.look()
            ended = self._end_of_traffic(progress)
            if ended is not None and not (ended in _MAY_WAIT and progress.is_undecided()):
                break
            now = time.monotonic()
            self._series.look(now - self._started_at, self._queues)
            if now >= next_sample:
                next_sample = now + sample_every_s
                show(self.sample())
        self._movement = progress.movement()
        self._shut_down()
        self._series.look(time.monotonic() - self._started_at, self._queues, is_last=True)
        show(self.sample())
        return self._judged(ended)

    def _judged(self, ended: str) -> Report:
        from emu.verdict.judgement import judge

        finished = self._finished(ended)
        self._is_judging = True
        return judge(finished)

    # ---- shutting down -----------------------------------------------------------

    @property
    def _now_ms(self) -> float:
        return (time.monotonic() - self._started_at) * 1000

    @property
    def _deaths(self) -> list[Worker]:
        """Ends that nobody wanted."""
        expected = self._process_faults.expected
        return [worker for worker in self.processes.deaths if not expected(worker)]

    @property
    def _kernel_side_died(self) -> bool:
        return self._keeper_is_lost or any(worker.role != "consumer" for worker in self._deaths)

    def _place_of(self, worker: Worker) -> str:
        """Where a process is in somebody else's provider, in words."""
        if self.provider is None or worker.role == "consumer":
            return ""
        for queue in self._queues:
            call = queue.plugin_call(Caller[worker.role.upper()])
            if call is not PluginCall.NONE:
                return f" in {call.name.lower()}() of queue {queue.index}"
        return ""

    def _stuck_in_plugin(self) -> str:
        """Which processes are in somebody else's provider now, as the end of a sentence."""
        found = [
            f"{worker.label} is{place}"
            for worker in self.processes.live()
            if (place := self._place_of(worker))
        ]
        return f" ({', '.join(found)})" if found else ""

    def _ask_keeper(self, what: str, queue: int) -> Word | None:
        """Let the keeper call somebody else's provider; None if it did not come back from there.

        What it did instead is among the deaths or among the problems.
        """
        keeper = self._keeper
        assert keeper is not None
        deadline = time.monotonic() + CALL_TIMEOUT_S
        keeper.answers.clear()
        with contextlib.suppress(OSError):  # it is gone: noticed at once
            keeper.channel.send({"do": what, "queue": queue})
        while not keeper.answers:
            self.processes.wait_event(TICK_S, keeper)
            if self._started_at:
                self._process_faults.resume(self._now_ms)
            self.processes.reap()
            if self._reconcilers:
                self._reconcile()
            if keeper.answers:
                break
            if keeper.exit_code is not None:
                return None
            if time.monotonic() > deadline:
                self._problem(f"{what}() of queue {queue} took longer than {CALL_TIMEOUT_S:.0f} s")
                self._keeper_is_lost = True
                self.processes.kill(keeper)
                return None
        return keeper.answers.popleft()

    def _take_back(self, queue: int) -> tuple[int, int]:
        """Scrub, or have it done; references taken back and buffers that came home by it."""
        if self._keeper is None:
            return self._queues[queue].scrub()
        if self._keeper_is_lost or self._keeper.exit_code is not None:
            return 0, 0
        # What it has taken and not yet counted would look like nobody's doing: see reconcile.h.
        self._being_scrubbed = queue
        answer = self._ask_keeper("scrub", queue)
        self._being_scrubbed = None
        if answer is None:
            return 0, 0
        if not 0 <= answer.number < 2**48:
            self._problem(f"scrub() of queue {queue} says that it took {answer.number} references")
            return 0, answer.more
        return answer.number, answer.more

    def _scrub(self, queue: int) -> None:
        """The user of a queue is gone: take its references back."""
        with self._observed_scrub(queue):
            references, buffers = self._take_back(queue)
        self._scrubs[queue][0] += references
        self._scrubs[queue][1] += buffers
        self._flight.note(
            EventKind.SCRUB,
            f"scrubbed: {references} user references taken back, {buffers} buffers came home",
            queue,
        )

    def _user_is_gone(self, worker: Worker) -> None:
        """Scrub; and if the run is to survive it, let a new consumer take over."""
        assert worker.queue is not None
        on_purpose = self._process_faults.expected(worker)
        is_survived = on_purpose or (worker.was_killed and self.config.respawn)
        if is_survived and worker in self.processes.deaths:
            self.processes.deaths.remove(worker)
        if worker is not self._consumers[worker.queue]:
            return  # detached before its end was noticed: the queue is another one's, or nobody's
        if not is_survived:
            self._scrub(worker.queue)
            return
        references, buffers = self.detach_consumer(worker.queue)
        if not on_purpose:
            self._notes.append(
                f"{worker.death()} after {time.monotonic() - self._started_at:.2f} s: "
                f"{references} user references scrubbed, {buffers} buffers came home by it"
            )
        self.attach_consumer(worker.queue)

    def stop_consumer(self, queue: int) -> None:
        """Ask a queue's consumer to read what is left and to leave."""
        self._queues[queue].stop_consumer()

    def _is_on(self, operation: str, queue: int) -> bool:
        """Is there traffic, and may something be done to a queue?

        Raises:
            ConfigError: There is no such queue.
            StateError: There was no traffic yet.
        """
        last = self.config.queues - 1
        is_int = isinstance(queue, int) and not isinstance(queue, bool)
        if not (is_int and 0 <= queue <= last):
            allowed = f"it must be 0 to {last}" if last else "it must be 0: the run has one queue"
            raise ConfigError.of("queue", queue, allowed)
        if not (self._started_at or self._is_over):
            raise StateError(f"{operation}: the run has not begun; call it while run() is at work")
        return not self._is_over

    def detach_consumer(self, queue: int) -> tuple[int, int]:
        """End a queue's use: kill its consumer if it lives, stop delivery, scrub.

        To be called by whom :meth:`run` calls. Does nothing when the traffic is over already.

        Returns:
            User references taken back, and buffers that came home by it.

        Raises:
            ConfigError: There is no such queue.
            StateError: It is detached already, or the run has not begun.
            EnvironmentProblem: NIC or provider did not follow.
        """
        is_on = self._is_on("detach_consumer", queue)
        if self._consumers[queue] is None:
            raise StateError(f"detach_consumer: queue {queue} has no consumer; attach one before")
        if not is_on:
            return 0, 0
        self._consumers[queue] = None
        for worker in self.processes.live("consumer"):
            if worker.queue == queue:
                self._flight.note(EventKind.KILL, f"kills the {worker.label}", queue)
                self.processes.kill(worker)
        self._replaced.add(queue)
        self._change_user(queue, 0)
        if self._output is not None and queue == 0:
            self._output.note_user_gone(self._queues[0].stream().size)
        self._claim(queue)
        before = tuple(self._scrubs[queue])
        self._scrub(queue)
        if self._observers:
            self._observers[queue].note_user_gone()
        after = self._scrubs[queue]
        return after[0] - before[0], after[1] - before[1]

    def _claim(self, queue: int) -> None:
        """The user is gone and nobody reads its ring: account for what it never wrote."""
        self._scrubbing.discard(queue)
        self._observe(queue)
        self._queues[queue].claim()
        self._reconcilers[queue].step()

    def scrub_living(self, queue: int, rule: int) -> bool:
        """Scrub a queue whose user lives, on behalf of a rule of the plan.

        Returns:
            False if the user has not taken note of an earlier one yet.
        """
        if queue in self._scrubbing:
            return False
        view = self._queues[queue]
        view.scrub_begin(rule)
        with self._observed_scrub(queue):
            self._scrub(queue)
            quiet = self._wait_for(
                f"the NIC's burst on queue {queue}", view.nic_is_quiet, ACK_TIMEOUT_S
            )
        view.scrub_end()
        self._scrubbing.add(queue)
        return quiet

    def attach_consumer(self, queue: int) -> None:
        """Let a new consumer process take over a queue without one, while the run goes on.

        It is handed descriptors of what it may map, and finds both rings empty.
        Does nothing when the traffic is over already.

        Raises:
            ConfigError: There is no such queue.
            StateError: The queue has a consumer, which may have ended; or the run has not begun.
            EnvironmentProblem: NIC or provider did not follow.
        """
        is_on = self._is_on("attach_consumer", queue)
        if self._consumers[queue] is not None:
            raise StateError(f"attach_consumer: queue {queue} has a consumer; detach it before")
        if not is_on:
            return
        self._users[queue] += 1
        self._change_user(queue, self._users[queue])
        if self._queues[queue].user_is(self._users[queue]):
            self._reconcile()
            self._reconcilers[queue].note_new_user()
            if self._observers:
                self._observers[queue].note_new_user()
            self._start_worker("consumer", queue)

    def restart_queue(self, queue: int) -> bool:
        """Give a queue a new page pool while the run goes on; the old one lingers.

        Returns:
            False when there was none to be had: every slot holds a pool that waits for its
            buffers, the provider is gone, or the traffic is over.

        Raises:
            ConfigError: There is no such queue.
            StateError: The run has not begun.
        """
        if not self._is_on("restart_queue", queue):
            return False
        view = self._queues[queue]
        view.restart()
        return (
            self._wait_for(
                f"the restart of queue {queue}",
                lambda: view.restarted() is not None,
                ACK_TIMEOUT_S,
            )
            and view.restarted() is True
        )

    def add_area(self, queue: int) -> bool:
        """Add the next of a queue's areas while the run goes on.

        Returns:
            False when all are there, a kernel-side process is gone, or the traffic is over.

        Raises:
            ConfigError: There is no such queue.
            StateError: The run has not begun.
        """
        if not self._is_on("add_area", queue):
            return False
        view = self._queues[queue]
        if view.areas == self.config.area_plan.count:
            return False
        view.add_area()
        return (
            self._wait_for(
                f"area {view.areas} of queue {queue}",
                lambda: view.area_added() or self._control.nic_ack >= RunState.QUIESCE,
                ACK_TIMEOUT_S,
            )
            and view.area_added()
        )

    def _change_user(self, queue: int, user: int) -> None:
        self._flight.note(EventKind.USER_CHANGE, f"wants user {user or 'nobody'}", queue)
        self._queues[queue].set_user(user)
        if not self._wait_for(
            f"the change of user of queue {queue}",
            lambda: self._queues[queue].user_is(user) or self._control.nic_ack >= RunState.QUIESCE,
            ACK_TIMEOUT_S,
        ):
            raise EnvironmentProblem(f"queue {queue}: NIC and provider did not follow in time")

    def _wait_for(self, what: str, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for an acknowledgement; False when a kernel-side process died or time ran out."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            seq = self._control.prepare()
            if reached():
                return True
            self._control.sleep(seq, 0.02)
            self._process_faults.resume(self._now_ms)
            self.processes.reap()
            self._reconcile()
            if self._kernel_side_died:
                return False
            if time.monotonic() > deadline:
                where = self._stuck_in_plugin()
                self._problem(f"{what} took longer than {timeout_s:.0f} s{where}")
                return False
        return True

    def _consumers_leave(self) -> None:
        for queue in self._queues:
            queue.stop_consumer()
        began = time.monotonic()
        seen: dict[int, tuple[object, float]] = {}  # queue: how far its consumer was, and when
        while self.processes.live("consumer"):
            self.processes.wait_event(TICK_S)
            self.processes.reap()
            self._reconcile()
            self._notice_deaths()
            now = time.monotonic()
            for worker in self.processes.live("consumer"):
                assert worker.queue is not None
                far = self._how_far(worker)
                if seen.setdefault(worker.queue, (far, now))[0] != far:
                    seen[worker.queue] = far, now
                waits = now - seen[worker.queue][1] > CONSUMER_STILL_S
                if waits or now - began > CONSUMER_LEAVE_S:
                    self._problem(
                        f"{worker.label} did not leave within {now - began:.0f} s; killed"
                    )
                    self.processes.kill(worker)

    def _how_far(self, worker: Worker) -> object:
        """What changes while a consumer does anything: one that hangs is not waited for long."""
        assert worker.queue is not None
        queue = self._queues[worker.queue]
        fragments = queue.counters(CounterGroup.CONSUMER)["fragments"]
        return queue.places().in_flight, queue.consumed(), fragments, worker.sample_cpu()

    def _shut_down(self) -> None:
        """Carry the run through its states, as far as the dead let it go."""
        self._is_over = True
        self._process_faults.rest()
        if self._kernel_side_died:
            self._abort()
            return
        self._set_state(RunState.QUIESCE)
        quiet = self._wait_for(
            "the NIC's quiesce", lambda: self._control.nic_ack >= RunState.QUIESCE, ACK_TIMEOUT_S
        )
        self._stopped_at = time.monotonic()
        if quiet:
            self._consumers_leave()
            quiet = self._drain()
        if not quiet or self._kernel_side_died:
            self._abort()
            return
        self.processes.may_leave = True
        if self._keeper is not None:
            with contextlib.suppress(OSError):
                self._keeper.channel.send({"do": "exit"})
        self._set_state(RunState.EXIT)
        for worker in self.processes.wait_exit(ACK_TIMEOUT_S):
            self._problem(f"{worker.label} did not exit; killed")

    def _drain(self) -> bool:
        inflight = [
            queue.buffers - queue.counters(CounterGroup.PROVIDER)["free_count"]
            for queue in self._queues
        ]
        self._netlink = dict(netlink.dumps(inflight, self.config.rx_buf_len))
        self._set_state(RunState.DRAIN)
        for queue in self._queues:
            self._scrub(queue.index)
        if self._kernel_side_died:  # the keeper, in a scrub
            return False
        if not self._wait_for(
            "the drain",
            lambda: min(self._control.nic_ack, self._control.provider_ack) >= RunState.DRAIN,
            ACK_TIMEOUT_S,
        ):
            return False
        self._set_state(RunState.DESTROY)
        done = self._wait_for(
            "the teardown", lambda: self._control.provider_ack >= RunState.DESTROY, ACK_TIMEOUT_S
        )
        for queue in self._queues:
            self._claim(queue.index)
        return done

    def _abort(self) -> None:
        """A process that owns buffers is dead: nobody is waited for any more."""
        self._stopped_at = self._stopped_at or time.monotonic()
        self._notice_deaths()
        self._flight.note(EventKind.KILL, "kills every process")
        self._control.abort()
        self.processes.kill_all()
        self._reconcile()

    def _finished(self, ended: str) -> FinishedRun:
        """All that the judgement rests on, once every process has ended."""
        from emu.verdict.explain import Death
        from emu.verdict.judgement import FinishedRun

        was_set_up = self._setup.refused is None
        if was_set_up:
            self._notice_deaths()
        return FinishedRun(
            config=self.config,
            run_dir=self.run_dir,
            ended=ended,
            elapsed_s=self._stopped_at - self._started_at,
            queues=tuple(self._queues),
            reconcilers=tuple(self._reconcilers),
            observers=tuple(self._observers),
            workers=tuple(self.processes.workers),
            deaths=tuple(
                Death(
                    worker.label,
                    worker.death(),
                    worker.queue,
                    worker.role != "consumer",
                    self._dead_since.get(worker.pid, 0.0),
                    worker.traceback is not None,
                )
                for worker in self._deaths
            ),
            timeouts=tuple(self._extra_problems),
            scribbles=tuple(
                f"{worker.label} wrote {worker.nonsense} into its control channel"
                for worker in self.processes.workers
                if worker.nonsense is not None
            ),
            stalled=self._stalled,
            movement=self._movement,
            left_early=tuple(self._left_early),
            replaced=frozenset(self._replaced),
            scrubs=tuple((references, buffers) for references, buffers in self._scrubs),
            process_faults=self._process_faults,
            series=self._series.as_dict(),
            setup=self._setup,
            watch=self._watch if was_set_up else None,
            netlink=self._netlink,
            capture=self._capture,
            output=self._output,
            connections=self._stop_at_end,
            started_at=self._started_at or None,
            keeps_flight=self._keeps_flight,
            notes=(
                *self._notes,
                *(
                    f"{worker.label} left {worker.swept} processes that it had started; they were "
                    "ended"
                    for worker in self.processes.workers
                    if worker.swept
                ),
            ),
        )

    def close(self) -> None:
        """End every process, free every descriptor and mapping; safe to call twice."""
        self._is_over = True
        with self._stack:  # whatever happens here: nobody is to stay hidden
            self._close()

    def _close(self) -> None:
        self.processes.close()
        with contextlib.suppress(AttributeError):  # they were never set up
            self._flight.close()
            self._watch.close()
        self._reconcilers = []
        self._observers = []
        self._queues = []  # the last that holds the mappings: they go with it
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        with contextlib.suppress(AttributeError):  # it was never set up
            del self._control
        if self.listener is not None:
            self.listener.close()


class _Service:
    """Who serves a queue at the moment, as :class:`emu.verdict.progress.Progress` asks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def at_work(self, role: str, queue: int) -> Worker | None:
        """Who serves a queue in a role, has attached and was not asked to leave; or None."""
        processes, process_faults = self._session.processes, self._session._process_faults
        for worker in processes.live(role):
            if worker.queue in (None, queue) and processes.has_joined(worker):
                return None if process_faults.expected(worker) else worker
        return None

    def is_stopped_on_purpose(self) -> bool:
        """Does a fault have a process stopped right now?"""
        return self._session._process_faults.disturbs

    def fired(self, queue: int) -> list[int]:
        """How often each rule of the plan did on a queue, so far."""
        session = self._session
        fired = session._queues[queue].injected(len(session.config.plan.rules))
        for rule, victim, _ms in session._process_faults.journal:
            fired[rule] += victim in (None, queue)
        return fired


def _never_fire(plan: Plan) -> list[str]:
    """A note about the rules that a ``tcp:`` source leaves without anything to do."""
    names = dict.fromkeys(rule.fault.name for rule in plan.rules if rule.fault.actor is Actor.NIC)
    if not names:
        return []
    return [
        f"{', '.join(names)}: not injected: NIC faults are done to replayed packets, and a "
        "tcp: source has none (a connection would notice what it lost)"
    ]


def _end_of(worker: Worker) -> str:
    """How a process ended, in words."""
    return f"{worker.label} ended in order" if worker.exit_code == 0 else worker.death()


#: Signals that end a run in order, and what its report says then.
_SIGNALS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}


@contextlib.contextmanager
def interruptible(session: Session) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the session in order; a second one ends it at once."""

    def handle(number: signal.Signals) -> None:
        if session._interrupted is not None:
            raise KeyboardInterrupt
        session.interrupt(_SIGNALS[number])

    with ended_by_signals(handle):
        yield


def run(
    config: RunConfig,
    *,
    run_dir: Path | None = None,
    on_sample: Callable[[Sample], None] | None = None,
) -> Report:
    """Run a configuration to its end and return the judged report.

    Raises:
        ConfigError: The configuration cannot be.
        EnvironmentProblem: The machine cannot give what the run needs.
    """
    with Session(config, run_dir=run_dir) as session:
        return session.run(on_sample)
