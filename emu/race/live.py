"""Real processes: short runs under delays, one after the other, each judged by the audit.

Nothing chooses the order here. The processes dawdle at random points (:mod:`emu.race.delays`),
the set-up makes the racing paths frequent (:mod:`emu.race.setups`), and what comes of it is
counted. A hit is real, but it is not a function of its seed: the machine has its share in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from emu.bugs import Bug, level_for
from emu.compile.provider_file import check_provider
from emu.contract import SEED
from emu.errors import ConfigError, EnvironmentProblem
from emu.race.delays import Dawdled, DelayFile, build_delayed_core
from emu.race.library import SCENARIOS
from emu.race.setups import NOT_LIVE, SETUPS
from emu.runtime.keeper import look_at
from emu.runtime.processes import worker_environment

#: A run that says nothing for so long hangs; each wait within it ends long before.
_SILENCE_S = 90.0
_END_S = 45.0
_LOOK_S = 0.2
_SEED_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Hit:
    """A run with a finding."""

    seed: int
    seconds: float  #: since the first run began
    execution: int  #: how many runs had ended by then, this one too
    kinds: tuple[str, ...]  #: statements of the audit that failed, ``death``, ``timeout``, ``hang``
    problems: tuple[str, ...]  #: one line each
    why: str | None  #: the first of them, explained


@dataclass(slots=True)
class LiveResult:
    """What the runs came to, so far or at the end."""

    scenario: str
    seed: int
    bug: str | None
    provider: str | None = None  #: in the place of ours, as it was given
    seconds: float = 0.0
    executions: int = 0  #: runs that were judged
    hits: int = 0  #: those with a finding
    kinds: Counter[str] = field(default_factory=Counter)  #: runs with a finding of each kind
    first: Hit | None = None
    delivered: int = 0  #: packets
    returned: int = 0  #: RQEs that were judged
    process_faults: int = 0  #: scrubs, kills, stops, restarts
    dawdled: Dawdled = field(default_factory=lambda: Dawdled(0, 0, 0))
    is_partial: bool = False  #: it was interrupted
    kernel: str = SEED  #: the level that is played

    @property
    def hits_per_hour(self) -> float:
        """Runs with a finding, for each hour of running."""
        return self.hits * 3600 / self.seconds if self.seconds else 0.0

    def command(self, seed: int) -> str:
        """What runs it again from a seed on."""
        words = ["zcrx-emu", "race", "--live", "--scenario", self.scenario]
        if self.bug is not None:
            words += ["--bug", self.bug]
        if self.kernel != SCENARIOS[self.scenario].kernel:
            words += ["--kernel", self.kernel]
        if self.provider is not None:
            words += ["--provider", self.provider]
        return shlex.join([*words, "--seed", str(seed)])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            **asdict(self),
            "kinds": dict(self.kinds),
            "hits_per_hour": round(self.hits_per_hour, 1),
            "command": None if self.first is None else self.command(self.first.seed),
        }


class _Stressor:
    """The control process of the runs, with a core of its own."""

    def __init__(
        self,
        result: LiveResult,
        seed: int,
        core: Path | None,
        delays: DelayFile,
        library: str | None,
    ) -> None:
        # What leads workers past an editable install's rebuild leads this process, too.
        environment = {**worker_environment(), **delays.environment}
        if core is not None:
            environment["ZCRX_EMU_CORE"] = str(core)
        words = [result.scenario, str(seed), str(delays.path), str(os.getpid()), result.kernel]
        if library is not None:
            words.append(library)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "emu.race.stress", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0,
        )
        assert self._process.stdout is not None
        self._fd = self._process.stdout.fileno()
        self._unread = b""
        self._heard_at = time.monotonic()

    @property
    def is_silent(self) -> bool:
        """Has it said nothing for too long?"""
        return time.monotonic() - self._heard_at > _SILENCE_S

    def events(self, timeout_s: float) -> list[dict[str, Any]] | None:
        """What it has said since the last call, waiting a while; None: it has ended."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        if not poller.poll(timeout_s * 1000):
            return []
        data = os.read(self._fd, 65536)
        if not data:
            return None
        self._heard_at = time.monotonic()
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def ask_to_end(self) -> None:
        """Let the run that is at work end in order, and no other begin."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def close(self) -> int:
        """End it; its exit code. Its workers die with it."""
        if self._process.poll() is None:
            self._process.kill()
        code = self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


def check_live(scenario: str, seconds: float, seed: int) -> None:
    """Refuse what cannot be run live, before anything is said or built."""
    if scenario in NOT_LIVE:
        raise ConfigError.of(
            "live", scenario, f"{NOT_LIVE[scenario]}; run this scenario without --live"
        )
    if scenario not in SETUPS:
        known = ", ".join(SETUPS)
        reason = (
            "it has no set-up of real processes" if scenario in SCENARIOS else "there is no such"
        )
        raise ConfigError.of("live", scenario, f"{reason}; those that have one are {known}")
    if not seconds > 0:
        raise ConfigError.of("time", seconds, "more than 0 seconds")
    if not 0 <= seed <= _SEED_MAX:
        raise ConfigError.of("seed", seed, f"it must be 0 to {_SEED_MAX}")


class _Live:
    """The runs of one call of :func:`run_live`."""

    def __init__(
        self, result: LiveResult, core: Path | None, delays: DelayFile, library: str | None
    ) -> None:
        self._result = result
        self._library = library
        self._core = core
        self._delays = delays
        self._started_at = time.monotonic()
        self._seed = result.seed
        self._begun: int | None = None  # seed of the run that is at work

    def _now(self) -> None:
        self._result.seconds = time.monotonic() - self._started_at
        self._result.dawdled = self._delays.dawdled()

    def _ended(self, event: dict[str, Any]) -> None:
        result = self._result
        self._now()
        self._seed = (event["seed"] + 1) % (_SEED_MAX + 1)
        self._begun = None
        result.executions += 1
        result.delivered += event.get("delivered", 0)
        result.returned += event.get("returned", 0)
        result.process_faults += event.get("faults", 0)
        if not event["problems"]:
            return
        result.hits += 1
        result.kinds.update(set(event["kinds"]))
        if result.first is None:
            result.first = Hit(
                event["seed"],
                result.seconds,
                result.executions,
                tuple(event["kinds"]),
                tuple(event["problems"]),
                # What to do next is another thing here: a run alone is no reproduction.
                event["why"].partition(" Next: ")[0] if event.get("why") else None,
            )

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "error":
            raise EnvironmentProblem(event["text"])
        if event["event"] == "begin":
            self._begun = event["seed"]
        else:
            self._ended(event)

    def _lost(self, kind: str, problem: str) -> None:
        """The control process did not judge its run: a bug has taken it along."""
        if self._begun is None:
            raise EnvironmentProblem(f"live: {problem} before a run began")
        self._ended({"seed": self._begun, "kinds": [kind], "problems": [problem]})

    def session(self, is_over: Callable[[], bool], look: Callable[[LiveResult], None]) -> bool:
        """Run with one control process; False if it has to be replaced by another one."""
        stressor = _Stressor(self._result, self._seed, self._core, self._delays, self._library)
        asked_at: float | None = None
        try:
            while (events := stressor.events(_LOOK_S)) is not None:
                for event in events:
                    self._take(event)
                self._now()
                look(self._result)
                if asked_at is None and is_over():
                    asked_at = time.monotonic()
                    stressor.ask_to_end()
                late = asked_at is not None and time.monotonic() - asked_at > _END_S
                if stressor.is_silent or late:
                    self._lost("hang", f"seed {self._begun}: the control process hangs; killed")
                    return asked_at is not None
        finally:
            code = stressor.close()
        if asked_at is None or (self._begun is not None and code):
            self._lost("crash", f"seed {self._begun}: the control process ended with {code}")
        return asked_at is not None


def run_live(
    scenario: str,
    bug: Bug | None = None,
    *,
    kernel: str | None = None,
    provider: Path | None = None,
    seconds: float,
    seed: int,
    until_hit: bool = False,
    delays: bool = True,
    stopped: Callable[[], bool] = lambda: False,
    look: Callable[[LiveResult], None] = lambda result: None,
) -> LiveResult:
    """Run a scenario by real processes, again and again, with seed, seed + 1, and so on.

    Args:
        scenario: A ready scenario that has a set-up, see :data:`SETUPS`.
        bug: A seeded bug to put into the core, or None.
        kernel: The level that is played, unless the scenario names its own; None: seed, or one
            that shows the bug.
        provider: In the place of ours, as C source or library, or None. It dawdles where it uses
            the accessors of its header.
        seconds: For so long, above 0, or until one run has ended; building the core not counted.
        seed: Of the first run, u64.
        until_hit: End with the first run that has a finding.
        delays: False to use the product's own core, whose points are nothing.
        stopped: Asked several times a second; True ends it in order, with a partial result.
        look: Called several times a second with the result so far.

    Raises:
        ConfigError: The scenario has no set-up, a number is out of range, or the provider cannot
            be used.
        EnvironmentProblem: The core cannot be built, or the machine cannot run it.
        StaleBugError: The seeded bug does not fit the sources.
    """
    check_live(scenario, seconds, seed)
    if bug is not None and not delays:
        raise ConfigError.of("bug", bug.name, "it needs a core of its own, so delays too")
    plugin = None if provider is None else look_at(str(check_provider(provider)))
    core = build_delayed_core(bug) if delays else None
    result = LiveResult(
        scenario,
        seed,
        None if bug is None else bug.name,
        None if plugin is None else plugin.given,
        kernel=SCENARIOS[scenario].at(level_for(bug, kernel)).kernel,
    )
    with DelayFile() as file:
        live = _Live(result, core, file, None if plugin is None else plugin.path)
        deadline = time.monotonic() + seconds

        def is_over() -> bool:
            if stopped():
                result.is_partial = True
                return True
            is_late = time.monotonic() >= deadline and result.executions > 0
            return is_late or (until_hit and result.hits > 0)

        while not live.session(is_over, look):
            if is_over():
                break
    return result
