"""How fast the fuzzer runs, beside an empty target, and how soon it has seen all of the provider.

Rates are compared within one round, an empty libFuzzer target and ours one after the other;
shown are medians of several rounds. They are by CPU time, which other programs hardly change.
Both run with ``-len_control=0``, and without a symbolizer (``-print_funcs=0``), which takes as long
to start as some thousand programs; ours is given programs of exactly 32 operations.
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emu.cli import run_function
from emu.cli.render import short
from emu.compile.toolchain import libfuzzer_compiler
from emu.errors import EnvironmentProblem
from emu.fuzz.build import Kind, Recipe, build
from emu.fuzz.coverage import CoverageMeter, Gap
from emu.fuzz.engine import PROGRAM_BYTES
from emu.fuzz.harness import Target, fuzz_environment
from emu.runtime.segment import SHM_DIR

_EMPTY = """
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)data, (void)size;
	return 0;
}
"""
_SETTINGS = ("-len_control=0", "-print_funcs=0")
#: Programs that are made up and counted at each look, beside the corpus.
_GENERATED = 1000
_DONE = re.compile(r"Done (\d+) runs")


def _empty_target(folder: Path, *, sanitize: bool) -> Path:
    clang = libfuzzer_compiler()
    if clang is None:
        raise EnvironmentProblem("engine: clang with libFuzzer is not installed")
    source = folder / "empty.c"
    source.write_text(_EMPTY)
    path = folder / f"empty-{sanitize}"
    checks = ",address,undefined" if sanitize else ""
    subprocess.run(
        [clang.path, "-O2", f"-fsanitize=fuzzer{checks}", str(source), "-o", str(path)], check=True
    )
    return path


def _cpu_of_children() -> float:
    """Seconds that ended children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _rate(executable: Path, arguments: list[str], environment: dict[str, str]) -> float:
    """Executions of a libFuzzer target in a second of CPU time, its start included."""
    began = _cpu_of_children()
    process = subprocess.run(
        [str(executable), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    seconds = _cpu_of_children() - began
    found = _DONE.search(process.stderr)
    if process.returncode or not found:
        lines = process.stderr.strip().splitlines() or ["no message"]
        raise EnvironmentProblem(f"engine: {executable.name}: {lines[-1]}")
    return int(found[1]) / seconds


def _compare(folder: Path, rounds: int, seconds: int, *, sanitize: bool) -> tuple[float, ...]:
    """Medians: the empty target's rate, ours, and the ratio."""
    empty = _empty_target(folder, sanitize=sanitize)
    ours = build(Recipe(Kind.LIBFUZZER, sanitize))
    samples: list[tuple[float, float]] = []
    limits = [f"-max_total_time={seconds}", *_SETTINGS]
    for number in range(rounds):
        corpus = folder / f"corpus-{sanitize}-{number}"
        corpus.mkdir()
        environment = fuzz_environment(None, operations="32")
        one = _rate(empty, [*limits, f"-seed={number + 1}"], dict(os.environ))
        other = _rate(
            ours,
            [str(corpus), *limits, f"-seed={number + 1}", f"-max_len={PROGRAM_BYTES}"],
            environment,
        )
        samples.append((one, other))
    return (
        statistics.median(one for one, _ in samples),
        statistics.median(other for _, other in samples),
        statistics.median(other / one for one, other in samples),
    )


def _unexplained(meter: CoverageMeter) -> list[Gap]:
    return [gap for gap in meter.gaps() if not gap.reason]


def _until_covered(folder: Path, seconds: int, seed: int) -> tuple[float | None, str]:
    """How long it takes from nothing until no reachable branch is missing, and what is covered."""
    corpus = folder / f"cover-{seed}"
    corpus.mkdir()
    counts = folder / f"counts-{seed}"
    counts.mkdir()
    meter = CoverageMeter(Target(sanitize=False), counts)
    process = subprocess.Popen(
        [
            str(build(Recipe(Kind.LIBFUZZER, False))),
            str(corpus),
            f"-max_total_time={seconds}",
            *_SETTINGS,
            f"-max_len={PROGRAM_BYTES}",
            f"-seed={seed}",
        ],
        env=fuzz_environment(None),
        stderr=subprocess.DEVNULL,
    )
    began = time.monotonic()
    covered: float | None = None
    try:
        while covered is None and process.poll() is None:
            time.sleep(0.5)  # the fuzzer's time, not ours: we only look now and then
            looked = time.monotonic() - began
            meter.add(corpus)
            # What a compiler makes branchless no engine keeps: see Campaign.meter().
            meter.add_generated(int(looked * 1000), _GENERATED)
            if not _unexplained(meter):
                covered = looked
        meter.add(corpus)
        if covered is None and not _unexplained(meter):
            covered = time.monotonic() - began
    finally:
        process.kill()
        process.wait()
    return covered, meter.measure().text


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each comparison.")] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="Seconds of each run.")] = 5,
    cover_seconds: Annotated[int, typer.Option(min=1, help="Limit of a coverage run.")] = 60,
    quick: Annotated[bool, typer.Option("--quick", help="One short round of each.")] = False,
) -> None:
    """Measure executions per second and the time until all reachable branches were seen."""
    if quick:
        rounds, seconds, cover_seconds = 1, 2, 20
    console = Console()
    with tempfile.TemporaryDirectory(prefix="zcrx-emu-bench-", dir=SHM_DIR) as name:
        folder = Path(name)
        table = Table(header_style="bold", title=f"programs of 32 operations, {rounds} round(s)")
        for column in ("build", "empty target", "ours", "ratio"):
            table.add_column(column)
        for label, sanitize in (("fast", False), ("sanitized", True)):
            empty, ours, ratio = _compare(folder, rounds, seconds, sanitize=sanitize)
            table.add_row(label, short(empty, "/s"), short(ours, "/s"), f"{ratio:.3f}")
        console.print(table)
        for seed in range(1, rounds + 1):
            covered, text = _until_covered(folder, cover_seconds, seed)
            when = f"after {covered:.1f} s" if covered is not None else "never"
            console.print(
                f"seed {seed}: all reachable branches seen {when} ({text})", highlight=False
            )


if __name__ == "__main__":
    run_function(main, "fuzz_bench")
