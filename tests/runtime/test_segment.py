"""Shared memory: private, nameless at once, refused when there is not enough, never left behind."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import posix_ipc
import pytest

from emu.errors import ConfigError, EnvironmentProblem
from emu.host.proc import process_start_time
from emu.runtime import segment
from emu.runtime.segment import (
    check_room,
    create_segment,
    shm_available,
    sweep,
)

SHM_DIR = Path("/dev/shm")


def names() -> list[str]:
    """What this process has in /dev/shm."""
    own = f"zcrx-emu.{os.getpid()}."
    return [path.name for path in SHM_DIR.iterdir() if own in path.name]


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


# ---- Segments -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("open_umask")
def test_segment_is_its_owners_alone() -> None:
    made = create_segment(4096)
    assert stat.S_IMODE(os.fstat(made.fd).st_mode) == 0o600
    made.close()


def test_segment_has_no_name_from_the_start() -> None:
    made = create_segment(4096)
    assert names() == []
    assert os.fstat(made.fd).st_nlink == 0
    assert not os.get_inheritable(made.fd)
    made.close()


def test_segment_is_zero_and_its_memory_is_reserved() -> None:
    made = create_segment(3 * 4096)
    assert os.fstat(made.fd).st_blocks * 512 >= 3 * 4096
    with made.map() as memory:
        assert memory[:] == bytes(3 * 4096)
        memory[4096:4101] = b"bytes"
        with made.map() as other:
            assert other[4096:4101] == b"bytes"
    made.close()


def test_mapping_outlives_the_descriptor() -> None:
    made = create_segment(4096)
    memory = made.map()
    made.close()
    memory[0] = 1
    memory.close()


@pytest.mark.parametrize("times", [2, 2**20])
def test_segment_larger_than_shared_memory_is_refused(times: int) -> None:
    whole = os.statvfs(SHM_DIR)
    size = whole.f_blocks * whole.f_frsize * times
    descriptors = os.listdir("/proc/self/fd")
    with pytest.raises(EnvironmentProblem, match=rf"^shared memory: .*{size} bytes.*/dev/shm.*$"):
        create_segment(size)
    assert names() == []
    assert os.listdir("/proc/self/fd") == descriptors


def test_room_is_checked_against_what_is_available() -> None:
    check_room("area_buffers", 7, 0)
    check_room("area_buffers", 7, shm_available() // 2)
    with pytest.raises(ConfigError) as caught:
        check_room("area_buffers", 7, 2**62)
    message = str(caught.value)
    assert message.startswith(f"area_buffers: 7 is not allowed; it needs {2**62} bytes")
    assert "/dev/shm" in message


def test_interrupt_while_an_object_is_made_leaves_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a Ctrl-C does that another thread receives: it comes as soon as the call is over."""
    make = posix_ipc.SharedMemory

    def interrupted(*arguments: object, **options: object) -> object:
        os.close(make(*arguments, **options).fd)
        raise KeyboardInterrupt

    monkeypatch.setattr(posix_ipc, "SharedMemory", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create_segment(4096)
    assert names() == []


def test_signal_waits_until_the_name_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    make = posix_ipc.SharedMemory

    def signalled(*arguments: object, **options: object) -> object:
        made = make(*arguments, **options)
        # To this thread: whoever runs the tests may have others, which take it at once.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        return made

    monkeypatch.setattr(posix_ipc, "SharedMemory", signalled)
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(names()))
    try:
        create_segment(4096).close()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [[]]


# ---- The sweep ----------------------------------------------------------------------------------


@pytest.fixture
def shm_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to sweep: in the real one other runs sweep, too."""
    monkeypatch.setattr(segment, "SHM_DIR", tmp_path)
    return tmp_path


@pytest.fixture
def dead() -> str:
    """Pid and start time of a process that is over."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = process_start_time(process.pid)
    process.communicate(b"\n")
    return f"{process.pid}.{start}"


def test_start_time_tells_processes_apart() -> None:
    own = process_start_time(os.getpid())
    assert own is not None
    assert own > 0
    assert process_start_time(2**22 + 1) is None  # above the largest pid that Linux has


