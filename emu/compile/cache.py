"""What was compiled on demand: kept in the user's cache folder, used by several programs at once.

A file's name is made from everything that went into it, so nothing there is ever changed: files
are added, and pruned. Whoever uses a program or a library holds a shared lock on its file for as
long as it lives; what is locked, or was used a moment ago, is not pruned.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from emu.host.scratch import make_scratch, sweep

#: Together the files may have so many bytes; beyond that the longest unused go first.
KEPT_BYTES = 256 << 20
#: Nobody has used it for so long: it goes.
KEPT_S = 14 * 86400
#: What was used a moment ago is not pruned: an object file, which nobody locks, is needed for as
#: long as a build takes, and who builds much would lose what it needs next.
FRESH_S = 600
_OBJECTS = (".o", ".module")

_held: dict[Path, int] = {}  # descriptors with the locks of this process
_watchers: list[Callable[[str], None]] = []


def _wanted_folder() -> Path | None:
    """Where files are to be kept, as the XDG base directory specification has it."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # to be ignored, the specification says
        try:
            root = str(Path.home() / ".cache")
        except RuntimeError:
            return None
    return Path(root) / "zcrx-emu"


def _is_usable(folder: Path) -> bool:
    """Can files be made in it, as its owner's? Made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


@functools.cache
def _instead(unusable: Path | None) -> Path:
    """A folder of this process's own, in the place of one that cannot be used."""
    sweep()  # what one of us left that was killed
    folder = make_scratch()
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    _tell(f"{unusable or 'no home folder'}: cannot be written, so what is compiled is not kept")
    return folder


def cache_folder() -> Path:
    """Where builds are kept: ``$XDG_CACHE_HOME/zcrx-emu``; if it cannot be, for this process only.

    Such a folder is made like any scratch folder: what a killed process leaves is swept later.
    """
    wanted = _wanted_folder()
    return wanted if wanted is not None and _is_usable(wanted) else _instead(wanted)


@contextlib.contextmanager
def watched(tell: Callable[[str], None]) -> Iterator[None]:
    """Have a word, in a line, when something has to be compiled, from whatever thread."""
    _watchers.append(tell)
    try:
        yield
    finally:
        _watchers.remove(tell)


def _tell(text: str) -> None:
    for tell in [*_watchers]:
        tell(text)


def _hold(path: Path) -> bool:
    """Use a file that is there, and keep it from being pruned; False if there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(fd, fcntl.LOCK_SH)  # whoever has it alone lets go at once
    if os.fstat(fd).st_nlink == 0:  # it went between the two calls
        os.close(fd)
        return False
    with contextlib.suppress(OSError):  # somebody else's cache: read only
        os.utime(fd)
    if path in _held or path.name.endswith(_OBJECTS):
        os.close(fd)
    else:
        _held[path] = fd
    return True


def in_cache(name: str, make: Callable[[Path], object]) -> Path:
    """The file of that name; nobody sees half of it.

    Args:
        name: Of the file.
        make: Called with the file to write if there is none of that name yet.
    """
    path = cache_folder() / name
    while not _hold(path):
        _tell(f"compiling (once; kept in {path.parent})")
        handle, part = tempfile.mkstemp(prefix=f".{name}.", dir=path.parent)
        os.close(handle)
        try:
            make(Path(part))
            os.replace(part, path)
        finally:
            Path(part).unlink(missing_ok=True)
    return path


def prune() -> None:
    """Keep the cache small: what is too old goes, and of the rest the longest unused."""
    now, room = time.time(), KEPT_BYTES
    for path, used_at, size in sorted(_files(), key=lambda item: item[1], reverse=True):
        age = now - used_at
        room -= size
        is_part = path.name.startswith(".")  # of a build that is at work, or was killed
        if age > FRESH_S and (is_part or room < 0 or age > KEPT_S):
            _remove(path)


def _files() -> list[tuple[Path, float, int]]:
    """Each file of the cache, when it was used last, and its bytes."""
    found = []
    with contextlib.suppress(OSError):  # somebody has removed the folder
        for path in cache_folder().iterdir():
            with contextlib.suppress(OSError):  # or this file
                status = path.stat()
                found.append((path, status.st_mtime, status.st_size))
    return found


def _remove(path: Path) -> None:
    """Remove a file unless somebody uses it."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Pairs with the shared lock of whoever uses it: it is held until that process ends.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(fd)
