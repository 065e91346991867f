"""Running the simulation: a search, or one schedule again; what it says becomes values.

The program is ``cext/sim/main.c``: one process, no threads, a record in each line. It is a process
group of its own, so that a Ctrl-C reaches it by us alone, and its answer is then read to the
end: a partial result is one, too.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from emu.compile.records import Record
from emu.errors import ConfigError, EnvironmentProblem
from emu.host.descriptors import OF_BUILD, need
from emu.host.ending import ended_by_signals
from emu.race.scenario import Scenario
from emu.race.script import Script, read_script
from emu.race.sentences import OF_BUFFERS, finding_text, refusal_text, word_text
from faults.near import near_to

#: pct's depth: as many places as the simulation keeps.
DEPTH_MAX = 8
_SEED_MAX = 2**64 - 1
#: Values of records that are no plain numbers.
_FLOATS = {"seconds", "share"}
_FLAGS = {"found", "complete", "interrupted", "repeats", "changed", "shows_again"}
_TEXTS = {"kind", "order", "schedule", "hash"}
#: Those of a finding that become its sentence.
_OF_SENTENCE = {"found", "numbers", "word", "file", "function", "text"}
_NOT_AGAIN = (
    " (its schedule does not show it again: the provider keeps state that outlives an execution)"
)
_FOUND = 1
_WRONG_USE = 2


class Strategy(StrEnum):
    """Who chooses what happens next."""

    RANDOM = "random"
    PCT = "pct"
    EXHAUSTIVE = "exhaustive"


class Memory(StrEnum):
    """Which values a load may see."""

    SC = "sc"
    TSO = "tso"
    C11 = "c11"


#: For ``--list`` and the docs.
STRATEGY_WORDS = {
    Strategy.RANDOM: "who goes on is drawn at each step",
    Strategy.PCT: "priorities that change at depth - 1 places; a bug of that depth has a "
    "guaranteed probability",
    Strategy.EXHAUSTIVE: "every interleaving up to equivalence (DPOR and sleep sets), or all "
    "within a bound of preemptions",
}
MEMORY_WORDS = {
    Memory.SC: "sequentially consistent: a load sees the last store",
    Memory.TSO: "x86: stores wait in a buffer, and reach memory in order",
    Memory.C11: "C11 release/acquire: a load sees any store that nothing forbids (the default)",
}


_Word = TypeVar("_Word", bound=StrEnum)


def find_word(field_name: str, text: str, kind: type[_Word]) -> _Word:
    """Look a strategy or a memory model up.

    Raises:
        ConfigError: There is no such one; the nearest name is offered.
    """
    try:
        return kind(text)
    except ValueError:
        near = near_to(text, map(str, kind), 1)
        hint = f"did you mean {near[0]}? " if near else ""
        known = ", ".join(kind)
        raise ConfigError.of(field_name, text, f"{hint}known are {known}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How to search.

    Attributes:
        strategy: Who chooses.
        memory: Which values loads see.
        seed: u64; of the first execution. Execution i of random and pct has seed + i.
        seconds: Limit, whole seconds; 0 = none.
        schedules: Limit of executions; 0 = none.
        depth: pct's, 1 .. 8.
        bound: Preemptions of an exhaustive search at most; None = no bound, with reduction.
    """

    strategy: Strategy = Strategy.EXHAUSTIVE
    memory: Memory = Memory.C11
    seed: int = 1
    seconds: int = 60
    schedules: int = 0
    depth: int = 3
    bound: int | None = None

    def __post_init__(self) -> None:
        """Refuse what the simulation cannot do."""
        if not 0 <= self.seed <= _SEED_MAX:
            raise ConfigError.of("seed", self.seed, "0 .. 2^64 - 1")
        for name, value in (("time", self.seconds), ("schedules", self.schedules)):
            if not 0 <= value <= 2**53:
                raise ConfigError.of(name, value, "0 (no limit) or more")
        if not 1 <= self.depth <= DEPTH_MAX:
            raise ConfigError.of("depth", self.depth, f"1 .. {DEPTH_MAX}")
        if self.bound is not None and not 0 <= self.bound < 1000:
            raise ConfigError.of("bound", self.bound, "0 .. 999 preemptions")


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """One step of an execution: an access of a shared word, a fence, a sleep or a wake-up."""

    actor: int
    name: str  #: of the actor
    kind: str  #: load, store, exchange, fence, sleep, wake, drain
    order: str
    word: str
    offset: int  #: of the word in shared memory; -1: none
    before: int  #: what was read
    after: int  #: what was written, if changed
    changed: bool
    choice: int  #: which value a load saw: 0 = the newest
    choices: int
    place: int  #: return address in the program, from its start

    @property
    def same_as(self) -> tuple[int, str, str, str]:
        """What makes it the same step in another execution, whatever the values."""
        return self.actor, self.kind, self.word, self.order


