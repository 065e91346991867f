"""Shared by all tests: the console script as a process, a small run that is judged, providers in
shared libraries; and the proof that nothing stays behind.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from emu.bugs.patch import make_patch
from emu.cli import main
from emu.compile.ondemand import core_sources
from emu.config import RunConfig
from emu.core import watched_objects
from emu.runtime import fork_server, session
from emu.runtime.arena import Arena, make_arena
from emu.runtime.sample import Sample
from emu.runtime.session import Session, run
from emu.traffic import TrafficSource
from emu.traffic.synthetic import SyntheticSource
from emu.verdict import progress
from emu.verdict.progress import Blame
from emu.verdict.report import Report


def change(file: str, old: str, new: str) -> str:
    """A seeded bug's diff: other words for a stretch of a file of the core, which is there once."""
    text = (core_sources() / file).read_text()
    assert text.count(old) == 1
    return make_patch(file, text, text.replace(old, new))


def _beside(name: str) -> Any:
    """A module beside this one: tests are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: Holds what commands wrote against its schema.
written = _beside("written")
ROOT = Path(__file__).parents[1]
SCRIPT = Path(sys.executable).with_name("zcrx-emu")
SHM_DIR = Path("/dev/shm")
#: Who waits for so long has waited for nothing, on the busiest machine.
PATIENCE_S = 120.0
_ROLE = re.compile(r"\(zcrx-(nic|provider|consumer|keeper|reaper)$")
_OURS = re.compile(r"(sem\.)?zcrx-emu\.(\d+)\.\d+\.\d+")

#: Control processes started by these tests. Other runs on the machine are not looked at.
_control_pids = {os.getpid()}


def wait_until(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> bool:
    """Poll an event outside of this process; False if it has not come in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def heed_signals(*but: signal.Signals) -> None:
    """In a process that begins: who starts tests in the background has some of them ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN if number in but else signal.SIG_DFL)


def workers_of(pids: set[int]) -> dict[int, str]:
    """NIC, provider and consumer processes of these control processes: pid and role."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_text(errors="replace").split("\0")
            name, _, fields = (entry / "stat").read_text(errors="replace").rpartition(")")
        except OSError:  # gone meanwhile
            continue
        # The command line ends in: emu.runtime.worker ROLE FD PARENT [queue=N]
        at = words.index("emu.runtime.worker") if "emu.runtime.worker" in words else None
        if at is not None and words[at + 1 : at + 4 : 2] == [fork_server.ROLE, str(os.getpid())]:
            continue  # this process keeps one for all runs
        if at is not None and len(words) > at + 3 and int(words[at + 3]) in pids:
            found[int(entry.name)] = words[at + 1]
        # A child that nobody waited for has lost its command line, but not its name.
        elif (role := _ROLE.search(name)) and int(fields.split()[1]) in pids:
            found[int(entry.name)] = role[1]
    return found


def shared_memory_of(pids: set[int]) -> list[str]:
    """Names in /dev/shm that these control processes made."""
    names = (path.name for path in SHM_DIR.iterdir())
    return [name for name in names if (m := _OURS.fullmatch(name)) and int(m[2]) in pids]


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """After each module: no process, no shared memory, none looked after of the runs it made."""
    yield
    assert watched_objects() == 0
    assert wait_until(lambda: not workers_of(_control_pids)), workers_of(_control_pids)
    assert shared_memory_of(_control_pids) == []


@pytest.fixture(scope="session", autouse=True)
def python_is_started_once() -> Iterator[None]:
    """Runs of this process fork their workers from the same fork server."""
    with fork_server.kept():
        yield


@pytest.fixture(scope="session", autouse=True)
def traffic_is_made_once() -> Iterator[None]:
    """Runs of this process share what depends on nothing but source and seed.

    To make it takes a third of a small run's time.
    """
    kept: Callable[..., Arena] = functools.lru_cache(maxsize=8)(make_arena)

    def make(source: TrafficSource, **sizes: int) -> Arena:
        is_pure = isinstance(source, SyntheticSource) and source.packet_count <= 4096
        return kept(source, **sizes) if is_pure else make_arena(source, **sizes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "make_arena", make)
        yield


@dataclass(frozen=True)
class Ended:
    """How a run of the console script ended."""

    code: int  #: negative: killed by that signal
    stdout: str
    stderr: str
    seconds: float  #: since :meth:`Running.finish` was called


class Running:
    """The console script, running."""

    def __init__(
        self, arguments: tuple[str, ...], folder: Path, stdout: int, ignored: signal.Signals | None
    ) -> None:
        self._folder, self._before = folder, written.seen(folder)
        self._stderr = folder / f"stderr.{time.monotonic_ns()}"
        with self._stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                [SCRIPT, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                preexec_fn=lambda: heed_signals(*([ignored] if ignored else [])),
            )
        _control_pids.add(self.process.pid)
        self.pid = self.process.pid
        self.stdout = ""
        print("$ zcrx-emu", *arguments)

    def _read(self, deadline: float) -> bool:
        """Read on; False at the end. The pipe ends with the last process of the run."""
        assert self.process.stdout is not None
        left_ms = max(0.0, deadline - time.monotonic()) * 1000
        poller = select.poll()
        poller.register(self.process.stdout, select.POLLIN)
        if not poller.poll(left_ms):
            pytest.fail(f"in time came only:\n{self.stdout}\nstderr:\n{self.stderr()}")
        data = os.read(self.process.stdout.fileno(), 65536)
        self.stdout += data.decode()
        return bool(data)

    def stderr(self) -> str:
        """What it wrote to stderr so far."""
        return self._stderr.read_text()

    def expect(self, pattern: str, timeout_s: float = PATIENCE_S) -> re.Match[str]:
        """Wait until a whole line of stdout matches."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.search(rf"^.*{pattern}.*\n", self.stdout, re.MULTILINE)):
            if not self._read(deadline):
                pytest.fail(f"{pattern!r} never came:\n{self.stdout}\n{self.finish().stderr}")
        return found

    def pids(self) -> dict[str, int]:
        """Process label: pid, as the run says it."""
        line = self.expect(r"^processes: control .*").group()
        return {label: int(pid) for label, pid in re.findall(r"([a-z][a-z0-9 ]*) (\d+)", line)}

    def expect_traffic(self) -> None:
        """Wait for a line of progress in which packets flow."""
        self.expect(r"^ +\d+\.\d s  [1-9].*packets/s")

    def finish(self, timeout_s: float = PATIENCE_S) -> Ended:
        """Wait for the end of all processes of the run."""
        start = time.monotonic()
        while self._read(start + timeout_s):
            pass
        code = self.process.wait(timeout_s)
        seconds = time.monotonic() - start
        ended = Ended(code, self.stdout, self.stderr(), seconds)
        print(ended.stdout, ended.stderr, f"exit code {code} after {seconds:.3f} s", sep="\n")
        assert "Traceback" not in ended.stdout + ended.stderr
        written.check_files(self._folder, self._before)
        return ended

    def close(self) -> None:
        """End it if the test did not."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Script:
    """The console script; its working directory is the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Running] = []

    def start(
        self,
        *arguments: object,
        stdout: int = subprocess.PIPE,
        ignored: signal.Signals | None = None,
    ) -> Running:
        """Start it; the caller looks at its output and waits for its end."""
        running = Running(tuple(map(str, arguments)), self.folder, stdout, ignored)
        self._started.append(running)
        return running

    def run(self, *arguments: object) -> Ended:
        """Run it to its end."""
        return self.start(*arguments).finish()

    def stop(self, pid: int) -> None:
        """Stop a process of a run (SIGSTOP), and wait until it stands still."""
        os.kill(pid, signal.SIGSTOP)
        stat = Path(f"/proc/{pid}/stat")
        assert wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

    def leftovers(self) -> list[str]:
        """What runs of this test left in shared memory and among processes."""
        pids = {running.pid for running in self._started}
        return [
            *shared_memory_of(pids),
            *(f"{role} {pid}" for pid, role in workers_of(pids).items()),
        ]

    def names_of(self, pid: int) -> list[str]:
        """Names in shared memory that a control process made."""
        return shared_memory_of({pid})

    def workers(self, pid: int) -> dict[int, str]:
        """Workers of a control process: pid and role."""
        return workers_of({pid})

    #: See the functions of these names.
    wait_until = staticmethod(wait_until)
    heed_signals = staticmethod(heed_signals)

    def close(self) -> None:
        """End what still runs."""
        for running in self._started:
            running.close()


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    """The console script, started in a folder of the test's own."""
    made = Script(tmp_path)
    yield made
    made.close()
    # A process that is killed leaves a moment later than its parent.
    assert wait_until(lambda: not made.leftovers()), made.leftovers()