def test_start_time_does_not_trip_over_the_name_of_a_process(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/cat")
    process = subprocess.Popen([program], stdin=subprocess.PIPE)
    own, other = process_start_time(os.getpid()), process_start_time(process.pid)
    process.communicate()
    assert own is not None
    assert other is not None
    assert other >= own


def test_sweep_removes_what_the_dead_left(shm_dir: Path, dead: str) -> None:
    left = {f"zcrx-emu.{dead}.0", f"zcrx-emu.{dead}.12", f"sem.zcrx-emu.{dead}.1"}
    for name in left:
        (shm_dir / name).touch()
    assert set(sweep()) == left
    assert list(shm_dir.iterdir()) == []
    assert sweep() == []


def test_sweep_spares_the_living(shm_dir: Path) -> None:
    own = f"{os.getpid()}.{process_start_time(os.getpid())}"
    names = {f"zcrx-emu.{own}.0", f"sem.zcrx-emu.{own}.1"}
    for name in names:
        (shm_dir / name).touch()
    assert sweep() == []
    assert {path.name for path in shm_dir.iterdir()} == names


def test_sweep_is_not_fooled_by_a_pid_that_is_used_again(shm_dir: Path) -> None:
    start = process_start_time(os.getpid())
    assert start is not None
    name = f"zcrx-emu.{os.getpid()}.{start + 1}.0"
    (shm_dir / name).touch()
    assert sweep() == [name]


@pytest.mark.parametrize(
    "pattern",
    [
        "other",
        "sem.other",
        "zcrx-emu",
        "zcrx-emu.{}",
        "zcrx-emu.{}.0.1",
        "zcrx-emux.{}.0",
        "xzcrx-emu.{}.0",
        "shm.zcrx-emu.{}.0",
        "zcrx-emu.x{}.0",
        "zcrx-emu.1.x.0",
        "zcrx-emu..5.0",
        "zcrx-emu.5..0",
        "zcrx-emu.²{}.0",
    ],
)
def test_sweep_leaves_names_alone_that_are_not_ours(shm_dir: Path, dead: str, pattern: str) -> None:
    (shm_dir / pattern.format(dead)).touch()
    assert sweep() == []
    assert [path.name for path in shm_dir.iterdir()] == [pattern.format(dead)]


def test_sweep_goes_on_behind_what_it_cannot_remove(shm_dir: Path, dead: str) -> None:
    (shm_dir / f"zcrx-emu.{dead}.0").mkdir()
    (shm_dir / f"zcrx-emu.{dead}.1").touch()
    assert sweep() == [f"zcrx-emu.{dead}.1"]


def test_sweep_without_shared_memory_finds_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(segment, "SHM_DIR", tmp_path / "nosuch")
    assert sweep() == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.ENFILE])
def test_sweep_spares_those_of_whom_it_cannot_tell(
    monkeypatch: pytest.MonkeyPatch, shm_dir: Path, dead: str, number: int
) -> None:
    """On a machine without a descriptor to spare, a live run must not lose what it has made."""

    def fails(*_: object, **__: object) -> bytes:
        raise OSError(number, os.strerror(number))

    (shm_dir / f"zcrx-emu.{dead}.0").touch()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fails)
        with pytest.raises(OSError, match=os.strerror(number)):
            process_start_time(os.getpid())
        assert sweep() == []
    assert sweep() == [f"zcrx-emu.{dead}.0"]


_HUGE_MAPPING = """
from emu.runtime.segment import create_segment
size = 4 << 20
mapped = create_segment(size).map()
for at in range(0, size, 4096):
    mapped[at] = 1
text = open("/proc/self/smaps").read()
of_it = text[text.index("/dev/shm/zcrx-emu"):]
print(next(line.split()[1] for line in of_it.splitlines() if line.startswith("ShmemPmdMapped")))
"""


@pytest.mark.parametrize(("mode", "gives"), [("never", False), ("advise", True), ("always", True)])
def test_huge_pages_are_taken_where_the_mount_gives_them(mode: str, gives: bool) -> None:
    def in_a_mount_of_its_own(then: str) -> list[str]:
        mount = f"mount -t tmpfs -o huge={mode} tmpfs {SHM_DIR} && {then}"
        return ["unshare", "--mount", "sh", "-c", mount]

    if subprocess.run(in_a_mount_of_its_own("true"), capture_output=True, check=False).returncode:
        pytest.skip(f"a tmpfs with huge={mode} cannot be mounted here")
    command = [*in_a_mount_of_its_own(f'exec "{sys.executable}" -c "$0"'), _HUGE_MAPPING]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 0) is gives
