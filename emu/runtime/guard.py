"""What keeps a consumer's code out of the other processes of a run.

It runs as the same user, and that user may look into every process of its own: open its
descriptors through ``/proc``, read and write its memory, trace it. So whatever holds kernel-side
memory is made *undumpable*, which takes it from its user's reach; and a consumer gives up what
lets root reach it all the same. ``docs/trust.md`` says what is left.
"""

from __future__ import annotations

import ctypes
import threading
from types import TracebackType
from typing import Self

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522

#: Capabilities by which a process reaches into others, or into the machine below them.
_GIVEN_UP = {
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
    "CAP_CHECKPOINT_RESTORE": 40,
}


def _prctl(option: int, *arguments: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    return int(libc.prctl(option, *values))


def hide() -> None:
    """Let nobody of the same user look into this process."""
    _prctl(_PR_SET_DUMPABLE, 0)


def show() -> None:
    """Take that back."""
    _prctl(_PR_SET_DUMPABLE, 1)


class Hidden:
    """This process is hidden while any of these is entered; then it is again what it was.

    For the control process: it may be somebody's notebook, who wants to debug it afterwards.
    """

    _lock = threading.Lock()
    _entered = 0
    _before = 1

    def __enter__(self) -> Self:
        cls = type(self)
        with cls._lock:
            if cls._entered == 0:
                cls._before = _prctl(_PR_GET_DUMPABLE)
                hide()
            cls._entered += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        cls = type(self)
        with cls._lock:
            cls._entered -= 1
            if cls._entered == 0 and cls._before == 1:  # no other value can be set again
                show()


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def give_up_powers() -> None:
    """Lose, for good and for all children, what reaches into processes that are hidden.

    The sets are cut down one after the other; what this process does not have it cannot lose, so
    an error is none. A helper that is setuid gets nothing back: it gains no privileges at all.
    """
    for number in _GIVEN_UP.values():
        _prctl(_PR_CAPBSET_DROP, number)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(_CAPABILITY_VERSION_3, 0), (_Data * 2)()
    if libc.capget(ctypes.byref(header), data) == 0:
        for number in _GIVEN_UP.values():
            half, keep = data[number // 32], ~(1 << number % 32) & 0xFFFFFFFF
            half.effective &= keep
            half.permitted &= keep
            half.inheritable &= keep
        libc.capset(ctypes.byref(header), data)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
