"""Measure how soon the fuzzer finds each seeded bug, and how short its programs become.

``python -m tools.fuzz_power --runs 5`` builds the harness with one bug after the other and lets
each engine look for it from an empty corpus, at a level that shows it. A time is measured from the
start of the process, that start included; it counts only if the program found is found again by
``minimise``, in a process of its own. Exit code 1 if there is a bug that no engine found.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import enum
import math
import os
import platform
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from emu.bugs import CONTENT_BUGS, Bug, find_bug, level_for
from emu.cli import run_function
from emu.compile.records import records_of
from emu.contract import LEVELS
from emu.errors import EmuError
from emu.fuzz.build import Kind, Recipe, build_all, compiler_of
from emu.fuzz.engine import PROGRAM_BYTES
from emu.fuzz.harness import trial_of_end
from emu.runtime.segment import SHM_DIR

DOCS = Path(__file__).parents[1] / "docs" / "fuzz-power.md"
#: struct fuzz_current of cext/fuzz/reporter.h before its bytes: executions, findings, size, 0.
_CURRENT = struct.Struct("<QQII")
_POLL_S = 0.002
#: A program that runs for so long hangs, or what it consumes has no end.
_HANG_S = 2.0
_TRIALS = 2000
#: Bugs for each core.
_BUILT_AT_ONCE = 4
#: Operations that a reader takes in at a glance.
_SHORT = 8
_TRIAL_TIMEOUT_S = 2
#: Code of the harness for a wrong use, its environment included.
_WRONG_USE = 2


class Engine(enum.Enum):
    """Who makes up the programs, and which build runs them."""

    LIBFUZZER = "libfuzzer"
    GENERATE = "generate"
    ASAN = "libfuzzer-asan"

    @property
    def sanitize(self) -> bool:
        """Whether the build has AddressSanitizer and UndefinedBehaviorSanitizer."""
        return self is Engine.ASAN

    @property
    def kind(self) -> Kind:
        """What is built for it."""
        return Kind.TOOL if self is Engine.GENERATE else Kind.LIBFUZZER


@dataclass(frozen=True, slots=True)
class Attempt:
    """One search.

    Attributes:
        seconds: Until the first finding; infinite if there was none in time.
        operations: Of the shortest program that still finds it; 0 if there was none.
        signature: Of the finding; empty if there was none.
    """

    seconds: float = math.inf
    operations: int = 0
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Power:
    """What one engine did about one bug."""

    bug: Bug
    engine: Engine
    attempts: list[Attempt]

    @property
    def found(self) -> int:
        """How many of the attempts found it."""
        return sum(attempt.signature != "" for attempt in self.attempts)

    @property
    def median_s(self) -> float:
        """Median of the times; infinite when half of the attempts found nothing."""
        return statistics.median(attempt.seconds for attempt in self.attempts)

    @property
    def operations(self) -> list[int]:
        """Of each minimised program."""
        return [attempt.operations for attempt in self.attempts if attempt.signature]


def _command(engine: Engine, harness: Path, seed: int, seconds: float, folder: Path) -> list[str]:
    whole = str(math.ceil(seconds))
    if engine is Engine.GENERATE:
        return [str(harness), "generate", str(seed), whole, "0", "0"]
    corpus = folder / "corpus"
    corpus.mkdir()
    flags = [
        "-len_control=0",
        "-print_funcs=0",
        f"-max_len={PROGRAM_BYTES}",
        f"-artifact_prefix={folder}/",
    ]
    return [str(harness), str(corpus), f"-seed={seed}", f"-max_total_time={whole}", *flags]


@contextlib.contextmanager
def _running(command: list[str], folder: Path, kernel: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a harness in a folder of its own; it is gone afterwards, whatever happens."""
    (folder / "findings").mkdir()
    environment = {
        **os.environ,
        "ZCRX_FUZZ_KERNEL": str(LEVELS.index(kernel)),
        "ZCRX_FUZZ_FINDINGS": str(folder / "findings"),
        "ZCRX_FUZZ_CURRENT": str(folder / "current"),
        "ASAN_OPTIONS": "symbolize=0",  # a report takes longer than the search did
        "UBSAN_OPTIONS": "symbolize=0",
    }
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _current(folder: Path) -> tuple[int, bytes]:
    """How many programs were run, and the one that is being run; empty if there is none."""
    try:
        with (folder / "current").open("rb", buffering=0) as file:  # its history is long
            raw = file.read(_CURRENT.size + PROGRAM_BYTES)
        executions, _, size, _ = _CURRENT.unpack_from(raw)
    except (OSError, struct.error):
        return 0, b""
    return executions, raw[_CURRENT.size : _CURRENT.size + size]


