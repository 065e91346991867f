"""Folders of our own in the place for temporary files: made, removed, swept.

Their names carry pid and start time of the process that made them, so that what was left by one
that was killed can be told from what is in use, and goes at the next start.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from emu.segment import process_start_time

_OURS = re.compile(r"zcrx-emu\.(\d+)\.(\d+)\.\w+")


def make_scratch() -> Path:
    """Make a folder; the caller removes it."""
    pid = os.getpid()
    return Path(tempfile.mkdtemp(prefix=f"zcrx-emu.{pid}.{process_start_time(pid)}."))


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Have a folder for as long as it is needed."""
    folder = make_scratch()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> list[Path]:
    """Remove the folders of processes that are gone; those removed."""
    removed = []
    for path in Path(tempfile.gettempdir()).iterdir():
        match = _OURS.fullmatch(path.name)
        # Anyone may make names there: a link is not followed, somebody else's is left alone.
        if match is None or path.is_symlink() or path.lstat().st_uid != os.getuid():
            continue
        try:
            start = process_start_time(int(match[1]))
        except OSError:  # whether its owner lives cannot be told
            continue
        if start != int(match[2]):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed
