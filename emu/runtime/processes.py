"""The worker processes of a run: started, handed their memory, watched, ended.

A death is noticed through the process's pidfd, so at once. What a worker has to
say (that it has attached, why it ends) it says over its control channel. There
it is a word and no more: a consumer that says nonsense is heard no longer.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emu.core import core_path
from emu.errors import EnvironmentProblem
from emu.host.proc import cpu_ticks
from emu.runtime import fork_server
from emu.runtime.channel import Channel, Event, NonsenseError, Word
from emu.runtime.fork_server import ForkServer, Process
from emu.runtime.memory import Handover
from emu.runtime.reaper import parent_of
from emu.runtime.setup_steps import SetupSteps

ATTACH_TIMEOUT_S = 60.0  #: for a process of ours to start on a busy machine
LOAD_TIMEOUT_S = 30.0  #: for a user's module to be imported, from when that begins
REAP_TIMEOUT_S = 10.0  #: for a consumer's reaper to end what is below it
WORDS_AT_A_TIME = 32  #: of one worker, before it is somebody else's turn
MISTAKES_MAX = 16  #: of one user that are kept
TELL_AFTER_S = 3.0  #: seconds of waiting for an import, after which the user is told
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"zcrx-emu: {line}", file=sys.stderr, flush=True)


def _label(role: str, queue: int | None) -> str:
    return role if queue is None else f"{role} of queue {queue}"


@dataclass(frozen=True, slots=True)
class Gone:
    """What stays of a process: a run that replaces its consumers has thousands of them."""

    pid: int


@dataclass(slots=True)
class Worker:
    """One process and what is known of it."""

    role: str  #: nic, provider, keeper or consumer
    queue: int | None
    process: Process | Gone
    channel: Channel
    pidfd: int  #: -1 once it has ended
    child: int | None = None  #: the consumer itself, where ``process`` is its reaper
    swept: int = 0  #: processes that its user's code had left
    is_hidden: bool = False  #: it may be handed what no consumer may reach
    loading: str | None = None  #: what it imports, once it has begun to
    loading_since: float = 0.0
    has_attached: bool = False  #: by its own word
    mistakes: list[Word] = field(default_factory=list)  #: of its user, which it told of
    is_poisoned: bool = False  #: touches of what its user gave back are noticed
    kept: Word | None = None  #: what its user never gave back, by its own word
    nonsense: str | None = None  #: what it said that is no word
    answers: deque[Word] = field(default_factory=deque)  #: that nobody has taken yet
    place: str = ""  #: where in somebody else's code it ended, in words
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None  #: when that was noticed
    exit_code: int | None = None  #: negative: the signal that killed it; None: it lives
    cpu_s: float = 0.0
    message: str | None = None  #: its own word on why it ended
    traceback: str | None = None

    @property
    def label(self) -> str:
        """Its name in messages, e.g. ``consumer of queue 0``."""
        return _label(self.role, self.queue)

    @property
    def pid(self) -> int:
        """Of the process that its code runs in: a consumer's is the child of its reaper."""
        return self.child or self.process.pid

    @property
    def was_killed(self) -> bool:
        """Did a signal end it?"""
        return self.exit_code is not None and self.exit_code < 0

    def sample_cpu(self) -> float:
        """CPU seconds so far; the last value known once it is gone."""
        if self.exit_code is None:
            with contextlib.suppress(OSError, IndexError):
                self.cpu_s = cpu_ticks(self.pid) / _CLOCK_TICKS
        return self.cpu_s

    def release(self) -> None:
        """Give back what it was talked to and watched by: a long run may have had thousands."""
        self.channel.close()
        self.process = Gone(self.process.pid)
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def death(self) -> str:
        """How it ended, in words."""
        if self.message:
            return self.message
        if self.exit_code is not None and self.exit_code < 0:
            try:
                name = signal.Signals(-self.exit_code).name
            except ValueError:
                name = f"signal {-self.exit_code}"
            return f"{self.label} was killed by {name}{self.place}"
        return f"{self.label} ended with exit code {self.exit_code}{self.place}"


def place(queues: int, *, pin: bool) -> dict[tuple[str, int | None], int]:
    """Which core each process is bound to; those left out run anywhere.

    The NIC has a core for itself and consumers share the others. The provider
    works seldom and in large steps: it runs where there is room.
    """
    cores = sorted(os.sched_getaffinity(0))
    if not pin or len(cores) < 2:
        return {}
    placed: dict[tuple[str, int | None], int] = {("nic", None): cores[0]}
    rest = cores[1:]
    for queue in range(queues):
        placed["consumer", queue] = rest[queue % len(rest)]
    return placed


