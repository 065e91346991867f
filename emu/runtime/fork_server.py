"""Where the processes of a run come from: one that has loaded what they need, and is forked.

Python takes longer to start than a run takes to set up, and a run has four processes or more. So
one is started, the *fork server*; each worker is forked from it when it is wanted, as a child of
the control process (``cext/run/sibling.h``), which waits for it, and whose end is its end. The
server holds no memory of a run, runs nobody else's code, and cannot be looked into by a consumer.

Who makes many runs keeps one for all of them: :func:`kept`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from emu.host.proc import ARGUMENTS_END, ARGUMENTS_START, stat_words
from emu.runtime.channel import Channel

ROLE = "fork-server"
#: Room in its command line for that of any worker, which takes its place in what is forked.
_ROOM = "." * 64
_MESSAGE_MAX = 1 << 12
ANSWER_S = 20.0  #: for a server to start on a busy machine, and to fork
_STREAMS = 3
_NAMESPACES = ("ipc", "mnt", "net", "pid_for_children", "time_for_children", "user", "uts")


class Child:
    """A child of this process that nothing of Python's made; waited for as a ``Popen`` is."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative if a signal ended it; None while it lives."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody waits for any child: how it ended is lost
                pid, status = self.pid, 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutExpired: It lives on (of :mod:`subprocess`).
        """
        while self.poll() is None:
            try:
                fd = os.pidfd_open(self.pid)
            except ProcessLookupError:  # somebody waited for it just now
                continue
            try:
                poller = select.poll()
                poller.register(fd, select.POLLIN)
                if not poller.poll(None if timeout is None else timeout * 1000):
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            finally:
                os.close(fd)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it, if it lives."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[bytes] | Child


# ---- the control process's side -------------------------------------------------------


#: Of an environment: what changes from test to test, and tells a worker nothing.
_PASSING = frozenset({"PYTEST_CURRENT_TEST"})
#: Of ``/proc/self/status``: what a child has from its parent, and keeps.
_TAKEN_OVER = (
    b"Umask:",
    b"Uid:",
    b"Gid:",
    b"Groups:",
    b"SigBlk:",
    b"Cap",
    b"NoNewPrivs:",
    b"Seccomp",
    b"Cpus_allowed:",
)


def conditions(python: Sequence[str], environment: Mapping[str, str]) -> tuple[object, ...]:
    """What a process takes over from whoever starts it, and this one may have changed since."""
    limits = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
    status = Path("/proc/thread-self/status").read_bytes().splitlines()
    return (
        # The kernel ends a child with the thread that made it.
        os.getpid(),
        threading.get_native_id(),
        tuple(python),
        tuple(sorted(environment.items())),
        tuple(resource.getrlimit(limit) for limit in limits),
        (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)),
        tuple(line for line in status if line.startswith(_TAKEN_OVER)),
        Path("/proc/self/cgroup").read_bytes(),
        os.readlink("/proc/self/root"),
        tuple(_namespace(name) for name in _NAMESPACES),
    )


def _namespace(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{name}")
    except OSError:
        return ""


class ForkServer:
    """A fork server of this thread's.

    Args:
        python: The command that starts Python for it, without a module.
        environment: Its environment, which is that of all workers.
        surroundings: What it has from us now; see :func:`conditions`.

    Raises:
        OSError: There is no process, or no descriptor, to be had.
    """

    def __init__(
        self,
        python: Sequence[str],
        environment: Mapping[str, str],
        surroundings: tuple[object, ...] = (),
    ) -> None:
        self.conditions = surroundings
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [
                        *(*python, "-m", "emu.runtime.worker", ROLE),
                        *(str(theirs.fileno()), str(os.getpid()), _ROOM),
                    ],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=dict(environment),
                    process_group=0,
                )
        except BaseException:
            ours.close()
            raise
        ours.settimeout(ANSWER_S)
        self._socket = ours
        self.is_usable = True

    def fork(
        self,
        words: Sequence[str],
        channel: socket.socket,
        *,
        stdout: int = 1,
        stderr: int = 2,
        leads_session: bool = False,
    ) -> Child | None:
        """Start a worker; None if that must be done without a server, which is then closed.

        Args:
            words: Its role, and what else its command line says.
            channel: The end of its control channel, which it gets.
            stdout: What is its standard output; stdin is ``/dev/null``.
            stderr: What is its standard error.
            leads_session: It begins a session, not only a process group.
        """
        if not self.is_usable:
            return None
        try:
            pid = self._ask(words, (channel.fileno(), stdout, stderr), leads_session)
        except (OSError, ValueError):
            pid = 0
        except BaseException:  # what it answers now nobody waits for
            self.close()
            raise
        if pid <= 0:
            self.close()
            return None
        if not leads_session:
            with contextlib.suppress(OSError):  # it has done so itself
                os.setpgid(pid, pid)
        return Child(pid)

    def _ask(self, words: Sequence[str], fds: Sequence[int], leads_session: bool) -> int:
        folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            message = json.dumps({"words": list(words), "leads_session": leads_session})
            socket.send_fds(self._socket, [message.encode()], [folder, *fds])
        finally:
            os.close(folder)
        return int(self._socket.recv(_MESSAGE_MAX) or b"0")

    def close(self) -> None:
        """End it; what was forked goes on. Safe to call twice."""
        self.is_usable = False
        self._socket.close()
        self._process.kill()
        self._process.wait()


class _Kept(threading.local):
    """Of a thread: whether a server is kept for the next run, and which."""

    def __init__(self) -> None:
        self.depth = 0
        self.server: ForkServer | None = None


_kept = _Kept()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within, runs of this thread share one server; it is ended when this is left."""
    _kept.depth += 1
    try:
        yield
    finally:
        _kept.depth -= 1
        if not _kept.depth and _kept.server is not None:
            server, _kept.server = _kept.server, None
            server.close()


