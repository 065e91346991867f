"""Building the simulation: the core's sources once more, with a call before each access.

The calls are those that compilers make for a thread sanitizer; ``cext/sim/tsan.c`` answers
them in the place of its runtime. Any C compiler that has ``-fsanitize=thread`` will do.
"""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
from pathlib import Path

from emu.bugs import Bug
from emu.compile.cache import prune
from emu.compile.ondemand import (
    compile_core,
    compile_provider,
    core_sources,
    digest,
    headers_digest,
    in_cache,
    sources_with,
)
from emu.compile.provider_file import check_provider, is_source
from emu.compile.toolchain import any_compiler
from emu.errors import ConfigError

#: Of the core: what actors run, and what that needs. Instrumented.
_CORE = (
    "kernel/area.c",
    "kernel/handoff.c",
    "wire/bell.c",
    "run/control.c",
    "wire/crc32c.c",
    "faults/fault.c",
    "wire/flight.c",
    "kernel/plugin.c",
    "run/areas.c",
    "run/layout.c",
    "faults/nic_faults.c",
    "actors/nic_offer.c",
    "actors/nic_queue.c",
    "kernel/page_pool.c",
    "kernel/provider.c",
    "actors/rss.c",
    "sim/invariants.c",
    "sim/operations.c",
    "sim/script.c",
    "sim/setup.c",
    "sim/user.c",
    "sim/words.c",
    "sim/world.c",
)
#: Of these: what no scenario runs through. A seeded bug in a header need not reach it.
_BYSTANDERS = frozenset(
    {
        "wire/crc32c.c",
        "faults/fault.c",
        "wire/flight.c",
        "kernel/plugin.c",
        "faults/nic_faults.c",
        "actors/nic_offer.c",
        "actors/rss.c",
        "sim/script.c",
        "sim/words.c",
    }
)
#: What drives them. Not instrumented: it would call itself.
_ENGINE = (
    "sim/access.c",
    "sim/answer.c",
    "sim/engine.c",
    "sim/execution.c",
    "sim/explore.c",
    "sim/fiber.c",
    "sim/finding.c",
    "sim/history.c",
    "sim/main.c",
    "sim/races.c",
    "sim/search.c",
    "sim/state.c",
    "sim/step.c",
    "sim/system.c",
    "sim/tsan.c",
    "sim/watchdog.c",
    "sim/written.c",
    "ondemand/kept.c",
)
#: Linked before and behind a provider of somebody else's: its data lie between.
_BOUNDS = (("sim/bound.c", ()), ("sim/bound.c", ("-DSIM_BOUND_LAST",)))
#: The simulation's exit code when it refuses something.
_WRONG_USE = 2
_WARNINGS = ("-Wall", "-Wextra", "-Werror")
_COMMON = ("-std=gnu11", "-g", "-O2", "-fno-omit-frame-pointer", *_WARNINGS)
#: Who waits tells the scheduler: there is no kernel and no clock in a simulation.
_HOOKS = (
    "-fsanitize=thread",
    "-DZCRX_PAUSE_HOOK",
    "-Dsyscall=sim_syscall",
    "-Dsched_yield=sim_sched_yield",
    "-Dclock_gettime=sim_clock_gettime",
    # Clang calls the sanitizer in their place by itself, GCC does not.
    "-Dmemcpy=sim_memcpy",
    "-Dmemmove=sim_memmove",
    "-Dmemset=sim_memset",
)

#: What a provider allocates is put back before each execution, as its static data is.
_OWN_MEMORY = (
    "-fno-common",
    *(
        f"-D{name}=sim_{name}"
        for name in ("malloc", "calloc", "realloc", "aligned_alloc", "strdup", "free")
    ),
)
#: For a word of the finished program about its provider; a constructor of it may not return.
_CHECK_S = 10


def _check_usable(simulation: Path, provider: Path) -> None:
    """Refuse a provider that cannot be called: without one the program would run our own core."""
    try:
        process = subprocess.run(
            [str(simulation), "provider"],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_CHECK_S,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError.of("provider", str(provider), "it hangs when it is loaded") from None
    lines = process.stdout.strip().splitlines()
    if process.returncode == 0 and lines[-1:] == ["usable"]:
        return
    why = lines[-1] if process.returncode == _WRONG_USE and lines else "it ends when it is loaded"
    raise ConfigError.of("provider", str(provider), why)


def build_simulation(bug: Bug | None = None, provider: Path | None = None) -> Path:
    """Build the simulation, or find it built already.

    Args:
        bug: A seeded bug to put in, or None.
        provider: The C source of a provider to run in the place of ours, or None.

    Returns:
        The executable, in the cache folder.

    Raises:
        ConfigError: The provider is no source, or no provider that can be called.
        EnvironmentProblem: There is no compiler, or it failed.
        StaleBugError: The seeded bug does not fit the sources.
    """
    if provider is not None and not is_source(check_provider(provider)):
        raise ConfigError.of(
            "provider",
            str(provider),
            "name the C source of one (each access of it is watched, which a library does not "
            "show; 'race --live', 'fuzz' and 'stress' take one)",
        )
    compiler = any_compiler()
    # GCC warns of each stand-alone fence; our runtime knows them.
    hooks = [*_HOOKS] if compiler.is_clang else [*_HOOKS, "-Wno-tsan"]
    with sources_with(bug) as changed:
        headers = {sources: headers_digest(sources) for sources in {core_sources(), changed}}

        def make(name: str) -> Path:
            is_engine = name in _ENGINE
            is_same = (is_engine or name in _BYSTANDERS) and bug and name not in bug.files
            sources = core_sources() if is_same else changed
            flags = [*_COMMON] if is_engine else [*_COMMON, *hooks]
            return compile_core(compiler, sources, sources / name, flags, headers=headers[sources])

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(make, (*_CORE, *_ENGINE)))
        first, last = (
            compile_core(
                compiler, changed, changed / name, [*_COMMON, *flags], headers=headers[changed]
            )
            for name, flags in _BOUNDS
        )
        objects.append(first)
        if provider is not None:
            # Not ours to warn about.
            plain = [flag for flag in _COMMON if flag not in _WARNINGS]
            flags = [*plain, *hooks, *_OWN_MEMORY, f"-I{changed}", "-c"]
            objects.append(compile_provider(compiler, provider, flags, ".o"))
        objects.append(last)
    key = digest([path.name.encode() for path in objects])
    command = [compiler.path, "-g", *map(str, objects), "-ldl", "-lm", "-lpthread", "-o"]
    path = in_cache(f"{key}.simulation", command)
    if provider is not None:
        _check_usable(path, provider)
    prune()
    return path
