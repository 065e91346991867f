"""Building C programs on demand, from the core's own sources, and once for each kind.

What was built lies in the cache (:mod:`emu.compile.cache`) under a name that is made from
everything that went into it: sources, flags, compiler.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from emu.bugs import Bug
from emu.compile import cache
from emu.compile.toolchain import Compiler
from emu.errors import EnvironmentProblem
from emu.host.descriptors import OF_BUILD, need
from emu.host.scratch import scratch


def core_sources() -> Path:
    """The folder of the core's sources: beside the package when installed, else the checkout's."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "cext", package.parent / "cext"):
        if (folder / "fuzz" / "main.c").is_file():
            return folder
    raise EnvironmentProblem(f"sources: the C sources are missing beside {str(package)!r}")


#: The folders of what the module of the emulator itself is made of.
CORE_ROOMS = ("wire", "kernel", "run", "actors", "faults", "judge", "raw")
#: Of the library's room: what whoever watches a consumer of somebody else's counts with.
_OF_LIBRARY = ("lib/ledger.c", "lib/report.c")


def core_files(sources: Path) -> list[Path]:
    """The C files of which the emulator's own module is made."""
    files = [path for room in CORE_ROOMS for path in sorted((sources / room).glob("*.c"))]
    return [*files, *(sources / name for name in _OF_LIBRARY)]


def digest(parts: list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:24]


def headers_of(sources: Path) -> list[bytes]:
    """The text of each header, in the order of their names; rooms may be links."""
    rooms = os.walk(sources, followlinks=True)
    paths = [Path(room, name) for room, _, names in rooms for name in names]
    return [path.read_bytes() for path in sorted(paths) if path.suffix == ".h"]


def headers_digest(sources: Path) -> str:
    """Of all of them: a change of one may be a change of each file."""
    return digest(headers_of(sources))


def run_compiler(command: list[str]) -> str:
    """Run it; what it wrote to stdout.

    Raises:
        EnvironmentProblem: It failed; its first error.
    """
    need(OF_BUILD, "a compiler")
    with scratch() as folder:  # a compiler that is killed leaves what it had in there
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "AFL_QUIET": "1", "TMPDIR": str(folder)},
        )
    if process.returncode:
        lines = (process.stderr or process.stdout).strip().splitlines()
        errors = [line for line in lines if "error" in line] or lines or ["no message"]
        raise EnvironmentProblem(f"build: {command[0]} failed: {errors[0].strip()}")
    return process.stdout


def in_cache(name: str, command_to: list[str]) -> Path:
    """Have a file made by a command that takes its name last; nobody sees half of it."""
    return cache.in_cache(name, lambda part: run_compiler([*command_to, str(part)]))


def compile_core(
    compiler: Compiler,
    sources: Path,
    source: Path,
    flags: Sequence[str],
    *,
    mapped: bool = True,
    headers: str = "",
) -> Path:
    """Compile a file of the core's, or find it compiled already; the object file.

    Args:
        compiler: By which.
        sources: The folder of the core's sources, which headers come from: it may be a copy.
        source: The file, of that folder or made from it.
        flags: More for the compiler.
        mapped: Let what it says of files speak of ``/cext``, wherever the sources are.
        headers: Digest of the sources' headers, if somebody has it who compiles more than one.
    """
    key = digest(
        [
            (headers or headers_digest(sources)).encode(),
            source.read_bytes(),
            source.name.encode(),
            compiler.path.encode(),
            compiler.version.encode(),
            # A copy that a bug was put into has another place each time.
            *(flag.replace(str(sources), "").encode() for flag in flags),
            b"" if mapped else str(sources).encode(),
        ]
    )
    places = [f"-ffile-prefix-map={sources}=/cext"] if mapped else []
    command = [compiler.path, *flags, *places, f"-I{sources}", "-x", "c", "-c", str(source), "-o"]
    return in_cache(f"{key}.o", command)


def compile_provider(
    compiler: Compiler, source: Path, flags: list[str], suffix: str, *, field: str = "provider"
) -> Path:
    """Compile a provider of the user's, or what else ``field`` names, or find it compiled already.

    What it includes, from wherever, only the compiler knows: the key is made from the text after
    preprocessing. That names the places, too, of which reports and coverage speak.

    Raises:
        EnvironmentProblem: The file cannot be read, or does not compile.
    """
    try:
        source.read_bytes()
    except OSError as error:
        raise EnvironmentProblem(
            f"{field}: {str(source)!r} cannot be read ({error.strerror})"
        ) from None
    path = source.resolve()
    flags = [*flags, f"-I{path.parent}"]
    text = run_compiler([compiler.path, *flags, "-E", str(path)])
    key = digest([text.encode(), compiler.version.encode(), *(flag.encode() for flag in flags)])
    return in_cache(f"{key}{suffix}", [compiler.path, *flags, str(path), "-o"])


@contextlib.contextmanager
def sources_with(bug: Bug | None) -> Iterator[Path]:
    """The core's sources; with a seeded bug a copy, for as long as it is needed.

    Rooms that the bug leaves alone are links: to copy them takes longer than to compile one file.

    Raises:
        StaleBugError: The bug does not fit the sources.
    """
    if bug is None:
        yield core_sources()
        return
    with scratch() as folder:
        copy = folder / "cext"
        copy.mkdir()
        changed = {Path(name).parts[0] for name in bug.files}
        for path in core_sources().iterdir():
            if path.is_file():
                shutil.copy(path, copy)
            elif path.name in changed:
                shutil.copytree(path, copy / path.name)
            else:
                (copy / path.name).symlink_to(path, target_is_directory=True)
        bug.apply(copy)
        yield copy
