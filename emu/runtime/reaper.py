"""The process above a consumer's: whatever the consumer started goes when it goes.

A consumer runs other people's code, which may fork, leave its session and fork again; what it
leaves behind would belong to nobody. So its process is made by a small one that stays above it,
the *reaper*. Linux gives it every orphan below it. It waits for the consumer, ends what is left,
and then ends in the same way as the consumer did, which is what the control process sees.

It is not dumpable, holds no memory of the run, and goes with the control process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from emu.host.proc import PARENT, START_TICKS, STATE, stat_words
from emu.runtime.channel import Channel, Event
from emu.runtime.guard import hide, show

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NAME = 15
_SWEEP_S = 5.0  #: for what forks as fast as it is ended


class _Ended(BaseException):
    """The control process wants this one to end, or is gone."""


@dataclass(frozen=True, slots=True)
class Relative:
    """A process below another one, as it was found."""

    pid: int
    start: int  #: clock ticks since boot: tells it from a later one of the same number
    is_dead: bool  #: nobody has waited for it yet


def parent_of(pid: int) -> int | None:
    """Parent of a process; None if there is no such process, or that cannot be told."""
    try:
        return int(stat_words(pid)[PARENT])
    except OSError:
        return None


def relatives_of(root: int) -> list[Relative]:
    """All processes below a process, those next to it first."""
    children: dict[int, list[Relative]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):  # gone meanwhile
                words = stat_words(int(name))
                found = Relative(int(name), int(words[START_TICKS]), words[STATE] in "ZX")
                children.setdefault(int(words[PARENT]), []).append(found)
    below: list[Relative] = []
    above = [root]
    while above:
        above = [child.pid for pid in above for child in _taken(children, pid, below)]
    return below


def _taken(children: dict[int, list[Relative]], pid: int, below: list[Relative]) -> list[Relative]:
    found = children.pop(pid, [])
    below += found
    return found


def _send(relative: Relative, number: int) -> None:
    """Signal the very process that was found, and no later one of the same number."""
    with contextlib.suppress(OSError):
        fd = os.pidfd_open(relative.pid)
        try:
            if int(stat_words(relative.pid)[START_TICKS]) == relative.start:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


def sweep(root: int, spared: int | None = None) -> int:
    """End every process below this one; how many.

    Args:
        root: This process.
        spared: A child that is dead already, and is waited for elsewhere.
    """
    ended: set[tuple[int, int]] = set()
    deadline = time.monotonic() + _SWEEP_S
    while time.monotonic() < deadline:
        found = [one for one in relatives_of(root) if one.pid != spared]
        if not found:
            break
        alive = [one for one in found if not one.is_dead]
        for one in alive:  # at first they must not fork on
            _send(one, signal.SIGSTOP)
        for one in alive:
            _send(one, signal.SIGKILL)
        ended |= {(one.pid, one.start) for one in alive}
        for one in found:
            with contextlib.suppress(ChildProcessError):  # it is another one's child, as yet
                os.waitpid(one.pid, 0 if one in alive else os.WNOHANG)
    return len(ended)


def fork_consumer(fd: int) -> int:
    """Go on in a child; the process that calls this stays above it as its reaper.

    Args:
        fd: The control channel.

    Returns:
        In the child alone: the reaper's pid.
    """
    reaper = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Of the control process, or because that has died. It is heard at one place only, see below.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, _end)
    hide()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        show()  # its code is its user's, who may want to debug it
        os.close(tell)
        os.read(told, 1)  # the control process must know which process it is first
        os.close(told)
        return reaper
    libc.prctl(_PR_SET_NAME, b"zcrx-reaper", 0, 0, 0)
    os.close(told)
    _watch(child, fd, tell)


def _end(_signum: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Ended


def _watch(child: int, fd: int, tell: int) -> NoReturn:
    import socket

    number, is_signal = signal.SIGKILL.value, True
    channel = None
    try:
        channel = Channel(socket.socket(fileno=fd))
        with contextlib.suppress(OSError):  # the control process is gone, which ends us soon
            channel.say(Event.STARTED, number=child)
        os.close(tell)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        end = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        # What came before this call is heard within it, and nothing behind it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        assert end is not None
        number, is_signal = end.si_status, end.si_code != os.CLD_EXITED
    except _Ended:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    _leave(child, channel)
    if is_signal:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of the control process: it is too late
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(number if not is_signal else 128 + number)


def _leave(child: int, channel: Channel | None) -> None:
    """End what is left; the consumer's number is given back last, so that nobody gets it before."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)  # a dead one is not waited for yet, and takes no notice
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    count = sweep(os.getpid(), child)
    if count and channel is not None:
        with contextlib.suppress(OSError):
            channel.say(Event.SWEPT, number=count)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