def take(python: Sequence[str], environment: Mapping[str, str]) -> ForkServer | None:
    """A server to start workers with: the one that is kept, if it can be it still, or another.

    Give it back with :func:`give_back`. None: there is none to be had.
    """
    server, _kept.server = _kept.server, None
    environment = {name: value for name, value in environment.items() if name not in _PASSING}
    with contextlib.suppress(OSError):  # then it is done without one, or fails there
        wanted = conditions(python, environment)
        if server is not None and server.is_usable and server.conditions == wanted:
            return server
        made = ForkServer(python, environment, wanted)
        if server is not None:
            server.close()
        return made
    if server is not None:
        server.close()
    return None


def load_ahead(python: Sequence[str], environment: Mapping[str, str]) -> None:
    """Begin to start a server for the run that comes; within :func:`kept`."""
    server = take(python, environment)
    if server is not None:
        give_back(server)


def give_back(server: ForkServer) -> None:
    """It is needed no more, or not now."""
    if _kept.depth and _kept.server is None and server.is_usable:
        _kept.server = server
    else:
        server.close()


def start(
    server: ForkServer | None,
    python: Sequence[str],
    environment: Mapping[str, str],
    words: Sequence[str],
    *,
    stdout: int = 1,
    stderr: int = 2,
    leads_session: bool = False,
) -> tuple[Process, Channel]:
    """Start a worker: forked from the server, or by a Python of its own; see :meth:`.fork`.

    Returns:
        The worker, and our end of its control channel.

    Raises:
        OSError: There is no process to be had.
    """
    if server is not None and server.is_usable:
        channel, theirs = Channel.pair()
        try:
            with theirs:
                child = server.fork(
                    words, theirs, stdout=stdout, stderr=stderr, leads_session=leads_session
                )
        except BaseException:
            channel.close()
            raise
        if child is not None:
            return child, channel
        # It may have forked one, and died before it said so: that one sees nobody here.
        channel.close()
    channel, theirs = Channel.pair()
    role, *rest = words
    try:
        with theirs:
            process = subprocess.Popen(
                [*python, "-m", "emu.runtime.worker", role, str(theirs.fileno()), *rest],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=None if stdout == 1 else stdout,
                stderr=None if stderr == 2 else stderr,
                env=dict(environment),
                start_new_session=leads_session,
                process_group=None if leads_session else 0,
            )
    except BaseException:
        channel.close()
        raise
    return process, channel


# ---- the server itself ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Order:
    """A worker that is to be forked."""

    words: list[str]
    leads_session: bool
    channel: int
    folder: int
    stdout: int
    stderr: int


def serve(fd: int, run: Callable[[Sequence[str]], object]) -> None:
    """Fork a worker whenever the control process wants one, until it is gone.

    Args:
        fd: Our end of the socket that it asks through.
        run: What a worker does, given the words of its command line; not to return is its affair.
    """
    from emu.core import fork_sibling

    asked = socket.socket(fileno=fd)
    start = _arguments()
    gc.freeze()  # what is loaded stays: no collector is to copy its pages in every child
    while (order := _receive(asked)) is not None:
        try:
            pid = fork_sibling()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            asked.close()
            _become(order, start, run)
        for inherited in (order.channel, order.folder, order.stdout, order.stderr):
            os.close(inherited)
        asked.sendall(str(pid).encode())


def _receive(asked: socket.socket) -> _Order | None:
    data, fds, _flags, _address = socket.recv_fds(asked, _MESSAGE_MAX, 8)
    if not data:
        return None
    message: dict[str, Any] = json.loads(data)
    folder, channel, stdout, stderr = fds
    return _Order(message["words"], message["leads_session"], channel, folder, stdout, stderr)


def _become(
    order: _Order, arguments: tuple[int, int], run: Callable[[Sequence[str]], object]
) -> NoReturn:
    """In the child: take the place that a process of its own would have."""
    code = 1
    try:
        if order.leads_session:
            os.setsid()
        else:
            os.setpgid(0, 0)
        os.fchdir(order.folder)
        os.close(order.folder)
        for at, fd in ((1, order.stdout), (2, order.stderr)):
            os.dup2(fd, at)
            os.close(fd)
        words = [order.words[0], str(order.channel), *order.words[1:]]
        _show(words, arguments)
        run(words)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _arguments() -> tuple[int, int]:
    """Where this process's command line is in its memory; the same place in what it forks."""
    words = stat_words(os.getpid())
    return int(words[ARGUMENTS_START]), int(words[ARGUMENTS_END])


def _show(words: Sequence[str], arguments: tuple[int, int]) -> None:
    """Have ``ps`` show the role, and what looks for it."""
    start, end = arguments
    now = ctypes.string_at(start, end - start).split(b"\0")
    front = now[: now.index(ROLE.encode())]
    line = b"\0".join([*front, *(os.fsencode(word) for word in words)])
    if len(line) < end - start:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, line, len(line))
