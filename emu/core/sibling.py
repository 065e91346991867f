"""A process forked beside this one, as a child of its parent (``cext/run/sibling.h``)."""

from __future__ import annotations

import ctypes
import os

from emu.core._lib import lib


def fork_sibling() -> int:
    """As :func:`os.fork`, but the child's parent is this process's own. One thread may run.

    Returns:
        0 in the child; its pid here.

    Raises:
        OSError: There is no process to be had, or this machine knows no way (``ENOSYS``).
    """
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid = int(lib.zcrx_fork_sibling())
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid))
    return pid
