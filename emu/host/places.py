"""Where the files are that an artifact names: a run's report, a finding.

An artifact names files by absolute paths, so that it can be used from whatever folder, and says in
which folder it was written. What is not at its absolute place any more is looked for where it lies
as seen from the artifact; so a folder that holds both can be moved, or copied to another machine.
"""

from __future__ import annotations

import os
from pathlib import Path


def absolute(path: str) -> str:
    """The absolute path of a file, of nothing the working directory; as it is if that is gone.

    Links and ``..`` are kept: what they mean is decided when the file is opened.
    """
    try:
        return os.path.join(os.getcwd(), path) if path else os.getcwd()
    except OSError:
        return path


def found_again(path: str, written_in: object, now_in: Path) -> str:
    """The path of a file that an artifact names.

    Args:
        path: As the artifact names it.
        written_in: The folder that the artifact was written into, by its own word; anything.
        now_in: The folder that it is in now.

    Returns:
        ``path``, unless there is nothing at it and there is something at the same place as seen
        from the artifact.
    """
    if not isinstance(written_in, str) or not os.path.isabs(written_in) or os.path.exists(path):
        return path
    moved = os.path.normpath(os.path.join(now_in.absolute(), os.path.relpath(path, written_in)))
    return moved if os.path.exists(moved) else path