class Answer(NamedTuple):
    """How the command ended."""

    code: object
    stdout: str
    stderr: str


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Answer]]:
    """The console script's function in this process: many times faster than a process each.

    It runs in a folder of its own. Several calls may be made; each returns an :class:`Answer`.
    """
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def call_it(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["zcrx-emu", *map(str, arguments)])
        there = written.seen(tmp_path)
        with pytest.raises(SystemExit) as ended:
            main()
        written.check_files(tmp_path, there)
        answer = Answer(ended.value.code, *capfd.readouterr())
        written.check_text(answer.stdout)
        return answer

    yield call_it
    signal.signal(signal.SIGTERM, before)


#: A packet waits for room as long as it takes: a busy machine drops nothing, and a stall shows.
SMALL = {"seed": 1, "packets": 20_000, "wait_ms": 60_000}


def check_sound(report: Report) -> None:
    """Assert what must hold for every run that was not tampered with."""
    assert report.problems == ()
    assert report.ok
    assert {statement.name for statement in report.statements if not statement.holds} == set()
    assert [process.exit_code for process in report.processes] == [0] * len(report.processes)
    offered, delivered, dropped = (
        report.total("nic", f"packets_{name}") for name in ("offered", "delivered", "dropped")
    )
    assert offered == delivered + dropped
    assert report.total("provider", "free_count") == report.config["area_buffers"] * len(
        report.queues
    )
    assert report.reconciliation.ok
    assert report.reconciliation.checked == report.total("provider", "consumed")
    # What a plan injects is judged like any other entry, whatever was left unread.
    for row in report.reconciliation.rows[1:]:
        assert set(row.earned) <= set(row.expected)


@pytest.fixture
def run_small() -> Callable[..., Report]:
    """Run a configuration with real processes; 20,000 packets of seed 1 if not said otherwise."""

    def run_it(**fields: Any) -> Report:
        config = RunConfig(**{**SMALL, **fields})
        print("RunConfig:", config.as_dict())
        report = run(config)
        written.check_value(report.as_dict())
        return report

    return run_it


@pytest.fixture
def run_sound(run_small: Callable[..., Report]) -> Callable[..., Report]:
    """The same, for runs in which everything must hold."""

    def run_it(**fields: Any) -> Report:
        report = run_small(**fields)
        check_sound(report)
        return report

    return run_it


def _run_until(config: RunConfig, seen: Callable[[Session], object]) -> Report:
    """Run for a duration, and on until something is seen: a busy machine needs longer for it."""
    assert config.duration_s is not None
    least_s = config.duration_s
    with Session(dataclasses.replace(config, duration_s=PATIENCE_S)) as running:

        def look(sample: Sample) -> None:
            if sample.elapsed_s >= least_s and seen(running):
                running.interrupt("duration")

        return running.run(look, sample_every_s=0.05)


@pytest.fixture
def run_until() -> Callable[[RunConfig, Callable[[Session], object]], Report]:
    """Run for a duration, and on until something is seen of the session."""
    return _run_until


@pytest.fixture
def run_until_still(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunConfig, Blame], Report]:
    """Run until nothing comes back on queue 0 any more, and have its end wait to see that."""
    monkeypatch.setattr(progress, "UNDECIDED_MAX_S", PATIENCE_S)

    def run_it(config: RunConfig, blame: Blame) -> Report:
        before: list[object] = [None]

        def is_still(running: Session) -> bool:
            view = running._queues[0].standing()
            who = progress.who(view, need=running._need)
            before.append(
                (view.consumed, view.kept, view.completions_unread, view.rqes_unread)
                if view.since and who is not None and who[0] is blame
                else None
            )
            return before[-1] is not None and len(set(before[-10:])) == 1

        return _run_until(config, is_still)

    return run_it


@pytest.fixture(scope="session")
def build_provider(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    """Compile C source into a shared library of that name; its path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")

    def build(name: str, source: str) -> str:
        path = tmp_path_factory.mktemp(name) / f"{name}.so"
        subprocess.run(
            [
                *(compiler, "-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"),
                *("-I", ROOT / "cext", "-I", ROOT / "docs" / "examples", "-xc", "-", "-o", path),
            ],
            input=source,
            text=True,
            check=True,
        )
        return str(path)

    return build


@pytest.fixture(scope="session")
def plain_provider(build_provider: Callable[[str, str], str]) -> str:
    """The documentation's provider that is right."""
    return build_provider("plain", '#include "plain_provider.c"\n')


@pytest.fixture(scope="session")
def broken_provider(build_provider: Callable[[str, str], str]) -> str:
    """The documentation's provider that is wrong."""
    return build_provider("broken", '#include "broken_provider.c"\n')
