"""Whether two installations are the same package: results of two versions are no one campaign."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import emu
import faults
from emu.compile.ondemand import core_sources

_WHAT = ("*.py", "*.patch", "*.c", "*.h")


@functools.cache
def package_digest() -> str:
    """A digest of the package's files, the core's sources among them, wherever they lie."""
    digest = hashlib.sha256()
    for package in (emu, faults):
        _add(digest, Path(str(package.__file__)).parent, package.__name__)
    _add(digest, core_sources(), "cext")
    return digest.hexdigest()[:16]


def _add(digest: hashlib._Hash, root: Path, name: str) -> None:
    files = {path.relative_to(root).as_posix(): path for what in _WHAT for path in root.rglob(what)}
    for place in sorted(files):
        data = hashlib.sha256(files[place].read_bytes()).hexdigest()
        digest.update(f"{name}/{place} {data}\n".encode())
