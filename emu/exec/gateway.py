"""The gateway: the process that answers a program's io_uring calls, and what is heard from it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib.util
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emu.errors import ConfigError, EnvironmentProblem
from emu.exec.shape import Shape

GATEWAY = "zcrx-gateway"
_PR_SET_CHILD_SUBREAPER = 36
_MESSAGE_MAX = 4096
#: These stop us together with the program, or are no matter of ours.
_LEFT_ALONE = {
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCONT,
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGWINCH,
}
#: What Python has ignored in itself, and a program does not expect to be.
_IGNORED_BY_PYTHON = [signal.SIGPIPE, signal.SIGXFSZ]

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the gateway plays."""

    kernel: str  #: the level
    seed: int = 0
    flags: int = 0  #: ``ZCRX_EMU_…`` of the library
    shape: Shape = field(default_factory=Shape)  #: of what arrives
    explains: bool = False  #: each refused registration, in words
    faults: str = ""  #: the plan of each ring: docs/library.md, "Faults"


class GatewayDied(EnvironmentProblem):
    """The gateway is gone, and the program had no io_uring from then on; start it again."""


def gateway_file() -> Path:
    """The gateway's program: beside the compiled module, or in the build that has both.

    Raises:
        EnvironmentProblem: This installation has none.
    """
    spec = importlib.util.find_spec("emu._core")
    if spec is None or spec.origin is None:
        raise EnvironmentProblem("exec: this installation was built without its C core")
    folder = Path(spec.origin).resolve().parent
    for candidate in (folder / GATEWAY, folder / "exec" / GATEWAY):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise EnvironmentProblem(f"exec: {GATEWAY} is missing beside {str(folder)!r}")


def arguments_of(settings: Settings, control: int) -> list[str]:
    """What the gateway's program is called with, but the command: see ``cext/exec/main.c``.

    Args:
        settings: What is played.
        control: Descriptor of a socket, over which signals go there and messages come from there.
    """
    words = [control, settings.kernel, settings.seed, settings.flags]
    return [
        *map(str, words),
        settings.shape.words(),
        str(int(settings.explains)),
        settings.faults,
    ]


def run(settings: Settings, command: Sequence[str], on_message: Callable[[Message], object]) -> int:
    """Run a program under a gateway until nobody is left of it.

    Signals that are sent to this process are the program's; those of a terminal it has already.

    Args:
        settings: What is played.
        command: The program, found as a shell does, and its arguments.
        on_message: Called with all that the gateway says of the program's rings, in a thread of
            its own.

    Returns:
        The program's exit status; 128 and the signal's number if one ended it.

    Raises:
        ConfigError: The program cannot be started.
        EnvironmentProblem: This machine or its sandbox does not let its calls be answered.
        GatewayDied: The gateway was killed.
    """
    waited = signal.valid_signals() - _LEFT_ALONE
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    try:
        with _Gateway(settings, command, before, on_message) as gateway:
            return gateway.serve(waited)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Gateway:
    """One gateway, from its start to its end."""

    def __init__(
        self,
        settings: Settings,
        command: Sequence[str],
        mask: set[int],
        on_message: Callable[[Message], object],
    ) -> None:
        self._command = command
        self._on_message = on_message
        self._status: int | None = None
        self._program: int | None = None
        self._refusal: Message | None = None
        # If it dies its children are ours: we still wait for the program then.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            theirs.set_inheritable(True)
            self._pid = os.posix_spawn(
                gateway_file(),
                [GATEWAY, *arguments_of(settings, theirs.fileno()), *command],
                os.environ,
                setsigmask=mask,
                setsigdef=_IGNORED_BY_PYTHON,
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> _Gateway:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while text := self._socket.recv(_MESSAGE_MAX):
                self._hear(json.loads(text))

    def _hear(self, message: Message) -> None:
        match message["event"]:
            case "started":
                self._program = message["pid"]
            case "ended":
                self._status = message["status"]
            case "refused":
                self._refusal = message
            case _:
                self._on_message(message)

    def serve(self, waited: set[signal.Signals]) -> int:
        """Pass on signals until the gateway ends, which it does after the program."""
        how: int | None = None
        while how is None:
            info = signal.sigwaitinfo(waited)
            if info.si_signo == signal.SIGCHLD:
                how = self._reap()
            elif info.si_code <= 0:  # sent by a process; a terminal's the program has itself
                self._pass_on(info.si_signo)
        self._listener.join()
        if self._refusal is not None:
            raise self._why(self._refusal)
        if how != 0 or self._status is None:
            self._await_program()
            raise GatewayDied(
                f"exec: {GATEWAY} ended ({_how(how)}) before the program did; the program's "
                "io_uring calls failed with ENOSYS from then on"
            )
        return _exit_code(self._status)

    def _reap(self) -> int | None:
        """The gateway's status, if it has ended; others' that came to us are nobody's."""
        how = None
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                if pid == self._pid:
                    how = status
                elif pid == self._program:
                    self._program = None
        return how

    def _pass_on(self, number: int) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self._socket.send(number.to_bytes(4, "little"), socket.MSG_DONTWAIT)

    def _await_program(self) -> None:
        if self._program is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._program, 0)

    def _why(self, refusal: Message) -> ConfigError | EnvironmentProblem:
        number = int(refusal["error"])
        said = os.strerror(number)
        if refusal["step"] == "exec":
            return ConfigError.of("PROGRAM", self._command[0], f"it cannot be started ({said})")
        if refusal["step"] == "faults":
            return ConfigError(f"--faults: {refusal['why']}")
        if refusal["step"] == "open":
            return EnvironmentProblem(
                f"exec: the gateway cannot be set up ({said}): are there files, memory and "
                "inotify instances (fs.inotify.max_user_instances) left?"
            )
        if refusal["step"] == "fork":
            return EnvironmentProblem(f"exec: no process can be made ({said})")
        if refusal["step"] == "look":
            return EnvironmentProblem(
                f"exec: a process may not look at its own child here ({said}): "
                "/proc is not mounted, kernel.yama.ptrace_scope is 2 or 3, or a sandbox forbids "
                "process_vm_readv, process_vm_writev, pidfd_open or pidfd_getfd"
            )
        if refusal["step"] == "call":
            return EnvironmentProblem(
                f"exec: a sandbox refuses io_uring's calls ({said}) before they can be answered: "
                "allow io_uring_setup, io_uring_enter and io_uring_register in it"
            )
        return EnvironmentProblem(f"exec: {_ABOUT_FILTER.get(number, said)}")


_ABOUT_FILTER = {
    errno.EINVAL: "this kernel cannot hand over a program's calls; Linux 5.19 or later is needed",
    errno.ENOSYS: "seccomp is not there: it was left out of this kernel, or a sandbox hides it",
    errno.EPERM: "a sandbox forbids to install a seccomp filter",
    errno.EACCES: "a sandbox forbids to install a seccomp filter",
    errno.EBUSY: "somebody answers this process's calls already (a seccomp listener); only one can",
}


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
