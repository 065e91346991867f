"""``zcrx-emu examples``: programs to start from, written into a folder of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emu.errors import ConfigError, EnvironmentProblem

#: What a folder of examples may have in it that is nobody's example.
_NOT_OURS = shutil.ignore_patterns("__pycache__", "target", ".*cache")


def examples_folder() -> Path:
    """Where they are: beside the package when installed, else the checkout's.

    Raises:
        EnvironmentProblem: This installation has none.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parent / "docs" / "examples"):
        if (folder / "plain_provider.c").is_file():
            return folder
    raise EnvironmentProblem(f"examples: they are missing beside {str(package)!r}")


def command(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made, and must not be there.")],
) -> None:
    """Write the documents' example programs into a folder, to try and to start from."""
    source = examples_folder()
    try:
        shutil.copytree(source, folder, ignore=_NOT_OURS)
    except FileExistsError:
        raise ConfigError.of("folder", str(folder), "name one that is not there yet") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"folder: {str(folder)!r} cannot be written ({why})") from None
    console = Console(soft_wrap=True)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        console.print(str(path), highlight=False, markup=False)
