"""Building the harness: on demand, from the core's own sources, and once for each kind.

What was built lies in the user's cache folder under a name that is made from everything that
went into it: sources, flags, compiler. Nothing is ever changed there, only added, so that
several programs may build at once.
"""

from __future__ import annotations

import concurrent.futures
import enum
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from emu.bugs import Bug
from emu.errors import EnvironmentProblem
from emu.fuzz.scratch import scratch
from emu.fuzz.toolchain import Compiler, afl_compiler, any_compiler, libfuzzer_compiler

#: What is under attack, and instrumented; the rest of the harness is not.
SUBJECT = ("provider.c", "page_pool.c", "area.c", "flight.c", "foreign.c")
_HARNESS = ("judge.c", "mutate.c", "program.c", "run.c", "sink.c", "subject.c")
_MAIN = ("main.c", "trial.c")
_COMMON = ("-std=gnu11", "-g", "-fno-omit-frame-pointer", "-DZCRX_POINT_HEADER=<fuzz/points.h>")
_WARNINGS = ("-Wall", "-Wextra", "-Werror")
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
#: Builds that nobody has used for long are removed when there are more than this.
_KEPT_BUILDS = 200


class Kind(enum.Enum):
    """What a harness is built for."""

    TOOL = "tool"  #: generate, run, minimise: any compiler
    LIBFUZZER = "libfuzzer"
    AFL = "afl"
    COVERAGE = "coverage"  #: the tool, with clang's source coverage


@dataclass(frozen=True, slots=True)
class Recipe:
    """One build.

    Attributes:
        kind: What it is for.
        sanitize: With AddressSanitizer and UndefinedBehaviorSanitizer.
        bug: A seeded bug to put in, or None.
    """

    kind: Kind
    sanitize: bool = True
    bug: Bug | None = None


def core_sources() -> Path:
    """The folder of the core's sources: beside the package when installed, else the checkout's."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "cext", package.parent / "cext"):
        if (folder / "fuzz" / "main.c").is_file():
            return folder
    raise EnvironmentProblem(f"sources: the C sources are missing beside {str(package)!r}")


def cache_folder() -> Path:
    """Where builds are kept: ``$XDG_CACHE_HOME/zcrx-emu``."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "zcrx-emu"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EnvironmentProblem(
            f"cache: {str(folder)!r} cannot be made ({error.strerror}); set XDG_CACHE_HOME"
        ) from None
    return folder


def compiler_of(kind: Kind) -> Compiler:
    """The compiler that a kind of build needs.

    Raises:
        EnvironmentProblem: It is not installed.
    """
    if kind is Kind.TOOL:
        return libfuzzer_compiler() or any_compiler()
    found = afl_compiler() if kind is Kind.AFL else libfuzzer_compiler()
    if found is None:
        raise EnvironmentProblem(
            "engine: AFL++ is not installed (afl-clang-fast); use another engine"
            if kind is Kind.AFL
            else "engine: clang with libFuzzer is not installed; use --engine generate"
        )
    return found


def _subject_flags(kind: Kind) -> tuple[str, ...]:
    if kind is Kind.LIBFUZZER:
        # Without what libFuzzer would do with the operands of comparisons: our mutator knows
        # which numbers matter, and each comparison would cost a call.
        return ("-fsanitize-coverage=inline-8bit-counters,pc-table",)
    if kind is Kind.COVERAGE:
        return ("-fprofile-instr-generate", "-fcoverage-mapping")
    return ()


def _link_flags(kind: Kind) -> tuple[str, ...]:
    if kind in (Kind.LIBFUZZER, Kind.AFL):
        return ("-fsanitize=fuzzer",)
    if kind is Kind.COVERAGE:
        return ("-fprofile-instr-generate",)
    return ()


def _digest(parts: list[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:24]


def _headers(sources: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(sources.rglob("*.h"))]


def _run_compiler(command: list[str]) -> str:
    environment = {**os.environ, "AFL_QUIET": "1"}
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if process.returncode:
        lines = (process.stderr or process.stdout).strip().splitlines()
        errors = [line for line in lines if "error" in line] or lines or ["no message"]
        raise EnvironmentProblem(f"build: {command[0]} failed: {errors[0].strip()}")
    return process.stdout


def _in_cache(name: str, command_to: list[str]) -> Path:
    """Have a file made by a command that takes its name last; nobody sees half of it."""
    path = cache_folder() / name
    if path.exists():
        os.utime(path)
        return path
    handle, part = tempfile.mkstemp(prefix=f".{name}.", dir=path.parent)
    os.close(handle)
    try:
        _run_compiler([*command_to, part])
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)
    return path


