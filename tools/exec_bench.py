"""What a program costs under ``zcrx-emu exec``, beside the same program without it.

Round by round each way is measured once, one after the other; shown are medians, and of ratios the
median of those within a round. Processor time is that of all processes, the sender's included,
less what ``zcrx-emu exec true`` takes: to start is not what is measured.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from emu.cli import run_function
from emu.cli.output import JsonOption, check_target, conclude, console_for
from emu.compile.toolchain import any_compiler
from emu.errors import EnvironmentProblem
from tools.bench import machine, report

PROGRAMS = Path(__file__).resolve().parents[1] / "tests" / "exec" / "programs"
SIZES = ("blind", "area=1024", "rq=1024", "cq=1024")
BATCHES = (1, 8, 32)
_EXEC = (sys.executable, "-m", "emu", "exec")
#: Of a program's line: the figure, and what it is of.
_FIGURE = re.compile(r"([0-9.]+) (GB/s|us a call|us a round trip)$", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Way:
    """One way to do the same, and what was measured of it, a figure a round."""

    name: str
    command: Sequence[str]
    figures: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)  #: of all that was started

    @property
    def is_exec(self) -> bool:
        return tuple(self.command[: len(_EXEC)]) == _EXEC

    def measure(self) -> None:
        text, cpu_s = _run(self.command)
        found = _FIGURE.search(text)
        if found is None:
            raise EnvironmentProblem(f"{self.name}: printed {text!r}, not a figure")
        self.figures.append(float(found[1]))
        self.cpu_s.append(cpu_s)


def _run(command: Sequence[str]) -> tuple[str, float]:
    """What it prints, and the processor time that it took with all that it started."""
    before = _children_s()
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        raise EnvironmentProblem(f"{' '.join(command[-4:])}: {lines[-1]}")
    return ended.stdout, _children_s() - before


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _build(folder: Path, name: str) -> str:
    target = folder / name
    flags = ["-O2", "-pthread", "-o", str(target)]
    subprocess.run([any_compiler().path, *flags, str(PROGRAMS / f"{name}.c")], check=True)
    return str(target)


def _has_io_uring(nop: str) -> bool:
    return subprocess.run([nop, "8"], capture_output=True, check=False).returncode == 0


def _bulk(receiver: str, size: int) -> list[Way]:
    words = [receiver, str(size), *SIZES]
    return [
        Way(name="recv() in a loop", command=[receiver, str(size), "blind", "plain"]),
        Way(name="exec", command=[*_EXEC, *words]),
        Way(name="exec --no-poison", command=[*_EXEC, "--no-poison", *words]),
        Way(
            name="exec --no-check --no-poison",
            command=[*_EXEC, "--no-check", "--no-poison", *words],
        ),
    ]


def _calls(nop: str, batch: int, calls: int, *, native: bool) -> list[Way]:
    words = [nop, str(batch * calls), str(batch)]
    ways = [Way(name=f"exec, {batch} a call", command=[*_EXEC, *words])]
    if native:
        ways.insert(0, Way(name=f"kernel, {batch} a call", command=words))
    return ways


def _trips(pingpong: str, trips: int, *, native: bool) -> list[Way]:
    words = [pingpong, str(trips)]
    ways = [
        Way(name="recv()", command=[*words, "recv"]),
        Way(name="kernel, RECV", command=[*words, "uring"]),
        Way(name="exec, RECV", command=[*_EXEC, *words, "uring"]),
        Way(name="exec, RECV_ZC", command=[*_EXEC, *words, "zc"]),
    ]
    return ways if native else [way for way in ways if not way.name.startswith("kernel")]


def _span(values: Sequence[float], digits: int = 2) -> str:
    least, middle, most = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def _ratios(way: Way, to: Way) -> list[float]:
    return [one / other for one, other in zip(way.figures, to.figures, strict=True)]


def _cpu_per_gb(way: Way, starts: Sequence[float], size: int) -> list[float]:
    started = starts if way.is_exec else [0.0] * len(starts)
    return [(s - start) / (size / 1e9) for s, start in zip(way.cpu_s, started, strict=True)]


def _show_bulk(console: Console, ways: Sequence[Way], starts: Sequence[float], size: int) -> None:
    table = Table(title=f"bulk receive over loopback, {size / 1e9:g} GB", title_justify="left")
    for column in ("way", "GB/s", "of recv()", "processor seconds a GB"):
        table.add_column(column)
    for way in ways:
        cpu = _span(_cpu_per_gb(way, starts, size))
        table.add_row(way.name, _span(way.figures), _span(_ratios(way, ways[0])), cpu)
    console.print(table)


def _show_times(console: Console, title: str, ways: Sequence[Way]) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("way", "us"):
        table.add_column(column)
    for way in ways:
        table.add_row(way.name, _span(way.figures))
    console.print(table)


def _take_rounds(rounds: int, groups: Sequence[Sequence[Way]]) -> list[float]:
    """Measure all of them, and what it takes to start: that is returned, a figure a round."""
    starts = []
    true = shutil.which("true") or "true"
    for _ in range(rounds):
        starts.append(_run([*_EXEC, true])[1])
        for ways in groups:
            for way in ways:
                way.measure()
    return starts


def _as_json(groups: dict[str, list[Way]], starts: list[float], size: int) -> dict[str, object]:
    return {
        "load": os.getloadavg()[0],
        "bytes": size,
        "start_cpu_s": starts,
        "groups": {
            name: [{"way": w.name, "figures": w.figures, "cpu_s": w.cpu_s} for w in ways]
            for name, ways in groups.items()
        },
    }


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 5,
    megabytes: Annotated[int, typer.Option(min=1, help="Of one bulk receive.")] = 4000,
    quick: Annotated[bool, typer.Option("--quick", help="One short round of each.")] = False,
    json: JsonOption = None,
) -> None:
    """Measure bulk receive, calls of no-operations and round trips of 64 bytes."""
    check_target("--json", json)
    calls, trips = 20000, 10000
    if quick:
        rounds, megabytes, calls, trips = 1, 100, 200, 200
    size = megabytes * 1_000_000
    console = console_for(json)
    with tempfile.TemporaryDirectory(prefix="zcrx-emu-bench-") as name:
        build: Callable[[str], str] = lambda program: _build(Path(name), program)  # noqa: E731
        nop = build("nop")
        native = _has_io_uring(nop)
        bulk = _bulk(build("receiver"), size)
        nops = [w for batch in BATCHES for w in _calls(nop, batch, calls, native=native)]
        trip = _trips(build("pingpong"), trips, native=native)
        report.print_machine(console, machine.describe())
        starts = _take_rounds(rounds, (bulk, nops, trip))
    _show_bulk(console, bulk, starts, size)
    _show_times(console, "a call of so many no-operations", nops)
    _show_times(console, "64 bytes there and back over loopback", trip)
    if not native:
        console.print("This kernel lets nobody use io_uring: there is none to compare with.")
    groups = {"bulk": bulk, "nop": nops, "round trip": trip}
    conclude(json, _as_json(groups, starts, size))


if __name__ == "__main__":
    run_function(main, "exec_bench")
