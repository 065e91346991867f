"""``python -m emu.race.stress``: one live run after the other, by one control process.

Started by :mod:`emu.race.live` with another build of the core. It says in a line of JSON what
begins and how it ended, and goes on with the next seed until SIGTERM. A run that is at work then
comes to its end in order.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from emu.errors import EmuError
from emu.race.delays import DelayFile
from emu.race.setups import SETUPS, LiveRun, draw
from emu.runtime.fork_server import kept
from emu.runtime.sample import Sample
from emu.runtime.session import Session
from emu.verdict.report import Report
from faults import CATALOGUE, Actor

_PR_SET_PDEATHSIG = 1
_TICK_S = 0.001
_STALL_S = 10.0
#: Between two changes of cores and priorities.
_SAMPLE_S = 0.03
_SEEDS = 2**64


def _say(**event: Any) -> None:
    # Past the buffers of stdout: who listened may be gone, and nothing is to be flushed then.
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), json.dumps(event).encode() + b"\n")


class _Disturber:
    """Moves the processes of one run between cores, and changes their priorities."""

    def __init__(self, session: Session, run: LiveRun) -> None:
        self._session = session
        self._run = run
        self._rng = random.Random(f"disturb:{run.config.seed}")
        self._cores = sorted(os.sched_getaffinity(0))
        self._home = self._rng.choice(self._cores)

    def __call__(self, sample: Sample) -> None:
        """Disturb all that live; those that end meanwhile are not missed."""
        pids = [worker.pid for worker in self._session.processes.live()]
        for pid in (os.getpid(), *pids):
            with contextlib.suppress(OSError):  # it has ended, or a cgroup has taken cores away
                self._place(pid)
        if self._run.is_reniced:
            for pid in pids:
                # Upwards only, unless we may take it back.
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, pid, self._rng.choice((0, 5, 10, 19)))

    def _place(self, pid: int) -> None:
        if self._run.placement == "one core":
            os.sched_setaffinity(pid, {self._home})
        elif self._run.placement == "moving":
            os.sched_setaffinity(pid, {self._rng.choice(self._cores)})


class _Stress:
    """The runs, one after the other."""

    def __init__(
        self, scenario: str, seed: int, delays: DelayFile, kernel: str, library: str | None
    ) -> None:
        self._kernel = kernel
        self._library = library
        self._setup = SETUPS[scenario]
        self._seed = seed
        self._delays = delays
        self._session: Session | None = None
        self._is_over = False

    def end(self, *_: object) -> None:
        """Come to an end, in order; a signal handler."""
        self._is_over = True
        if self._session is not None:
            self._session.interrupt()

    def run(self) -> None:
        """Run until :meth:`end`."""
        cores = os.sched_getaffinity(0)
        while not self._is_over:
            _say(event="begin", seed=self._seed)
            try:
                self._once()
            finally:
                self._session = None
                os.sched_setaffinity(0, cores)
            self._seed = (self._seed + 1) % _SEEDS

    def _once(self) -> None:
        run = draw(self._setup, self._seed)
        self._delays.set(self._seed, run.everywhere, run.at, sleeps=run.sleeps, yields=run.yields)
        config = replace(run.config, kernel=self._kernel, provider=self._library)
        with Session(config, stall_s=_STALL_S, tick_s=_TICK_S) as session:
            self._session = session
            if self._is_over:
                return
            try:
                report = session.run(_Disturber(session, run), _SAMPLE_S)
            except EmuError as error:  # somebody did not follow: the kernel side hangs
                _say(event="end", seed=self._seed, kinds=["timeout"], problems=[str(error)])
                return
        _say(
            event="end",
            seed=self._seed,
            kinds=[item.kind for item in report.explanations],
            problems=list(report.problems),
            why=report.explanations[0].text if report.explanations else None,
            delivered=report.total("nic", "packets_delivered"),
            returned=sum(report.verdicts.values()),
            faults=_process_faults(report),
        )


def _process_faults(report: Report) -> int:
    """How often processes were scrubbed, stopped, killed, restarted."""
    return sum(
        row.injected
        for row in report.reconciliation.rows
        if row.name in CATALOGUE and CATALOGUE[row.name].actor is Actor.PROCESS
    )


def main() -> None:
    """Run the scenario named on the command line, from a seed on.

    Behind them: the delays file, the pid of who started this, the level that is played, and perhaps
    a provider's library.
    """
    scenario, seed, path, parent, kernel, *library = sys.argv[1:]
    with DelayFile(Path(path)) as delays:
        stress = _Stress(scenario, int(seed), delays, kernel, library[0] if library else None)
        signal.signal(signal.SIGTERM, stress.end)
        # A Ctrl-C reaches the whole process group; what it means is decided by one.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != int(parent):  # it died before the call above
            return
        try:
            with kept():
                stress.run()
        except EmuError as error:
            _say(event="error", text=str(error))


if __name__ == "__main__":
    main()
