"""Building the fuzzer's harness, once for each kind: see :mod:`emu.compile.ondemand`."""

from __future__ import annotations

import concurrent.futures
import enum
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emu.bugs import Bug
from emu.compile.cache import prune
from emu.compile.ondemand import (
    compile_core,
    core_sources,
    digest,
    headers_digest,
    headers_of,
    in_cache,
    sources_with,
)
from emu.compile.provider_file import compile_library
from emu.compile.toolchain import Compiler, afl_compiler, any_compiler, libfuzzer_compiler
from emu.errors import EnvironmentProblem

#: What is under attack, and instrumented; the rest of the harness is not.
SUBJECT = (
    "kernel/provider.c",
    "kernel/page_pool.c",
    "kernel/area.c",
    "kernel/handoff.c",
    "wire/flight.c",
    "kernel/plugin.c",
)
_HARNESS = (
    "fuzz/compare.c",
    "fuzz/finding.c",
    "fuzz/judge.c",
    "fuzz/mutate.c",
    "fuzz/program.c",
    "fuzz/run.c",
    "fuzz/reporter.c",
    "fuzz/statics.c",
    "fuzz/subject.c",
    "ondemand/kept.c",
)
_MAIN = ("fuzz/main.c", "fuzz/sandbox.c", "fuzz/counters.c", "fuzz/measure.c")
_COMMON = ("-std=gnu11", "-DZCRX_POINT_HEADER=<fuzz/points.h>")
_WARNINGS = ("-Wall", "-Wextra", "-Werror")
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class Kind(enum.Enum):
    """What a harness is built for."""

    TOOL = "tool"  #: generate, run, minimise: any compiler
    LIBFUZZER = "libfuzzer"
    AFL = "afl"
    METER = "meter"  #: the tool, with counters of what it reaches; any compiler
    COVERAGE = "coverage"  #: the tool, with clang's source coverage


#: Those that are programs of our own; the others are an engine's.
_WITH_MAIN = (Kind.TOOL, Kind.METER, Kind.COVERAGE)


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


def compiler_of(kind: Kind) -> Compiler:
    """The compiler that a kind of build needs.

    Raises:
        EnvironmentProblem: It is not installed.
    """
    if kind in (Kind.TOOL, Kind.METER):
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
    if kind is Kind.LIBFUZZER or (
        kind in (Kind.TOOL, Kind.METER) and libfuzzer_compiler() is not None
    ):
        # The tool does not count, but need not have them compiled again.
        # Without what libFuzzer would do with the operands of comparisons: our mutator knows
        # which numbers matter, and each comparison would cost a call.
        return ("-fsanitize-coverage=inline-8bit-counters,pc-table",)
    if kind is Kind.METER:
        return ("-fsanitize-coverage=trace-pc",)  # every compiler has this one
    if kind is Kind.COVERAGE:
        return ("-fprofile-instr-generate", "-fcoverage-mapping")
    return ()


def _link_flags(kind: Kind) -> tuple[str, ...]:
    if kind in (Kind.LIBFUZZER, Kind.AFL):
        return ("-fsanitize=fuzzer",)
    if kind is Kind.COVERAGE:
        return ("-fprofile-instr-generate",)
    return ()


class _Compilation:
    """One harness: its files are compiled side by side, those in the cache not again."""

    def __init__(self, recipe: Recipe, sources: Path) -> None:
        self._sources = sources
        self._kind = recipe.kind
        self._compiler = compiler_of(recipe.kind)
        self._headers = headers_digest(sources)
        # Only a sanitizer's report names lines, and walks frames.
        debug = ("-g", "-fno-omit-frame-pointer") if recipe.sanitize else ()
        self._flags = (*_COMMON, *debug, *_WARNINGS, f"-I{sources / 'fuzz'}")
        self._checks = (*_SANITIZERS, "-O1") if recipe.sanitize else ("-O2",)
        # The harness itself is not what is looked at, and is most of what runs.
        self._unchecked = ("-O2", *(("-DHAS_ASAN=1",) if recipe.sanitize else ()))

    def _object(self, name: str, extra: tuple[str, ...]) -> Path:
        # Coverage is told by the files' own names.
        mapped = self._kind is not Kind.COVERAGE
        flags = [*self._flags, *(self._checks if name in SUBJECT else self._unchecked), *extra]
        return compile_core(
            self._compiler,
            self._sources,
            self._sources / name,
            flags,
            mapped=mapped,
            headers=self._headers,
        )

    def link(self) -> Path:
        """Compile what is missing and link it."""
        main = _MAIN if self._kind in _WITH_MAIN else ("fuzz/libfuzzer.c",)
        wanted = [(name, _subject_flags(self._kind)) for name in SUBJECT]
        # What is inline in the core's headers is called by the harness too, and counted there.
        others = _subject_flags(self._kind) if self._kind is Kind.COVERAGE else ()
        wanted += [(name, others) for name in (*_HARNESS, *main)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda item: self._object(*item), wanted))
        flags = [*self._checks, *_link_flags(self._kind), "-rdynamic"]
        key = digest([*(path.name.encode() for path in objects), *(f.encode() for f in flags)])
        command = [self._compiler.path, *flags, *map(str, objects), "-ldl", "-o"]
        return in_cache(f"{key}.harness", command)


def build(recipe: Recipe) -> Path:
    """Build a harness, or find it built already.

    Returns:
        The executable, in the cache folder.

    Raises:
        EnvironmentProblem: No compiler for it, or the compiler failed.
        StaleBugError: The seeded bug does not fit the sources.
    """
    return build_all([recipe])[0]


def build_all(recipes: Sequence[Recipe]) -> list[Path]:
    """Build several harnesses with the same bug, or with none; raises what :func:`build` does."""
    (bug,) = {recipe.bug for recipe in recipes}
    with sources_with(bug) as sources:
        paths = [_Compilation(recipe, sources).link() for recipe in recipes]
    prune()
    return paths


def build_mutator() -> Path:
    """Build our mutator as a library for AFL++."""
    sources, compiler = core_sources(), any_compiler()
    files = [sources / "fuzz" / name for name in ("afl_mutator.c", "mutate.c", "program.c")]
    flags = [*_COMMON, *_WARNINGS, "-O2", "-fPIC", "-shared", f"-I{sources}"]
    key = digest(
        [
            *headers_of(sources),
            *(path.read_bytes() for path in files),
            compiler.version.encode(),
            *(flag.encode() for flag in flags),
        ]
    )
    return in_cache(f"{key}.so", [compiler.path, *flags, *map(str, files), "-o"])


def build_provider(source: Path, kind: Kind, *, sanitize: bool) -> Path:
    """Compile a provider of the user's from its source, as fits a harness of that kind."""
    checks = (*_SANITIZERS, "-O1") if sanitize else ("-O2",)
    return compile_library(source, compiler_of(kind), (*checks, *_subject_flags(kind)))