def _search(command: list[str], folder: Path, kernel: str, seconds: float) -> tuple[float, bytes]:
    """Run an engine until it finds something: when, and the program; empty if it did not."""
    begin = moved = time.monotonic()
    executions = -1
    with _running(command, folder, kernel) as process:
        while True:
            ended = process.poll()
            now = time.monotonic()
            for path in (folder / "findings").glob("*.program"):
                return now - begin, path.read_bytes()
            if ended == _WRONG_USE:
                raise EmuError(f"harness: {command[0]!r} could not start")
            if ended is not None:
                return now - begin, _current(folder)[1]
            if now - begin > seconds:
                return math.inf, b""
            done, program = _current(folder)
            if done != executions:
                executions, moved = done, now
            elif program and now - moved > _HANG_S:
                return now - begin, program
            time.sleep(_POLL_S)  # nobody tells when a file appears; this bounds the error


def _minimise(harness: Path, program: bytes, folder: Path) -> tuple[int, str]:
    """Operations of the shortest program with the same finding, and its signature."""
    source, target = folder / "found", folder / "shortest"
    source.write_bytes(program)
    numbers = [str(_TRIALS), str(_TRIAL_TIMEOUT_S)]
    command = [str(harness), "minimise", str(source), str(target), *numbers]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    records = records_of(process.stdout)
    if len(records) != 2 or records[1].values["outcome"] == "clean":
        return 0, ""
    return records[0].number("operations"), trial_of_end(records[1]).signature


@dataclass(frozen=True, slots=True)
class Builds:
    """All harnesses with one bug that are needed, by kind and whether they are sanitized."""

    bug: Bug
    harnesses: Mapping[tuple[Kind, bool], Path]

    def engine(self, engine: Engine) -> Path:
        """Who looks for it."""
        return self.harnesses[engine.kind, engine.sanitize]

    def judge(self, engine: Engine) -> Path:
        """Who says what was found."""
        return self.harnesses[Kind.TOOL, engine.sanitize]


def built(bug: Bug, engines: Iterable[Engine]) -> Builds:
    """Build each harness that these engines need, once."""
    kinds = {(kind, engine.sanitize) for engine in engines for kind in (engine.kind, Kind.TOOL)}
    recipes = [Recipe(kind, sanitize, bug) for kind, sanitize in kinds]
    return Builds(bug, dict(zip(kinds, build_all(recipes), strict=True)))


def _all_built(bugs: list[Bug], engines: list[Engine]) -> Iterator[Builds]:
    """Each bug and its builds, a few bugs at a time on all cores: no search runs meanwhile.

    The first one is built alone: what all have in common is compiled once.
    """
    cores = os.cpu_count() or 1
    yield built(bugs[0], engines)
    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
        for at in range(1, len(bugs), cores * _BUILT_AT_ONCE):
            some = bugs[at : at + cores * _BUILT_AT_ONCE]
            yield from list(pool.map(lambda bug: built(bug, engines), some))


def attempt(builds: Builds, engine: Engine, seed: int, seconds: float) -> Attempt:
    """Look for a bug once, from an empty corpus."""
    # A corpus of a second is hundreds of files: on a disk they take longer than the search.
    with tempfile.TemporaryDirectory(prefix="fuzz-power-", dir=SHM_DIR) as name:
        folder = Path(name)
        command = _command(engine, builds.engine(engine), seed, seconds, folder)
        elapsed, program = _search(command, folder, level_for(builds.bug, None), seconds)
        if not program:
            return Attempt()
        operations, signature = _minimise(builds.judge(engine), program, folder)
        return Attempt(elapsed, operations, signature) if signature else Attempt()


def _time_text(power: Power, runs: int) -> str:
    text = f"{power.median_s:.2f}" if power.median_s < math.inf else "not found"
    return text if power.found == runs else f"{text} ({power.found} of {runs})"


def _operations_text(powers: list[Power]) -> str:
    counts = [count for power in powers for count in power.operations]
    return f"{statistics.median_low(counts)} to {max(counts)}" if counts else "none"


def _signatures(powers: list[Power]) -> list[str]:
    found = [attempt.signature for power in powers for attempt in power.attempts]
    return sorted({signature for signature in found if signature})


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} core(s), {platform.system()} {platform.release()}"


