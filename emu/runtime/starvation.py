"""Starving a process of CPU time: bound to the core of another one, made nice, and let go again.

Both are properties of threads in Linux, so all threads of a process are treated alike. What was
found is what is put back: whoever starves a process must not leave it spoiled.
"""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

from emu.runtime.processes import Worker

_CAP_SYS_NICE = 23
_LEAST_NICE = 20  #: RLIMIT_NICE counts down from here


def threads(pid: int) -> list[int]:
    """The threads of a process, empty when it is gone."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def _has_capability() -> bool:
    """Have we CAP_SYS_NICE where the kernel asks for it: in the first user namespace?"""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    first = Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]
    return first and bool(effective >> _CAP_SYS_NICE & 1)


def may_renice(pid: int, nice: int) -> bool:
    """May we set the niceness of a process of ours to ``nice``, from a greater one?"""
    try:
        soft, _hard = resource.prlimit(pid, resource.RLIMIT_NICE)
    except OSError:
        return False
    unlimited = soft == resource.RLIM_INFINITY
    return unlimited or soft >= _LEAST_NICE - nice or _has_capability()


class _Found:
    """Affinity and niceness of a process's threads, as they were found."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.pid = worker.pid
        self.affinity = os.sched_getaffinity(self.pid)
        self.nice = os.getpriority(os.PRIO_PROCESS, self.pid)
        self._threads: dict[int, tuple[set[int], int]] = {}
        for tid in threads(self.pid):
            with contextlib.suppress(ProcessLookupError):
                found = os.sched_getaffinity(tid), os.getpriority(os.PRIO_PROCESS, tid)
                self._threads[tid] = found

    def bind(self, core: int) -> None:
        """Bind every thread to a core."""
        for tid in self._threads:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(tid, {core})

    def renice(self, nice: int) -> None:
        """Make every thread at least so nice."""
        for tid, (_, found) in self._threads.items():
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, tid, max(nice, found))

    def put_back(self, *, nice: bool) -> None:
        """Give every thread what it had; one that is new, what its process had."""
        if self.worker.exit_code is not None:
            return  # it was reaped: the number may be somebody else's by now
        for tid in threads(self.pid):
            affinity, found = self._threads.get(tid, (self.affinity, self.nice))
            with contextlib.suppress(OSError):  # gone, or a cgroup has taken cores away
                os.sched_setaffinity(tid, affinity)
            if nice:
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, tid, found)


class Starvation:
    """A process that shares one core with another one, until :meth:`end`.

    Args:
        victim: Who is starved.
        other: Whose core it must share: the first of those that it may run on.
        nice: Least niceness of the victim meanwhile, 0 to 19.

    Raises:
        OSError: They cannot be bound; nothing was changed.
    """

    def __init__(self, victim: Worker, other: Worker, nice: int) -> None:
        self.notes: list[str] = []  #: what could not be done as it was meant
        self._victim, self._other = _Found(victim), _Found(other)
        self._is_nice = nice > self._victim.nice
        if self._is_nice and not may_renice(self._victim.pid, self._victim.nice):
            self._is_nice = False
            self.notes.append(
                f"nice={nice} left out: it could not be taken back without CAP_SYS_NICE or "
                f"an RLIMIT_NICE of {_LEAST_NICE - self._victim.nice}"
            )
        if len(os.sched_getaffinity(0)) < 2:
            self.notes.append("one core is all there is, so binding has no effect")
        try:
            core = min(self._other.affinity)
            self._other.bind(core)
            self._victim.bind(core)
            if self._is_nice:
                self._victim.renice(nice)
        except OSError:
            self.end()
            raise

    @property
    def pids(self) -> frozenset[int]:
        """Whom it is about."""
        return frozenset((self._victim.pid, self._other.pid))

    def end(self) -> None:
        """Put back what was found, for those that live."""
        self._victim.put_back(nice=self._is_nice)
        self._other.put_back(nice=False)