def worker_environment() -> dict[str, str]:
    """Our environment; and for an editable install, where to find what we run ourselves.

    A checkout installed with ``pip -e`` rebuilds its C core whenever it is imported. The control
    process has done so. Workers that did it too would build over each other, and could end up
    with another core than it has: they are led past the import hook, to the same files.
    """
    environment = {**os.environ}
    hooks = [str(hook._build_path) for hook in sys.meta_path if hasattr(hook, "_build_path")]
    if hooks:
        environment["MESONPY_EDITABLE_SKIP"] = os.pathsep.join(hooks)
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        environment["ZCRX_EMU_CORE"] = core_path()
    return environment


def worker_python(*, brings_code: bool = False) -> tuple[list[str], dict[str, str]]:
    """Return Python for a worker, up to its module, and its environment.

    What loads a checkout's import hook takes as long as all that a worker loads. One that runs
    nobody else's Python does without it, and is told where the only other package is.

    Args:
        brings_code: A user's Python is imported there: it may need whatever is installed.
    """
    environment = worker_environment()
    if brings_code or "MESONPY_EDITABLE_SKIP" not in environment:
        return [sys.executable, "-P"], environment
    import _cffi_backend  # here: it is loaded with the core

    installed = str(Path(_cffi_backend.__file__).parent)
    environment["PYTHONPATH"] += f"{os.pathsep}{installed}"
    return [sys.executable, "-P", "-S"], environment