def _document(powers: dict[str, list[Power]], command: str, runs: int, seconds: float) -> str:
    engines = [power.engine for power in next(iter(powers.values()))]
    compiler = compiler_of(engines[0].kind).version
    worst = {
        engine: max(power.median_s for row in powers.values() for power in row[at : at + 1])
        for at, engine in enumerate(engines)
    }
    slowest = {
        engine: f"{time:.2f} s" if time < math.inf else f"more than {seconds:g} s"
        for engine, time in worst.items()
    }
    counts = [count for row in powers.values() for power in row for count in power.operations]
    lost = [name for name, row in powers.items() if not any(power.found for power in row)]
    lines = [
        "# What the fuzzer finds, and how soon",
        "",
        f"{len(powers)} mistakes that a memory provider can make "
        "([emu/bugs/content](../emu/bugs/content)), each put into a build of its own. "
        "Each engine looked for each of them from an empty corpus, "
        f"{runs} times with another seed, for at most {seconds:g} s. A finding counts only if "
        "its program finds it again in a process of its own.",
        "",
        "- **Time**: seconds to the first finding, median; the start of the process is in it.",
        "- **Operations**: of the programs that are left after minimising: median to maximum.",
        f"- **Found by no engine**: {', '.join(lost) if lost else 'none'}.",
        *(f"- **Slowest with {engine.value}**: {slowest[engine]}." for engine in engines),
        f"- **Longest program**: {max(counts, default=0)} operations; "
        f"{sum(count <= _SHORT for count in counts)} of {len(counts)} have at most {_SHORT}.",
        f"- **Machine**: {_machine()}; {compiler}. Other work shared it: times are upper bounds.",
        f"- **Command**: `{command}`",
        "",
        "| bug | what is wrong | "
        + " | ".join(f"{engine.value}, s" for engine in engines)
        + " | operations | signatures |",
        "| --- | --- |" + " ---: |" * (len(engines) + 1) + " --- |",
    ]
    for name, row in powers.items():
        cells = [f"`{name}`", row[0].bug.explanation]
        cells += [_time_text(power, runs) for power in row]
        cells += [_operations_text(row)]
        cells += [", ".join(f"`{text}`" for text in _signatures(row))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _summary(powers: dict[str, list[Power]], runs: int) -> Table:
    table = Table(header_style="bold")
    table.add_column("bug")
    for power in next(iter(powers.values())):
        table.add_column(f"{power.engine.value}, s", justify="right")
    table.add_column("operations", justify="right")
    table.add_column("signatures")
    order = sorted(powers, key=lambda name: -max(power.median_s for power in powers[name]))
    for name in order:
        row = powers[name]
        table.add_row(
            name,
            *(_time_text(power, runs) for power in row),
            _operations_text(row),
            ", ".join(_signatures(row)),
        )
    return table


def _engines(chosen: list[Engine] | None, asan: bool) -> list[Engine]:
    engines = list(dict.fromkeys(chosen or [Engine.LIBFUZZER, Engine.GENERATE]))
    return [*engines, Engine.ASAN] if asan and Engine.ASAN not in engines else engines


def main(
    bug: Annotated[
        list[str] | None, typer.Option(help="Only this bug; may be given several times.")
    ] = None,
    engine: Annotated[
        list[Engine] | None, typer.Option(help="Only this engine; may be given several times.")
    ] = None,
    asan: Annotated[bool, typer.Option("--asan", help="Also libFuzzer with sanitizers.")] = False,
    runs: Annotated[int, typer.Option(min=1, help="Searches for each bug, a seed each.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="For how long, at most.")] = 10.0,
    seed: Annotated[int, typer.Option(min=1, help="Of the first search; others follow.")] = 1,
    write: Annotated[bool, typer.Option("--write", help=f"Write docs/{DOCS.name}.")] = False,
) -> None:
    """Measure how soon the fuzzer finds each seeded bug, and how short its programs become."""
    bugs = [find_bug(name, CONTENT_BUGS) for name in bug] if bug else [*CONTENT_BUGS.values()]
    engines = _engines(engine, asan)
    console = Console()
    powers: dict[str, list[Power]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=len(bugs) * len(engines) * runs)
        for builds in _all_built(bugs, engines):
            one = builds.bug
            row = powers.setdefault(one.name, [])
            for which in engines:
                attempts = []
                for number in range(runs):
                    progress.update(task, description=f"{one.name}, {which.value}")
                    attempts.append(attempt(builds, which, seed + number, seconds))
                    progress.advance(task)
                row.append(Power(one, which, attempts))
            # A log file shows no bar: what is done is told bug by bug.
            if not console.is_terminal or not any(power.found for power in row):
                times = ", ".join(_time_text(power, runs) for power in row)
                progress.console.print(f"{one.name}: {times}; {_operations_text(row)} operations")
    console.print(_summary(powers, runs))
    if write:
        command = f"python -m tools.fuzz_power --runs {runs} --seconds {seconds:g} --seed {seed}"
        command += " --asan" * asan + " --write"
        DOCS.write_text(_document(powers, command, runs, seconds))
    lost = [name for name, row in powers.items() if not any(power.found for power in row)]
    if lost:
        console.print(f"not found by any engine: {', '.join(lost)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    run_function(main, "fuzz_power")
