"""``zcrx-emu config``: what a C compiler needs to be told to build on libzcrx_emu."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer

from emu.cli.output import EXIT_USAGE
from emu.compile.ondemand import core_sources
from emu.errors import EmuError, EnvironmentProblem


def library_folder() -> Path:
    """The folder of the library: beside the compiled module, or in the build that has both.

    Raises:
        EnvironmentProblem: This installation has none.
    """
    spec = importlib.util.find_spec("emu._core")
    if spec is None or spec.origin is None:
        raise EnvironmentProblem("library: this installation was built without its C core")
    folder = Path(spec.origin).resolve().parent
    for candidate in (folder, folder / "lib"):
        if (candidate / "libzcrx_emu.so").is_file():
            return candidate
    raise EnvironmentProblem(f"library: libzcrx_emu.so is missing beside {str(folder)!r}")


def command(
    cflags: Annotated[bool, typer.Option("--cflags", help="Where the headers are.")] = False,
    libs: Annotated[bool, typer.Option("--libs", help="What to link.")] = False,
    static: Annotated[bool, typer.Option("--static", help="Link the archive instead.")] = False,
) -> None:
    """Say what a C compiler needs to build on libzcrx_emu."""
    if not (cflags or libs):
        print("zcrx-emu: error: config: --cflags, --libs or both", file=sys.stderr)
        raise typer.Exit(EXIT_USAGE)
    try:
        folder = library_folder()
        words = [f"-I{core_sources() / 'lib'}"] if cflags else []
    except EmuError as error:
        print(f"zcrx-emu: error: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_USAGE) from None
    if libs and static:
        words += [str(folder / "libzcrx_emu.a"), "-pthread"]
    elif libs:
        words += [f"-L{folder}", f"-Wl,-rpath,{folder}", "-lzcrx_emu"]
    print(*words)