class _Compilation:
    """One harness: its files are compiled side by side, those in the cache not again."""

    def __init__(self, recipe: Recipe, sources: Path) -> None:
        self._sources = sources
        self._kind = recipe.kind
        self._compiler = compiler_of(recipe.kind)
        self._headers = _headers(sources)
        checks = (*_SANITIZERS, "-O1") if recipe.sanitize else ("-O2",)
        # A seeded bug's copy has another place each time; people know a file as cext/….
        names = () if recipe.kind is Kind.COVERAGE else (f"-ffile-prefix-map={sources}=/cext",)
        self._flags = (
            *_COMMON, *_WARNINGS, *checks, *names, f"-I{sources}", f"-I{sources / 'fuzz'}"
        )  # fmt: skip
        self._checks = checks

    def _object(self, name: str, extra: tuple[str, ...]) -> Path:
        source = self._sources / name
        flags = [*self._flags, *extra]
        stable = [flag.replace(str(self._sources), "") for flag in flags]
        key = _digest(
            [
                *self._headers,
                source.read_bytes(),
                name.encode(),
                self._compiler.path.encode(),
                self._compiler.version.encode(),
                *(flag.encode() for flag in stable),
            ]
        )
        return _in_cache(f"{key}.o", [self._compiler.path, *flags, "-c", str(source), "-o"])

    def link(self) -> Path:
        """Compile what is missing and link it."""
        main = _MAIN if self._kind in (Kind.TOOL, Kind.COVERAGE) else ("libfuzzer.c",)
        wanted = [(name, _subject_flags(self._kind)) for name in SUBJECT]
        # What is inline in the core's headers is called by the harness too, and counted there.
        others = _subject_flags(self._kind) if self._kind is Kind.COVERAGE else ()
        wanted += [(f"fuzz/{name}", others) for name in (*_HARNESS, *main)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda item: self._object(*item), wanted))
        flags = [*self._checks, *_link_flags(self._kind), "-rdynamic"]
        key = _digest([*(path.name.encode() for path in objects), *(f.encode() for f in flags)])
        command = [self._compiler.path, *flags, *map(str, objects), "-ldl", "-o"]
        return _in_cache(f"{key}.harness", command)


def build(recipe: Recipe) -> Path:
    """Build a harness, or find it built already.

    Returns:
        The executable, in the cache folder.

    Raises:
        EnvironmentProblem: No compiler for it, or the compiler failed.
        StaleBugError: The seeded bug does not fit the sources.
    """
    sources = core_sources()
    if recipe.bug is None:
        path = _Compilation(recipe, sources).link()
    else:
        with scratch() as folder:
            copy = folder / "cext"
            shutil.copytree(sources, copy, ignore=shutil.ignore_patterns("__pycache__"))
            recipe.bug.apply(copy)
            path = _Compilation(recipe, copy).link()
    _forget_old_builds()
    return path


def build_mutator() -> Path:
    """Build our mutator as a library for AFL++."""
    sources, compiler = core_sources(), any_compiler()
    files = [sources / "fuzz" / name for name in ("afl_mutator.c", "mutate.c", "program.c")]
    flags = [*_COMMON, *_WARNINGS, "-O2", "-fPIC", "-shared", f"-I{sources}"]
    key = _digest(
        [
            *_headers(sources),
            *(path.read_bytes() for path in files),
            compiler.version.encode(),
            *(flag.encode() for flag in flags),
        ]
    )
    return _in_cache(f"{key}.so", [compiler.path, *flags, *map(str, files), "-o"])


def build_provider(source: Path, kind: Kind, *, sanitize: bool) -> Path:
    """Compile a provider of the user's from its source, as fits a harness of that kind."""
    compiler, sources = compiler_of(kind), core_sources()
    checks = (*_SANITIZERS, "-O1") if sanitize else ("-O2",)
    flags = ["-std=gnu11", "-g", "-fPIC", "-shared", *checks, *_subject_flags(kind)]
    flags += [f"-I{sources}", f"-I{source.resolve().parent}"]
    try:
        source.read_bytes()
    except OSError as error:
        raise EnvironmentProblem(
            f"provider: {str(source)!r} cannot be read ({error.strerror})"
        ) from None
    # Whatever it includes, from wherever: only the compiler knows. Its text names the places,
    # too, of which reports and coverage speak.
    text = _run_compiler([compiler.path, *flags, "-E", str(source.resolve())])
    key = _digest(
        [
            text.encode(),
            compiler.version.encode(),
            *(flag.encode() for flag in flags),
        ]
    )
    return _in_cache(f"{key}.so", [compiler.path, *flags, str(source.resolve()), "-o"])


def _forget_old_builds() -> None:
    """Keep the cache small: the longest unused go first."""
    files = [path for path in cache_folder().iterdir() if not path.name.startswith(".")]
    files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[_KEPT_BUILDS * 16 :]:
        path.unlink(missing_ok=True)