@dataclass(frozen=True, slots=True)
class Found:
    """What one execution showed."""

    kind: str
    text: str
    actor: int  #: -1: nobody in particular
    switches: int
    hash: str  #: of the trace; empty when the program died of it
    schedule: str
    steps: tuple[TimelineStep, ...]
    place: int = 0  #: of a plain access in a race: it has no step
    other_place: int = 0  #: of the plain access that it races with
    name: str = ""  #: of the sentence; empty in files of before, and when the program died of it

    @property
    def places(self) -> set[int]:
        """All there are."""
        return {self.place, self.other_place, *(step.place for step in self.steps)}

    @property
    def signature(self) -> tuple[str, str]:
        """Kind and text without its numbers: what makes two findings the same."""
        return self.kind, "".join("N" if c.isdigit() else c for c in self.text)

    @property
    def cause(self) -> tuple[str, str]:
        """What makes findings of different scenarios one mistake, as far as words can tell.

        A buffer that is in two places, or in none, or has references that nobody holds, is what
        one wrong return looks like, in one scenario or another.
        """
        return (self.kind, "where buffers are") if self.name in OF_BUFFERS else self.signature


@dataclass(frozen=True, slots=True)
class Result:
    """What a search came to."""

    search: Search
    schedules: int = 0
    cut: int = 0  #: executions that were ended early: they led to nothing new
    steps: int = 0
    seconds: float = 0.0
    longest: int = 0  #: steps of the longest execution
    complete: bool = False
    interrupted: bool = False
    repeats: bool = True  #: the first execution, done again at the end, came out the same
    share: float = 0.0  #: of an exhaustive search, a guess
    hash: str = ""  #: of the last execution
    found: Found | None = None


@dataclass(slots=True)
class _Answer:
    """What has been read so far."""

    actors: Sequence[str] = ()  #: names
    progress: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] | None = None
    finding: dict[str, Any] | None = None
    steps: list[TimelineStep] = field(default_factory=list)

    def take(self, line: str) -> bool:
        """Take a line; True if it was one of progress."""
        if not line.endswith("\n"):  # a program that was killed may leave half a line
            return False
        record = Record.of(line.removesuffix("\n"))
        match record.event:
            case "progress":
                self.progress = _values(record.values)
            case "end":
                self.end = _values(record.values)
            case "finding":
                self._take_finding(record.values)
            case "step":
                self._take_step(record.values)
        return record.event == "progress"

    def _take_finding(self, said: dict[str, str]) -> None:
        values = _values({key: said[key] for key in said if key not in _OF_SENTENCE})
        text = finding_text(said, self.actors)
        if not values.pop("shows_again"):
            text += _NOT_AGAIN
        self.finding = values | {"name": said["found"], "text": text}

    def _take_step(self, said: dict[str, str]) -> None:
        word = word_text(said.pop("word"))
        values = _values(said)
        self.steps.append(TimelineStep(name=self.actors[values["actor"]], word=word, **values))


def _values(said: dict[str, str]) -> dict[str, Any]:
    return {name: _value(name, text) for name, text in said.items()}


