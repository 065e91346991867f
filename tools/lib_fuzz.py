"""libFuzzer on the library's raw structs and rings, in memory that changes while it is read.

``python -m tools.lib_fuzz`` builds ``tests/cext/lib_fuzz.c`` with the library's sources, sanitized,
and runs it for a while. What a registration must answer is said by ``tests/cext/lib_rules.h``,
beside the library and not from it. Exit code 1 if something is found: the input is kept, and
``test_lib_fuzz FILE`` of the C tests replays it.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emu.cli import run_function
from emu.compile.toolchain import libfuzzer_compiler
from emu.errors import EnvironmentProblem

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "tests" / "cext" / "lib_fuzz.c"
_LISTED = re.compile(
    r"^emu_sources = files\((.*?)^\).*^emu_objects = core_lib.extract_objects\((.*?)^\)",
    re.MULTILINE | re.DOTALL,
)
_DONE = re.compile(r"Done (\d+) runs")
_INPUT_BYTES = 600


def _sources(cext: Path) -> list[Path]:
    """The target's file, and those that the build links into the library."""
    library = cext / "lib"
    listed = _LISTED.search((library / "meson.build").read_text())
    if listed is None:
        raise EnvironmentProblem("lib/meson.build: emu_sources and emu_objects are not listed")
    own, common = (re.findall(r"'([^']+)'", names) for names in listed.groups())
    return [TARGET, *(library / name for name in own), *(cext / name for name in common)]


def build(folder: Path, cext: Path = ROOT / "cext") -> Path:
    """Build the target, with address and undefined behaviour sanitized.

    Args:
        folder: Where it goes.
        cext: The core's sources that it is built of.

    Raises:
        EnvironmentProblem: There is no clang with libFuzzer, or it cannot compile the sources.
    """
    clang = libfuzzer_compiler()
    if clang is None:
        raise EnvironmentProblem("engine: clang with libFuzzer is not installed")
    path = folder / "lib_fuzz"
    command = [clang.path, "-std=gnu11", "-O1", "-g", "-pthread", '-DZCRX_LIB_VERSION="fuzz"']
    command += ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=undefined"]
    command += [f"-I{cext}", f"-I{cext / 'lib'}"]
    process = subprocess.run(
        [*command, *map(str, _sources(cext)), "-lm", "-o", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["no message"]
        raise EnvironmentProblem(f"engine: {TARGET.name} cannot be built: {lines[0]}")
    return path


def run(target: Path, limit: str, *, seed: int, keep: Path) -> tuple[int | None, str]:
    """Run the target.

    Args:
        target: What :func:`build` made.
        limit: libFuzzer's option that ends it: ``-runs=N`` or ``-max_total_time=SECONDS``.
        seed: Of libFuzzer.
        keep: Where an input that finds something goes.

    Returns:
        How many inputs, or None if one found something; and what was said.
    """
    with tempfile.TemporaryDirectory(prefix="zcrx-emu-lib-corpus-") as corpus:
        process = subprocess.run(
            [
                str(target),
                corpus,
                limit,
                f"-seed={seed}",
                f"-max_len={_INPUT_BYTES}",
                f"-artifact_prefix={keep.resolve()}/lib-fuzz-",
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    done = _DONE.search(process.stderr)
    return int(done[1]) if process.returncode == 0 and done else None, process.stderr


def main(
    seconds: Annotated[int, typer.Option("--time", min=1, help="Seconds.")] = 60,
    seed: Annotated[int, typer.Option(min=1, help="Of libFuzzer.")] = 1,
    keep: Annotated[Path, typer.Option(help="Where an input that finds something goes.")] = Path(),
) -> None:
    """Fuzz the library's structs and rings."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="zcrx-emu-lib-fuzz-") as name:
        count, said = run(build(Path(name)), f"-max_total_time={seconds}", seed=seed, keep=keep)
    if count is None:
        console.print(said[-4000:], markup=False, highlight=False)
        raise typer.Exit(1)
    console.print(f"{count:,} inputs, nothing found", highlight=False)


if __name__ == "__main__":
    run_function(main, "lib_fuzz")
