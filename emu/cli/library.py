"""``zcrx-emu config``: what a C compiler needs to be told to build on libzcrx_emu."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from emu.cli.output import EXIT_USAGE
from emu.compile.ondemand import core_sources
from emu.errors import EmuError
from emu.library.files import header_folder, library_folder


def command(
    cflags: Annotated[bool, typer.Option("--cflags", help="Where the headers are.")] = False,
    libs: Annotated[bool, typer.Option("--libs", help="What to link.")] = False,
    static: Annotated[bool, typer.Option("--static", help="Link the archive instead.")] = False,
    include: Annotated[
        bool, typer.Option("--include", help="The folders of the headers, one a line.")
    ] = False,
) -> None:
    """Say what a C compiler needs to build on libzcrx_emu."""
    if not (cflags or libs or include):
        print("zcrx-emu: error: config: --cflags, --libs, or --include", file=sys.stderr)
        raise typer.Exit(EXIT_USAGE)
    try:
        headers = [header_folder(), core_sources()]
        if include:
            print(*headers, sep="\n")
        folder = library_folder()
        words = [f"-I{path}" for path in headers] if cflags else []
    except EmuError as error:
        print(f"zcrx-emu: error: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_USAGE) from None
    if libs and static:
        words += [str(folder / "libzcrx_emu.a"), "-pthread", "-lm"]
    elif libs:
        words += [f"-L{folder}", f"-Wl,-rpath,{folder}", "-lzcrx_emu"]
    if words:
        print(*words)
