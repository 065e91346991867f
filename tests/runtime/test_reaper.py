"""What a consumer starts is gone when the consumer is, however it hid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.config import RunConfig
from emu.consumer import Consumer
from emu.runtime.reaper import parent_of, relatives_of, sweep
from emu.runtime.session import Session, run
from emu.verdict.report import Report

HERE = Path(__file__).stem
PIDS = Path("pids.txt")


def _note() -> None:
    with PIDS.open("a") as file:
        file.write(f"{os.getpid()}\n")


def _hide_away() -> None:
    """Fork twice, in a session of one's own; the grandchild ignores what it can."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            _note()
            while True:
                time.sleep(60)
        os._exit(0)
    os.wait()


def forks(consumer: Consumer) -> None:
    for _ in range(5):
        _hide_away()
    while not PIDS.exists() or len(PIDS.read_text().split()) < 5:
        time.sleep(0.001)
    for completion in consumer:
        consumer.give_back(completion)


def forks_and_dies(consumer: Consumer) -> None:
    forks_once(consumer)
    os.kill(os.getpid(), signal.SIGKILL)


def forks_and_hangs(consumer: Consumer) -> None:
    forks_once(consumer)
    while True:
        time.sleep(60)


def forks_once(_consumer: Consumer) -> None:
    _hide_away()
    while not PIDS.exists():
        time.sleep(0.001)


def stops(_consumer: Consumer) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Report]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def run_it(function: str, **fields: object) -> Report:
        return run(RunConfig(seed=1, consumer=f"{HERE}:{function}", **fields))  # type: ignore[arg-type]

    return run_it


def _alive() -> list[int]:
    return [int(pid) for pid in PIDS.read_text().split() if Path(f"/proc/{pid}").exists()]


def test_children_in_sessions_of_their_own_go_with_the_run(
    run_here: Callable[..., Report],
) -> None:
    report = run_here("forks", packets=500)
    assert report.ok
    assert _alive() == []
    assert "consumer of queue 0 left 5 processes that it had started; they were ended" in (
        report.notes
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("forks_and_dies", "consumer of queue 0 was killed by SIGKILL"),
        ("forks_and_hangs", "consumer of queue 0 did not leave within"),
    ],
)
def test_children_go_however_the_consumer_ends(
    run_here: Callable[..., Report], function: str, problem: str
) -> None:
    report = run_here(function, duration_s=0.2)
    assert any(problem in text for text in report.problems)
    assert _alive() == []


def test_children_go_with_the_control_process(tmp_path: Path) -> None:
    code = (
        "from emu.config import RunConfig; from emu.runtime.session import run\n"
        f"run(RunConfig(duration_s=60.0, consumer='{HERE}:forks'))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stderr=subprocess.DEVNULL,
    )
    path = tmp_path / PIDS
    deadline = time.monotonic() + 60
    while not (path.exists() and len(path.read_text().split()) == 5):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    pids = path.read_text().split()
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_stopped_consumer_costs_its_grace_time_once(
    run_here: Callable[..., Report],
) -> None:
    report = run_here("stops", duration_s=0.2)
    late = [text for text in report.problems if "within" in text]
    assert late == ["consumer of queue 0 did not leave within 2 s; killed"]


def test_pid_of_a_consumer_is_that_of_its_own_process() -> None:
    with Session(RunConfig(seed=1, packets=10)) as session:
        pid = session.pids["consumer of queue 0"]
        reaper = parent_of(pid)
        assert reaper is not None
        assert parent_of(reaper) == os.getpid()
        assert Path(f"/proc/{pid}/comm").read_text() == "zcrx-consumer\n"
        assert Path(f"/proc/{reaper}/comm").read_text() == "zcrx-reaper\n"
        session.run()
    assert not Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{reaper}").exists()


def test_sweep_ends_what_is_below_and_nothing_else() -> None:
    """In a process of its own: this one may have children that are not the test's."""
    code = """
import ctypes, os, subprocess, time
from emu.runtime.reaper import relatives_of, sweep
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
for _ in range(3):
    subprocess.Popen(["sh", "-c", "(sleep 60; :) & exec sleep 60"])
while len(relatives_of(os.getpid())) < 9:  # each with a subshell and its sleep
    time.sleep(0.001)
print(sweep(os.getpid()), relatives_of(os.getpid()))
"""
    with subprocess.Popen(["sleep", "60"]) as stranger:
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert ended.stdout == "9 []\n"
        assert stranger.poll() is None
        assert stranger.pid in {one.pid for one in relatives_of(os.getpid())}
        stranger.kill()
    assert sweep(2**22 + 1) == 0


def test_end_at_any_moment_of_a_start_is_silent(tmp_path: Path) -> None:
    """As soon as the reaper is there its SIGTERM comes, again and again from one start on."""
    code = """
import os, signal, socket, sys
from emu.runtime.reaper import fork_consumer
os.kill(os.getpid(), signal.SIGTERM) if sys.argv[1] == "before" else None
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
before = os.fork
def fork():
    os.kill(os.getpid(), signal.SIGTERM)
    return before()
os.fork = fork
fork_consumer(theirs.fileno())
signal.pause()
"""
    for moment, code_wanted in (("before", -signal.SIGTERM), ("fork", -signal.SIGKILL)):
        ended = subprocess.run(
            [sys.executable, "-c", code, moment], capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stderr) == (code_wanted, "")


#: A reaper whose consumer was killed, and which is asked to end while it clears up behind it.
ASKED_LATE = """
import os, signal, socket
from emu.runtime import reaper

def leave(child, channel):
    os.kill(os.getpid(), signal.SIGTERM)

reaper._leave = leave
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
signal.signal(signal.SIGTERM, reaper._end)
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGKILL)
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
reaper._watch(child, one.detach(), os.open("/dev/null", os.O_RDONLY))
"""


def test_reaper_that_is_asked_to_end_while_it_ends_says_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ASKED_LATE], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, "")
