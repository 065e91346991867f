"""A core whose processes dawdle at its points: built on demand, and steered through a file.

The file has a probability for each point, and counts what all processes of a run did together.
``cext/delays/delays.c`` has the same layout.
"""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import mmap
import os
import re
import struct
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from emu.bugs import Bug
from emu.compile.cache import prune
from emu.compile.ondemand import (
    compile_core,
    core_files,
    core_sources,
    digest,
    headers_digest,
    headers_of,
    in_cache,
    sources_with,
)
from emu.compile.toolchain import any_compiler
from emu.errors import EnvironmentProblem

#: Where the processes of a run find the file.
VARIABLE = "ZCRX_DELAYS"
_POINTS_MAX = 64
_SEED = struct.Struct("<Q")
_COUNTS = struct.Struct("<3Q")
_SHARES = struct.Struct("<2I")
_PROBABILITIES = struct.Struct(f"<{_POINTS_MAX}I")
_COUNTS_AT = _SEED.size
_SHARES_AT = _COUNTS_AT + _COUNTS.size
_PROBABILITIES_AT = _SHARES_AT + _SHARES.size
_WHOLE = 2**32 - 1

_FLAGS = ("-std=gnu11", "-g", "-O2", "-fPIC", "-fvisibility=hidden", "-pthread")
_DELAYS = ("-DZCRX_POINT_HEADER=<delays/points.h>",)
#: As meson has it for the product's module.
_MODULE = ("-DPy_LIMITED_API=0x030b0000",)
#: An access of its own in ``shm.h`` for each; what is not named there is no point.
_POINT = re.compile(r"^\tX\(([A-Z_]+)\)", re.MULTILINE)


def points() -> tuple[str, ...]:
    """The names of the core's points, in order."""
    return tuple(_POINT.findall((core_sources() / "wire" / "shm.h").read_text()))


def _module_source(sources: Path) -> Path:
    """The C source of the extension module, as cffi makes it."""
    builder = sources / "build_core.py"
    made_by = [importlib.metadata.version("cffi").encode(), sys.version.encode()]
    key = digest([builder.read_bytes(), *headers_of(sources), *made_by])
    return in_cache(f"{key}.module", [sys.executable, str(builder)])


def build_delayed_core(bug: Bug | None = None) -> Path:
    """Build the extension module with delays at its points, or find it built already.

    Args:
        bug: A seeded bug to put in, or None.

    Returns:
        The module, in the cache folder; ``ZCRX_EMU_CORE`` takes it.

    Raises:
        EnvironmentProblem: There is no compiler, it failed, or Python's headers are missing.
        StaleBugError: The seeded bug does not fit the sources.
    """
    compiler = any_compiler()
    include = sysconfig.get_path("include")
    if not (Path(include) / "Python.h").is_file():
        raise EnvironmentProblem(
            "build: Python.h is missing; the core is built on demand, so install Python's headers"
        )
    with sources_with(bug) as sources:
        headers = headers_digest(sources)
        core = [*core_files(sources), sources / "delays" / "delays.c"]
        flags: tuple[str, ...] = (*_FLAGS, *_DELAYS)
        wanted = [(path, flags) for path in core]
        module = (*_FLAGS, *_DELAYS, *_MODULE, f"-I{include}")
        wanted.append((_module_source(sources), module))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(
                pool.map(
                    lambda item: compile_core(compiler, sources, *item, headers=headers), wanted
                )
            )
    key = digest([path.name.encode() for path in objects])
    command = [compiler.path, "-shared", *map(str, objects), "-ldl", "-lm", "-lpthread", "-o"]
    path = in_cache(f"{key}.abi3.so", command)
    prune()
    return path


@dataclass(frozen=True, slots=True)
class Dawdled:
    """How often the processes of some runs dawdled."""

    spins: int
    yields: int
    sleeps: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.spins + self.yields + self.sleeps


class DelayFile:
    """The settings of all processes that are started with :attr:`environment`.

    It has no name in the file system, so none is left whatever ends us: others find it
    through the descriptor that we have open. A context manager: leaving it closes that.

    Args:
        path: Where somebody else's is found; None makes one.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            self._fd = os.memfd_create("zcrx-emu-delays", os.MFD_CLOEXEC)
            os.ftruncate(self._fd, mmap.PAGESIZE)
            path = Path(f"/proc/{os.getpid()}/fd/{self._fd}")
        else:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.path = path  #: valid while it is open here
        self._map = mmap.mmap(self._fd, mmap.PAGESIZE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._map.close()
        os.close(self._fd)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find the file."""
        return {VARIABLE: str(self.path)}

    def set(
        self, seed: int, everywhere: float, at: Mapping[str, float], *, sleeps: float, yields: float
    ) -> None:
        """Set what the processes do from now on.

        Args:
            seed: Of this run, u64.
            everywhere: Probability to dawdle at a point, 0 to 1.
            at: Probability at some points, by name.
            sleeps: Share of what is done that sleeps (50 to 200 us), 0 to 1.
            yields: Share that yields; the rest spins (up to some microseconds).
        """
        names = points()
        row = [int(at.get(name, everywhere) * _WHOLE) for name in names]
        row += [0] * (_POINTS_MAX - len(row))
        _SEED.pack_into(self._map, 0, seed)
        _SHARES.pack_into(self._map, _SHARES_AT, int(yields * _WHOLE), int(sleeps * _WHOLE))
        _PROBABILITIES.pack_into(self._map, _PROBABILITIES_AT, *row)

    def dawdled(self) -> Dawdled:
        """How often they dawdled so far, all together."""
        return Dawdled(*_COUNTS.unpack_from(self._map, _COUNTS_AT))
