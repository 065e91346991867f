"""Builds the C programs beside this file when they are needed, and runs programs.

Executables are kept in ``build/bench``, under a name that has a digest of all that they
were made from; so a change of sources, flags or compiler makes a new one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .yardstick import BenchError, Unit

SOURCE_DIR = Path(__file__).resolve().parent
BUILD_DIR = SOURCE_DIR.parents[1] / "build" / "bench"
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O3", "-Wall", "-Wextra", "-Werror")
#: Beyond what a run is asked to take: for starting up, and a slow machine.
GRACE_S = 60.0

Command = Sequence[str | Path]


def compiler() -> list[str]:
    """Return the command that compiles: ``$CC``, else ``cc``."""
    return shlex.split(os.environ.get("CC", "cc"))


@functools.cache
def compiler_version() -> str:
    """Return the first line that the compiler says of itself.

    Raises:
        BenchError: There is none; without one, nothing can be measured.
    """
    try:
        return _output([*compiler(), "--version"]).splitlines()[0]
    except (IndexError, OSError, subprocess.CalledProcessError) as error:
        raise BenchError(f"no C compiler: {error}; install one, or name it in $CC") from None


@functools.cache
def package_version(package: str) -> str | None:
    """Return the version of a library that pkg-config knows, or None."""
    try:
        return _output(["pkg-config", "--modversion", package])
    except (OSError, subprocess.CalledProcessError):
        return None


def build(
    name: str,
    *,
    package: str | None = None,
    include: Path | None = None,
    more: Sequence[Path] = (),
) -> Path:
    """Build ``name.c``, unless that has been done.

    Args:
        name: A C file's stem in this folder.
        package: A library known to pkg-config that it uses.
        include: One more folder of headers.
        more: C files that are compiled with it.

    Returns:
        The executable.

    Raises:
        BenchError: It does not compile; the message has the compiler's words.
    """
    source = SOURCE_DIR / f"{name}.c"
    command = [*compiler(), *FLAGS, *_cflags(package)]
    if include is not None:
        command.append(f"-I{include}")
    command += [str(source), *map(str, more)]
    libs = _libs(package)
    executable = BUILD_DIR / f"{name}-{_digest([*command, *libs], [source, *more], include)}"
    if executable.exists():
        return executable
    BUILD_DIR.mkdir(parents=True, exist_ok=True)
    (BUILD_DIR / ".gitignore").write_text("*\n")
    # Built beside its final name and renamed: nobody ever runs half a program.
    with tempfile.TemporaryDirectory(dir=BUILD_DIR) as scratch:
        made = Path(scratch) / name
        done = subprocess.run(
            [*command, "-o", str(made), *libs],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError(f"{source.name} does not compile:\n{done.stderr}")
        for old in BUILD_DIR.glob(f"{name}-*"):
            old.unlink()
        made.rename(executable)
    return executable


def run(command: Command, seconds: float, unit: Unit) -> float:
    """Run a program that prints one JSON object with ``unit`` and ``value``.

    The program gets a process group of its own, so that whatever it started can be
    ended with it, should it not end in time or should we be interrupted.

    Args:
        command: What to run.
        seconds: How long it means to measure.
        unit: The unit that its figure must have.

    Raises:
        BenchError: It failed, took far too long, or printed something else.
    """
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds + GRACE_S)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{_shown(command)}: did not end in time") from None
    finally:
        _end(process)
    if process.returncode != 0:
        raise BenchError(f"{_shown(command)}: exit {process.returncode}: {err.strip()}")
    return _parse(command, out, unit)


def _parse(command: Command, out: str, unit: Unit) -> float:
    try:
        figure = json.loads(out.strip().splitlines()[-1])
        if figure["unit"] == unit:
            return float(figure["value"])
    except (IndexError, KeyError, TypeError, ValueError):
        pass
    raise BenchError(f"{_shown(command)}: printed {out!r}, not a figure in {unit}")


def _end(process: subprocess.Popen[str]) -> None:
    """End a process group that still runs; gently first, for it may clean up."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=3)
            return


def _shown(command: Command) -> str:
    return shlex.join([Path(command[0]).name, *map(str, command[1:])])


def _cflags(package: str | None) -> list[str]:
    """Return a library's flags, its headers spared our warnings."""
    if package is None:
        return []
    flags = shlex.split(_output(["pkg-config", "--cflags", package]))
    return [f"-isystem{f[2:]}" if f.startswith("-I") else f for f in flags]


def _libs(package: str | None) -> list[str]:
    if package is None:
        return []
    return shlex.split(_output(["pkg-config", "--libs", package]))


def _digest(command: list[str], sources: list[Path], include: Path | None) -> str:
    headers = [*sorted(SOURCE_DIR.glob("*.h")), *sorted(include.glob("*.h") if include else ())]
    parts = [compiler_version(), *command]
    parts += [p.read_text() for p in (*sources, *headers)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
