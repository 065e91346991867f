"""Folders of our own in the place for temporary files: made, removed, swept.

Their names carry pid and start time of the process that made them, and it holds a lock on each,
so that what was left by one that was killed can be told from what is in use, in another
container, too. It goes when the next process makes one.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from emu.host.ending import signals_held_back
from emu.host.proc import process_start_time

_OURS = re.compile(r"zcrx-emu\.(\d+)\.(\d+)\.\w+")
_held: dict[Path, int] = {}  #: ours: the descriptor that has the lock


def make_scratch() -> Path:
    """Make a folder; the caller lets :func:`remove_scratch` have it."""
    _sweep_once()
    pid = os.getpid()
    folder = Path(tempfile.mkdtemp(prefix=f"zcrx-emu.{pid}.{process_start_time(pid)}."))
    with contextlib.suppress(OSError):  # no descriptor left, no locks here: the name must do
        _held[folder] = _lock(folder)
    return folder


def remove_scratch(folder: Path) -> None:
    """Remove a folder with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    if (fd := _held.pop(folder, None)) is not None:
        os.close(fd)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Have a folder for as long as it is needed."""
    folder = None
    try:
        with signals_held_back():
            folder = make_scratch()
        yield folder
    finally:
        if folder is not None:
            remove_scratch(folder)


def _lock(folder: Path) -> int:
    """Take the lock on a folder, which goes with this process.

    Raises:
        OSError: Somebody has it, or there is none to be had.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(fd)
        raise
    return fd


@functools.cache
def _sweep_once() -> None:
    with contextlib.suppress(OSError):  # what cannot be listed is not ours to complain about
        sweep()


def sweep() -> list[Path]:
    """Remove the folders of processes that are gone; those removed."""
    removed = []
    for path in Path(tempfile.gettempdir()).iterdir():
        match = _OURS.fullmatch(path.name)
        if match is None:
            continue
        try:
            # Anyone may make names there: a link is not followed, somebody else's is left alone.
            if path.is_symlink() or path.lstat().st_uid != os.getuid():
                continue
            if process_start_time(int(match[1])) == int(match[2]):
                continue
            fd = _lock(path)
        except OSError:  # it is in use, or whether it is cannot be told; or it went meanwhile
            continue
        shutil.rmtree(path, ignore_errors=True)
        os.close(fd)
        removed.append(path)
    return removed