class Processes:
    """All workers of a run. Close it to end every one of them.

    Args:
        setup: Asked before each step of setting up; it may refuse one.
        brings_code: Consumers import a user's Python.
    """

    def __init__(self, setup: SetupSteps, *, brings_code: bool) -> None:
        self._setup = setup
        self._brings_code = brings_code
        self.workers: list[Worker] = []
        self.deaths: list[Worker] = []  #: those that did not end in order
        self.may_leave = False  #: NIC, provider and keeper are asked to end
        self.place_of: Callable[[Worker], str] = lambda _worker: ""  #: see :attr:`Worker.place`
        self._begun: dict[tuple[str, int | None], Worker] = {}  # and handed nothing as yet
        self._joining: list[Worker] = []
        self._ended: list[Worker] = []
        self._forks: ForkServer | None = None
        self._has_no_forks = False  # there was none to be had
        self._has_begun = False  # the others are hidden: a consumer's code may run
        self._waiting: list[Callable[[], None]] = []  # consumers' memory, to be handed over

    def begin(self, role: str, queue: int | None) -> None:
        """Have loaded meanwhile what a worker needs that is started later."""
        if not self._is_forked(role):
            self._begun[role, queue] = self._spawn(role, queue)

    def _is_forked(self, role: str) -> bool:
        """Whether a server forks it. One that imports a user's Python has a Python of its own."""
        if role == "consumer" and self._brings_code:
            return False
        if self._forks is None and not self._has_no_forks:
            self._forks = fork_server.take(*worker_python())
            self._has_no_forks = self._forks is None
        return self._forks is not None and self._forks.is_usable

    def start(
        self,
        role: str,
        queue: int | None,
        setup: dict[str, Any],
        shared: Handover,
        extra: dict[str, int],
        queues: Sequence[Handover],
    ) -> Worker:
        """Start a worker and hand it its setup and the memory it may map, and nothing else.

        Args:
            role: nic, provider, keeper or consumer.
            queue: The queue it serves, None for all.
            setup: The rest of the setup message.
            shared: Objects of the whole run.
            extra: Other descriptors, by name.
            queues: Objects of each queue that it serves.
        """
        worker = self._begun.pop((role, queue), None)
        if worker is None:
            worker = self._spawn(role, queue)
        else:  # in the order of their start, whoever was begun before
            self.workers.remove(worker)
            self.workers.append(worker)
        message = {
            **setup,
            "names": shared.names,
            "sizes": shared.sizes,
            "extra": list(extra),
            "queue_messages": len(queues),
        }

        def hand_over() -> None:
            self._setup.step(f"hand {worker.label} its memory")
            # A worker that dies meanwhile is noticed by whoever waits for it.
            with contextlib.suppress(OSError):
                worker.channel.send(message, (*shared.fds, *extra.values()))
                for part in queues:
                    worker.channel.send({"names": part.names, "sizes": part.sizes}, part.fds)

        if role == "consumer" and not self._has_begun:
            self._waiting.append(hand_over)
        else:
            hand_over()
        return worker

    def _are_others_hidden(self) -> bool:
        """May a consumer's code run? Not before the others cannot be looked into any more."""
        return all(worker.is_hidden for worker in self.live() if worker.role != "consumer")

    def _hand_over_to_consumers(self) -> None:
        if not self._waiting:
            return  # the keeper alone was started as yet
        deadline = time.monotonic() + ATTACH_TIMEOUT_S
        self.look_who_joined()
        while not self._are_others_hidden():
            self.wait_event(0.1)
            self.reap()
            self._check_joining()  # before those are left out who have ended
            self.look_who_joined()
            if time.monotonic() > deadline:
                raise EnvironmentProblem(
                    f"the processes did not start within {ATTACH_TIMEOUT_S:.0f} s"
                )
        self._has_begun = True
        waiting, self._waiting = self._waiting, []
        for hand_over in waiting:
            hand_over()

    def _spawn(self, role: str, queue: int | None) -> Worker:
        label, step = _label(role, queue), self._setup.step
        with contextlib.ExitStack() as undo:
            step(f"open the channel of {label}")
            step(f"start {label}")
            words = [role, str(os.getpid()), *(() if queue is None else (f"queue={queue}",))]
            is_forked = self._is_forked(role)
            python, environment = worker_python(
                brings_code=self._brings_code and role == "consumer"
            )
            process, channel = fork_server.start(
                self._forks if is_forked else None, python, environment, words
            )
            undo.callback(channel.close)
            undo.callback(process.wait)
            undo.callback(process.terminate if role == "consumer" else process.kill)
            step(f"watch {label}")
            pidfd = os.pidfd_open(process.pid)
            undo.callback(os.close, pidfd)
            worker = Worker(role, queue, process, channel, pidfd)
            undo.pop_all()  # from here on it is close() that ends it
        self.workers.append(worker)
        self._joining.append(worker)
        return worker

    def look_who_joined(self) -> bool:
        """Hear who has attached; True if none is awaited that lives."""
        for worker in list(self._joining):
            self.listen(worker)
            if worker.exit_code is not None or worker.has_attached:
                self._joining.remove(worker)
        return not self._joining

    def has_joined(self, worker: Worker) -> bool:
        """Has it attached, as far as was looked?"""
        return worker not in self._joining

    def listen(self, worker: Worker) -> None:
        """Take note of what a worker says; of nonsense once, and then of nothing more."""
        try:
            for _ in range(WORDS_AT_A_TIME):
                word = worker.channel.hear()
                if word is None:
                    return
                self._note(worker, word)
        except NonsenseError as error:
            worker.nonsense = str(error)

    def _note(self, worker: Worker, word: Word) -> None:
        match word.event:
            case Event.HIDDEN:
                worker.is_hidden = True
            case Event.STARTED if worker.child is None:
                # Whoever says it is believed if it is so.
                if parent_of(word.number) == worker.process.pid:
                    worker.child = word.number
            case Event.SWEPT:
                worker.swept = word.number
            case Event.LOADING:
                worker.loading, worker.loading_since = word.text, time.monotonic()
            case Event.ATTACHED:
                worker.has_attached = True
            case Event.ERROR:
                worker.message, worker.traceback = word.text, word.traceback
            case Event.ANSWER if worker.role == "keeper" and not worker.answers:
                worker.answers.append(word)
            case Event.MISTAKE if len(worker.mistakes) < MISTAKES_MAX:
                worker.mistakes.append(word)
            case Event.POISONED:
                worker.is_poisoned = True
            case Event.KEPT:
                worker.kept = word
            case _:  # nobody asked
                pass

    def wait_attached(self, tell: Callable[[str], None] = _say) -> None:
        """Wait until all that were started have attached.

        Args:
            tell: Called with a line about a wait that is longer than one expects.

        Raises:
            EnvironmentProblem: One died first, or it took too long.
        """
        awaited = list(self._joining)
        self._hand_over_to_consumers()
        for worker in awaited:
            self._setup.step(f"attach {worker.label}")
            self._wait_joined(worker, tell)

    def _wait_joined(self, wanted: Worker, tell: Callable[[str], None]) -> None:
        deadline = time.monotonic() + ATTACH_TIMEOUT_S
        told: set[int] = set()
        while True:
            self.look_who_joined()
            if self.has_joined(wanted):
                return
            self.wait_event(0.1)
            self.reap()
            self._check_joining()
            now = time.monotonic()
            for worker in self._joining:
                if worker.loading is not None and now > worker.loading_since + TELL_AFTER_S:
                    if worker.pid not in told:
                        tell(f"{worker.label} is still importing {worker.loading}")
                    told.add(worker.pid)
            if wanted.loading is None and now > deadline:
                raise EnvironmentProblem(
                    f"{wanted.label}: its process did not start within {ATTACH_TIMEOUT_S:.0f} s"
                )

    def _check_joining(self) -> None:
        """Refuse to wait for who will never attach."""
        for worker in self._joining:
            if worker.nonsense is not None and not worker.has_attached:
                raise EnvironmentProblem(
                    f"{worker.label} wrote into its control channel before it had attached: "
                    f"{worker.nonsense}"
                )
            if worker.exit_code is not None and not worker.has_attached:
                # One that has attached dies in the run, however early: that is for the verdict.
                raise EnvironmentProblem(worker.message or f"{worker.death()} before the run began")
            waited = time.monotonic() - worker.loading_since
            if worker.loading is not None and not worker.has_attached and waited > LOAD_TIMEOUT_S:
                raise EnvironmentProblem(
                    f"{worker.label}: {worker.loading} was not imported within "
                    f"{LOAD_TIMEOUT_S:.0f} s; what takes longer belongs into the function"
                )

    # ---- watching ----------------------------------------------------------------

    def live(self, role: str | None = None) -> list[Worker]:
        """Workers that have not ended, as far as is known."""
        return [w for w in self.workers if w.exit_code is None and role in (None, w.role)]

    @property
    def pids(self) -> dict[str, int]:
        """Label: pid; of those that share a label, the latest."""
        return {worker.label: worker.pid for worker in self.workers}

    def wait_event(self, timeout_s: float, speaker: Worker | None = None) -> None:
        """Wait for the end of any worker, or a word of one; at most ``timeout_s``."""
        poller = select.poll()
        for worker in self.live():
            poller.register(worker.pidfd, select.POLLIN)
        for worker in [*self._joining, *([] if speaker is None else [speaker])]:
            if worker.channel.is_open:
                poller.register(worker.channel, select.POLLIN)
        poller.poll(timeout_s * 1000)

    def reap(self) -> None:
        """Notice who has ended since the last call; ends out of order become deaths."""
        for worker in self.live():
            worker.sample_cpu()
            self.listen(worker)
            process = worker.process
            if not isinstance(process, Gone) and (code := process.poll()) is not None:
                self._note_end(worker, code)
                self._ended.append(worker)
                is_early = worker.role != "consumer" and not self.may_leave
                if worker.exit_code != 0 or is_early:
                    self.deaths.append(worker)

    def take_ended(self) -> list[Worker]:
        """Those that :meth:`reap` found ended and nobody has dealt with yet."""
        ended, self._ended = self._ended, []
        return ended

    def _note_end(self, worker: Worker, exit_code: int) -> None:
        self.listen(worker)
        worker.ended_at = time.monotonic()
        worker.exit_code = exit_code
        worker.place = self.place_of(worker)
        worker.release()

    # ---- ending ------------------------------------------------------------------

    def kill(self, worker: Worker) -> None:
        """End one worker at once; not counted as a death."""
        process = worker.process
        if isinstance(process, Gone):
            return
        worker.sample_cpu()
        self._end(worker)
        try:
            code = process.wait(REAP_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # a reaper that somebody has stopped
            process.kill()
            code = process.wait()
        self._note_end(worker, code)

    @staticmethod
    def _end(worker: Worker) -> None:
        """Begin to end a process; a consumer's reaper takes along what the consumer started."""
        process = worker.process
        if not isinstance(process, Gone):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM if worker.role == "consumer" else signal.SIGKILL)
                process.send_signal(signal.SIGCONT)

    def wait_exit(self, timeout_s: float) -> list[Worker]:
        """Wait until all have ended by themselves; those that had to be killed."""
        deadline = time.monotonic() + timeout_s
        while self.live() and time.monotonic() < deadline:
            self.wait_event(0.05)
            self.reap()
        stubborn = self.live()
        for worker in stubborn:
            self.kill(worker)
        return stubborn

    def kill_all(self) -> None:
        """End every worker at once."""
        for worker in self.live():
            self._end(worker)
        for worker in self.live():
            self.kill(worker)

    def close(self) -> None:
        """End every worker and give all descriptors back."""
        self.kill_all()
        for worker in self.workers:
            worker.release()
        self.workers = []
        if self._forks is not None:
            fork_server.give_back(self._forks)
            self._forks = None
