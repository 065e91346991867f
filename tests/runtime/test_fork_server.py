"""Workers that are forked: from which server, with whose surroundings, and what if it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu.config import RunConfig
from emu.host.proc import PARENT, stat_words
from emu.runtime import fork_server
from emu.runtime.channel import Channel
from emu.runtime.fork_server import ROLE, Child, ForkServer, kept
from emu.runtime.processes import Processes, worker_python
from emu.runtime.reaper import relatives_of
from emu.runtime.sample import Sample
from emu.runtime.session import Session

from ..conftest import wait_until

#: Kept for other tests of this process.
KNOWN: set[int] = set()


@pytest.fixture(autouse=True)
def no_server_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that makes its first run."""
    monkeypatch.setattr(fork_server, "_kept", fork_server._Kept())
    KNOWN.clear()
    KNOWN.update(child.pid for child in relatives_of(os.getpid()))


@pytest.fixture
def server() -> Iterator[ForkServer]:
    made = ForkServer(*worker_python())
    yield made
    made.close()


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")


def servers() -> list[int]:
    """Pids of the servers of this process that live."""
    below = [child.pid for child in relatives_of(os.getpid()) if not child.is_dead]
    return [pid for pid in below if pid not in KNOWN and ROLE in command_line(pid)]


def run_once(packets: int = 200) -> None:
    with Session(RunConfig(seed=1, packets=packets)) as running:
        report = running.run()
    assert report.ok, report.problems


def start_look(server: ForkServer) -> tuple[Child, Channel]:
    """A worker that waits for a word of ours."""
    channel, theirs = Channel.pair()
    with theirs:
        child = server.fork(["look", str(os.getpid())], theirs)
    assert child is not None
    return child, channel


def test_it_is_a_child_of_ours_by_its_own_name(server: ForkServer) -> None:
    child, channel = start_look(server)
    assert int(stat_words(child.pid)[PARENT]) == os.getpid()
    assert wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "zcrx-look\n")
    line = command_line(child.pid)
    at = line.index("emu.runtime.worker")
    assert line[at + 1] == "look"
    assert line[at + 3 :] == [str(os.getpid())]
    assert os.getpgid(child.pid) == child.pid
    channel.close()
    assert child.wait(30) == 3  # the control process is gone, as far as it can see
    assert child.poll() == child.wait() == 3


def test_how_it_ended_is_told(server: ForkServer) -> None:
    child, channel = start_look(server)
    assert child.poll() is None
    child.kill()
    assert child.wait(30) == -signal.SIGKILL
    child.terminate()  # a dead one: nobody else of its number is meant
    channel.close()


def test_it_has_no_descriptor_of_the_servers(server: ForkServer) -> None:
    child, channel = start_look(server)
    wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "zcrx-look\n")
    fds = {int(path.name): os.readlink(path) for path in Path(f"/proc/{child.pid}/fd").iterdir()}
    sockets = [fd for fd, name in fds.items() if fd > 2 and name.startswith("socket:")]
    assert len(sockets) == 1
    assert all(name.startswith("socket:") for fd, name in fds.items() if fd > 2), fds
    channel.close()
    child.wait(30)


