"""Shared-memory objects and the start barrier: made, handed over, never left behind.

An object has a name only between its creation and the next statement: it is
unlinked at once, and processes get it as a descriptor. So no other process can
open it, and ``kill -9`` of everything leaves nothing. The barrier's semaphore
keeps its name until all processes have attached. Names carry the owner's pid
and start time; what a death in between left is swept at the next start.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import posix_ipc

from emu.errors import ConfigError, EnvironmentProblem

PREFIX = "zcrx-emu"
SHM_DIR = Path("/dev/shm")
_counter = itertools.count()


def process_start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _name() -> str:
    pid = os.getpid()
    return f"/{PREFIX}.{pid}.{process_start_time(pid)}.{next(_counter)}"


@dataclass(frozen=True, slots=True)
class Segment:
    """One unnamed shared-memory object, held by its descriptor."""

    fd: int
    size: int  #: bytes

    def map(self) -> mmap.mmap:
        """Map all of it, readable and writable."""
        return mmap.mmap(self.fd, self.size)

    def close(self) -> None:
        """Close the descriptor; mappings live on."""
        os.close(self.fd)


def shm_available() -> int:
    """Bytes of shared memory that can still be had."""
    stat = os.statvfs(SHM_DIR)
    return stat.f_bavail * stat.f_frsize


def create_segment(size: int) -> Segment:
    """Make an object of ``size`` zero bytes, mode 0600, memory reserved, name gone.

    Raises:
        EnvironmentProblem: Shared memory is short or cannot be had at all.
    """
    name = _name()
    try:
        shared = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600, size=size)
    except (posix_ipc.Error, OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"shared memory: an object of {size} bytes cannot be made ({error}); "
            f"{SHM_DIR} must be a writable tmpfs"
        ) from None
    try:
        # At once, so that there is no later moment at which a death leaves it.
        posix_ipc.unlink_shared_memory(name)
        # tmpfs hands out pages on first touch and kills the toucher when it
        # cannot: ask for all of them now, where the answer is an error code.
        os.posix_fallocate(shared.fd, 0, size)
    except OSError as error:
        os.close(shared.fd)
        if error.errno in (errno.ENOSPC, errno.ENOMEM):
            raise EnvironmentProblem(
                f"shared memory: {size} bytes wanted, {shm_available()} available in {SHM_DIR}"
            ) from None
        raise
    os.set_inheritable(shared.fd, False)
    return Segment(shared.fd, size)


def check_room(field: str, value: object, wanted: int) -> None:
    """Refuse a configuration that shared memory cannot hold.

    Raises:
        ConfigError: ``wanted`` bytes are more than is available.
    """
    available = shm_available()
    if wanted > available:
        raise ConfigError.of(
            field,
            value,
            f"it needs {wanted} bytes of shared memory and {available} are available in {SHM_DIR}",
        )


class Barrier:
    """Counts the processes that have attached; its name is gone once all have."""

    def __init__(self) -> None:
        self.name = _name()
        self._semaphore = posix_ipc.Semaphore(
            self.name, posix_ipc.O_CREX, mode=0o600, initial_value=0
        )
        self._linked = True

    def wait(self, timeout_s: float) -> bool:
        """Wait for one more process; False after ``timeout_s``."""
        try:
            self._semaphore.acquire(timeout_s)
        except posix_ipc.BusyError:
            return False
        return True

    def close(self) -> None:
        """Remove the name (idempotent) and close."""
        if self._linked:
            self._linked = False
            with contextlib.suppress(posix_ipc.ExistentialError):
                self._semaphore.unlink()
            self._semaphore.close()


def announce(barrier_name: str) -> None:
    """In a process that has attached: count at the barrier."""
    semaphore = posix_ipc.Semaphore(barrier_name)
    semaphore.release()
    semaphore.close()


def _leftovers() -> Iterator[Path]:
    for path in SHM_DIR.iterdir():
        name = path.name.removeprefix("sem.")
        parts = name.split(".")
        # Anyone may make names here: only those are read that could be ours.
        if len(parts) != 4 or parts[0] != PREFIX:
            continue
        if not all(part.isascii() and part.isdecimal() for part in parts[1:]):
            continue
        if process_start_time(int(parts[1])) != int(parts[2]):
            yield path


def sweep() -> list[str]:
    """Remove what dead runs left in shared memory; the names removed."""
    removed = []
    try:
        stale = list(_leftovers())
    except OSError:
        return []
    for path in stale:
        with contextlib.suppress(OSError):  # somebody else's, or gone already
            path.unlink()
            removed.append(path.name)
    return removed
