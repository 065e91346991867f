"""A provider of the user's own as commands are given it: its C source, or a shared library.

Whoever needs a library gets one by :func:`library_of`, compiled on demand where a source was
given; so does who runs a consumer of the user's in C. Fuzzing compiles a source in its own way,
with coverage and sanitizers, and race testing with a call at each access, which only a source
allows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from emu.compile.cache import prune
from emu.compile.ondemand import compile_provider, core_sources
from emu.compile.toolchain import Compiler, any_compiler
from emu.errors import ConfigError

#: What every library of the user's is compiled with.
_LIBRARY = ("-std=gnu11", "-g", "-fPIC", "-shared")


def is_source(path: Path) -> bool:
    """Whether it is C source by its name."""
    return path.suffix == ".c"


def check_provider(path: Path, field: str = "provider") -> Path:
    """Refuse what is no file; the absolute path of one that is.

    Args:
        path: As the user named it.
        field: What it is to be: a provider, or a consumer.

    Raises:
        ConfigError: There is no such file.
    """
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        is_file = False
    if not is_file:
        is_there = os.path.lexists(path)
        why = "it is no regular file" if is_there else "there is no such file"
        raise ConfigError.of(
            field,
            str(path),
            f"name the C source (*.c) of a {field}, or a shared library made for zcrx_{field}.h "
            f"({why})",
        )
    return path.absolute()


def compile_library(
    source: Path,
    compiler: Compiler | None = None,
    flags: Sequence[str] = ("-O2",),
    field: str = "provider",
) -> Path:
    """Compile the source of a provider to a shared library, or find it compiled already.

    Raises:
        EnvironmentProblem: There is no compiler, or it does not compile.
    """
    more = [*_LIBRARY, *flags, f"-I{core_sources()}"]
    return compile_provider(compiler or any_compiler(), source, more, ".so", field=field)


def library_of(path: Path, field: str = "provider") -> Path:
    """The shared library of a provider, or of a consumer, that real processes open.

    Raises:
        ConfigError: There is no such file.
        EnvironmentProblem: It is a source, and there is no compiler or it does not compile.
    """
    found = check_provider(path, field)
    if not is_source(found):
        return found
    library = compile_library(found, field=field)
    prune()
    return library