def test_it_is_where_we_are_and_writes_where_we_say(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_look(server)[1].close()  # the server stands where we stood
    monkeypatch.chdir(tmp_path)
    channel, theirs = Channel.pair()
    with theirs, (tmp_path / "said").open("wb") as said:
        child = server.fork(["look", "not a pid"], theirs, stderr=said.fileno())
        assert child is not None
    assert child.wait(30) == 1
    channel.close()
    assert "not a pid" in (tmp_path / "said").read_text()
    child, channel = start_look(server)
    assert wait_until(lambda: os.readlink(f"/proc/{child.pid}/cwd") == str(tmp_path))
    channel.close()
    child.wait(30)


def test_runs_share_one_that_is_kept() -> None:
    with kept():
        run_once()
        (pid,) = servers()
        run_once()
        assert servers() == [pid]
    assert servers() == []


def test_none_is_kept_unless_it_is_asked_for() -> None:
    run_once()
    assert servers() == []


def test_other_surroundings_want_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with kept():
        run_once()
        (pid,) = servers()
        monkeypatch.setenv("ZCRX_EMU_TEST", "other")
        run_once()
        (other,) = servers()
        assert other != pid
        assert b"ZCRX_EMU_TEST=other" in Path(f"/proc/{other}/environ").read_bytes()


def test_the_next_test_has_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with kept():
        run_once()
        (pid,) = servers()
        monkeypatch.setenv("PYTEST_CURRENT_TEST", "another (call)")
        run_once()
        assert servers() == [pid]


def test_another_umask_wants_another_one() -> None:
    with kept():
        run_once()
        (pid,) = servers()
        before = os.umask(0o027)
        try:
            run_once()
        finally:
            os.umask(before)
        (other,) = servers()
        assert other != pid


def test_each_thread_has_its_own() -> None:
    """The kernel ends a child with the thread that made it."""
    with kept():
        run_once()
        (pid,) = servers()
        seen: list[int] = []

        def run_beside() -> None:
            run_once()
            seen.extend(servers())

        thread = threading.Thread(target=run_beside)
        thread.start()
        thread.join()
        assert seen == [pid]  # the thread's was closed with its run
        run_once()
        assert servers() == [pid]


def test_one_that_was_killed_is_replaced() -> None:
    with kept():
        run_once()
        (pid,) = servers()
        os.kill(pid, signal.SIGKILL)
        run_once()
        run_once()
        assert pid not in servers()


def test_without_one_a_process_is_started_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(12, "no memory")

    monkeypatch.setattr(fork_server, "ForkServer", fails)
    run_once()


def test_nobody_waits_for_what_was_said_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are ready when they are looked at first cost no wait that ends by itself."""
    look, hand_over = Processes.look_who_joined, Processes._hand_over_to_consumers
    waits: list[float] = []

    def look_until_hidden(processes: Processes) -> bool:
        while not processes._are_others_hidden():
            look(processes)
        return look(processes)

    def hand_over_and_count(processes: Processes) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(processes, "wait_event", waits.append)
            hand_over(processes)

    monkeypatch.setattr(Processes, "look_who_joined", look_until_hidden)
    monkeypatch.setattr(Processes, "_hand_over_to_consumers", hand_over_and_count)
    run_once()
    assert waits == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_run_goes_on_when_it_is_gone(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for the next consumer, and a Python is started in its place."""
    monkeypatch.setattr(fork_server, "ANSWER_S", 0.5)
    done: list[int] = []
    with Session(RunConfig(seed=1, duration_s=60, respawn=True)) as running:
        (pid,) = servers()

        def hit(sample: Sample) -> None:
            if not done:
                os.kill(pid, number)
                os.kill(running.pids["consumer of queue 0"], signal.SIGKILL)
                done.append(pid)
            elif len(running.processes.workers) > 3 and sample.queues[0].consumer["fragments"]:
                running.interrupt()

        report = running.run(hit, sample_every_s=0.02)
    assert report.problems == ()
    assert len(report.processes) == 4
    assert servers() == []


def test_answer_that_is_none_is_the_last(server: ForkServer) -> None:
    """What is no server, or none any more, is not asked again."""
    os.kill(server._process.pid, signal.SIGKILL)
    channel, theirs = Channel.pair()
    with theirs:
        assert server.fork(["look", str(os.getpid())], theirs) is None
    assert not server.is_usable
    channel.close()


def test_it_goes_with_the_control_process() -> None:
    code = (
        "import time; from emu.runtime.fork_server import ForkServer;"
        "from emu.runtime.processes import Processes, worker_python;"
        "made = ForkServer(*worker_python()); print(made._process.pid, flush=True);"
        "time.sleep(60)"
    )
    control = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert control.stdout is not None
    grandchild = int(control.stdout.readline())
    control.kill()
    control.wait()
    control.stdout.close()
    assert wait_until(lambda: not Path(f"/proc/{grandchild}").exists())