def _value(name: str, text: str) -> Any:
    if name in _TEXTS:
        return text
    if name in _FLAGS:
        return text == "1"
    return float(text) if name in _FLOATS else int(text)


class Runner:
    """Searches and replays with one executable; :meth:`stop` ends what runs, in order."""

    def __init__(self, executable: Path) -> None:
        self.executable = executable
        self.is_stopped = False
        self._process: subprocess.Popen[str] | None = None

    def stop(self) -> None:
        """End a running search; its result is a partial one. For signal handlers."""
        self.is_stopped = True
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """While this lasts, Ctrl-C, SIGTERM and SIGHUP stop a search instead of raising."""
        with ended_by_signals(lambda _number: self.stop()):
            yield

    def search(
        self,
        scenario: Scenario,
        search: Search,
        update: Callable[[Result], None] = lambda _: None,
    ) -> Result:
        """Search one scenario.

        Raises:
            ConfigError: The simulation refuses the scenario.
            EnvironmentProblem: It cannot be run.
        """
        answer = _Answer()
        words = [
            search.strategy,
            search.memory,
            str(search.seed),
            str(search.schedules),
            str(search.seconds),
            str(search.depth),
            "-" if search.bound is None else str(search.bound),
        ]
        for line in self._lines(scenario.text, f"scenario {scenario.name}", words, answer):
            if answer.take(line):
                update(_partial(search, answer))
        return replace(_partial(search, answer), found=_found(answer))

    def replay(
        self, scenario: str, memory: Memory, schedule: str
    ) -> tuple[Found | None, list[TimelineStep]]:
        """Follow a schedule; what it shows, and its steps.

        Raises:
            ConfigError: It does not fit this build.
        """
        answer = _Answer()
        words = ["replay", memory, schedule]
        for line in self._lines(scenario, "scenario", words, answer):
            answer.take(line)
        return _found(answer), answer.steps

    def _lines(
        self, scenario: str, what: str, words: Iterable[str], answer: _Answer
    ) -> Iterator[str]:
        need(OF_BUILD, "a simulation")
        script = read_script(what, scenario)
        answer.actors = [name for name, _ in script.actors]
        command = [str(self.executable), "/dev/stdin", *words]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise EnvironmentProblem(f"simulation: cannot be run ({error.strerror})") from None
        self._process = process
        with process:
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                assert process.stderr is not None
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(script.numbers)
                    process.stdin.close()
                if self.is_stopped:  # the signal came before there was anybody to pass it to
                    self.stop()
                yield from process.stdout
                said = process.stderr.read()
                code = process.wait()
            finally:
                self._process = None
                process.kill()  # nothing to do, unless our caller left us in the middle
        lines = said.strip().splitlines()
        if code == _WRONG_USE:
            raise ConfigError(f"{what}: {_refusal((lines or ['no message'])[-1], script)}")
        if code < 0 and not self.is_stopped:
            answer.finding = answer.finding or {
                "kind": "crash",
                "text": f"the simulation died of signal {-code}",
                "actor": -1,
                "switches": 0,
                "hash": "",
                "schedule": "",
            }
        elif code not in (0, _FOUND) and not self.is_stopped:
            raise EnvironmentProblem(f"simulation: it ended with code {code}: {lines[-1:]}")


def _refusal(line: str, script: Script) -> str:
    """Why a scenario is refused: its shape, its setup, or what the program calls wrong use."""
    record = Record.of(line)
    match record.event:
        case "refused":
            return refusal_text(record.values, script.setup)
        case "setup":
            return f"setup: {finding_text(record.values, ())}"
    return line


def _found(answer: _Answer) -> Found | None:
    if answer.finding is None:
        return None
    return Found(**answer.finding, steps=tuple(answer.steps))


def _partial(search: Search, answer: _Answer) -> Result:
    known = {**answer.progress, **(answer.end or {})}
    known.pop("found", None)
    if answer.end and answer.end["complete"]:
        known["share"] = 1.0
    return Result(search=search, **known)
