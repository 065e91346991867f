"""Shared-memory objects: made, handed over, mapped, never left behind.

An object has a name only within the statement that makes it: it is unlinked at
once, no signal's handler runs in between, and processes get it as a descriptor.
So no other process can open it, and ``kill -9`` of everything leaves nothing.
Names carry the owner's pid and start time: what a ``kill -9`` between the two
calls of that statement left is swept at the next start.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import mmap
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import posix_ipc

from emu.errors import ConfigError, EnvironmentProblem
from emu.host.ending import signals_held_back
from emu.host.proc import process_start_time

PREFIX = "zcrx-emu"
SHM_DIR = Path("/dev/shm")
_MADV_POPULATE_WRITE = 23  # since Linux 5.14: as if each page were written, but with an error code
_HUGE_PAGE = 2 << 20
_GIB = 1 << 30
_counter = itertools.count()


@functools.cache
def _own_start_time(pid: int) -> int:
    """Ours, read once: a later moment may have no descriptor left to read it with."""
    start = process_start_time(pid)
    assert start is not None
    return start


def _name() -> str:
    pid = os.getpid()
    return f"/{PREFIX}.{pid}.{_own_start_time(pid)}.{next(_counter)}"


def map_only(fd: int, size: int) -> mmap.mmap:
    """Map an object, and keep no descriptor on it beside the caller's."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, trackfd=False)
    mapped = mmap.mmap(fd, size)
    _plug_duplicates(fd)
    return mapped


def _plug_duplicates(fd: int) -> None:
    """Put /dev/null in the place of the descriptor that an mmap object keeps for itself."""
    ours = os.fstat(fd)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own descriptor is gone
            if int(name) != fd and os.path.samestat(os.fstat(int(name)), ours):
                os.dup2(null, int(name), inheritable=False)
    os.close(null)


@dataclass(frozen=True, slots=True)
class Segment:
    """One unnamed shared-memory object, held by its descriptor."""

    fd: int
    size: int  #: bytes

    def map(self) -> mmap.mmap:
        """Map all of it, readable and writable."""
        return map_only(self.fd, self.size)

    def close(self) -> None:
        """Close the descriptor; mappings live on."""
        os.close(self.fd)


def shm_available() -> int:
    """Bytes of shared memory that can still be had."""
    stat = os.statvfs(SHM_DIR)
    return stat.f_bavail * stat.f_frsize


def how_to_enlarge(wanted: int) -> str:
    """Advice for whoever wants so many bytes: a container is given 64 MiB, and asks outside."""
    size = f"{wanted // _GIB + 1}g"
    return (
        f"enlarge it: mount -o remount,size={size} {SHM_DIR}, "
        f"or start a container with --shm-size={size}"
    )


@functools.cache
def _gives_huge_pages() -> bool:
    """Whether a mapping of ours gets huge pages if it asks (the mount's ``huge=advise``).

    With ``always`` and ``within_size`` there are huge pages without a word, with ``never`` none.
    """
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
        options = [fields[3] for fields in map(str.split, mounts) if fields[1] == str(SHM_DIR)]
    return bool(options) and "huge=advise" in options[-1].split(",")


def _ask_for_huge_pages(fd: int, size: int) -> None:
    """Fill an object with huge pages as far as there are any; what is left is for the caller."""
    with mmap.mmap(fd, size) as mapped, contextlib.suppress(OSError):
        mapped.madvise(mmap.MADV_HUGEPAGE)
        mapped.madvise(_MADV_POPULATE_WRITE)


def create_segment(size: int) -> Segment:
    """Make an object of ``size`` zero bytes, mode 0600, memory reserved, name gone.

    Raises:
        EnvironmentProblem: Shared memory is short or cannot be had at all.
    """
    name = _name()
    try:
        with signals_held_back():
            try:
                shared = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, mode=0o600)
            finally:  # whatever comes in between, through another thread
                with contextlib.suppress(posix_ipc.ExistentialError):
                    posix_ipc.unlink_shared_memory(name)
    except (posix_ipc.Error, OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"shared memory: an object of {size} bytes cannot be made ({error}); "
            f"{SHM_DIR} must be a writable tmpfs"
        ) from None
    try:
        os.ftruncate(shared.fd, size)
        if size >= _HUGE_PAGE and _gives_huge_pages():
            _ask_for_huge_pages(shared.fd, size)
        # tmpfs hands out pages on first touch and kills the toucher when it
        # cannot: ask for all of them now, where the answer is an error code.
        os.posix_fallocate(shared.fd, 0, size)
    except (OSError, OverflowError) as error:
        os.close(shared.fd)
        number = error.errno if isinstance(error, OSError) else errno.EFBIG
        if number in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EINVAL):
            raise EnvironmentProblem(
                f"shared memory: {size} bytes wanted, {shm_available()} available in {SHM_DIR}; "
                f"{how_to_enlarge(size)}"
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
            f"it needs {wanted} bytes of shared memory and {available} are available in {SHM_DIR}; "
            f"{how_to_enlarge(wanted)}",
        )


def _leftovers() -> Iterator[Path]:
    for path in SHM_DIR.iterdir():
        name = path.name.removeprefix("sem.")
        parts = name.split(".")
        # Anyone may make names here: only those are read that could be ours.
        if len(parts) != 4 or parts[0] != PREFIX:
            continue
        if not all(part.isascii() and part.isdecimal() for part in parts[1:]):
            continue
        try:
            start = process_start_time(int(parts[1]))
        except OSError:  # it cannot be told whether its owner lives: then it does
            continue
        if start != int(parts[2]):
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
