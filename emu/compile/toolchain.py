"""The compilers of this machine, and what they can do for a fuzzer."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from emu.errors import EnvironmentProblem
from emu.host.scratch import scratch

#: Names under which distributions install clang, newest first after the plain one.
_CLANGS = ("clang", *(f"clang-{version}" for version in range(22, 12, -1)))


@dataclass(frozen=True, slots=True)
class Compiler:
    """One C compiler."""

    path: str
    version: str  #: its first line about itself

    @property
    def is_clang(self) -> bool:
        """Whether it is clang, whatever its name."""
        return "clang" in self.version


def _describe(path: str) -> Compiler:
    try:
        process = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=60
        )
    except OSError as error:
        raise EnvironmentProblem(f"cc: {path!r} cannot be run ({error.strerror})") from None
    lines = process.stdout.splitlines()
    if process.returncode or not lines:
        raise EnvironmentProblem(f"cc: {path!r} does not say which version it is")
    return Compiler(path, lines[0])


@functools.cache
def any_compiler() -> Compiler:
    """Find the C compiler: ``$CC``, ``cc``, ``gcc`` or clang.

    Raises:
        EnvironmentProblem: There is none.
    """
    names = [os.environ["CC"]] if os.environ.get("CC") else []
    for name in (*names, "cc", "gcc", *_CLANGS):
        path = shutil.which(name)
        if path:
            return _describe(path)
    raise EnvironmentProblem(
        "cc: there is no C compiler, and what is in C is built on demand; install gcc or clang "
        "(Debian: apt install gcc libc6-dev)"
    )


def _compiles(path: str, *flags: str) -> bool:
    source = "int LLVMFuzzerTestOneInput(const char *d, unsigned long n)\n{(void)d; return !n;}\n"
    with scratch() as folder:
        probe = folder / "probe.c"
        probe.write_text(source)
        command = [path, str(probe), "-o", str(probe.with_suffix("")), *flags]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@functools.cache
def libfuzzer_compiler() -> Compiler | None:
    """Find a clang that brings libFuzzer and the sanitizers; None if there is none."""
    for name in _CLANGS:
        path = shutil.which(name)
        if path and _compiles(path, "-fsanitize=fuzzer,address"):
            return _describe(path)
    return None


@functools.cache
def afl_compiler() -> Compiler | None:
    """Find AFL++'s compiler; None if it is not installed, or cannot link a driver."""
    for name in ("afl-clang-lto", "afl-clang-fast"):
        path = shutil.which(name)
        if path and _compiles(path, "-fsanitize=fuzzer"):
            return _describe(path)
    return None


def llvm_tool(name: str, clang: Compiler) -> str | None:
    """Find ``llvm-cov`` or ``llvm-profdata`` of the same version as a clang."""
    beside = Path(clang.path).resolve().parent / name
    if beside.exists():
        return str(beside)
    suffix = Path(clang.path).name.removeprefix("clang")
    return shutil.which(f"{name}{suffix}") or shutil.which(name)
