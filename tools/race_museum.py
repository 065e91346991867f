"""Measure how soon the simulation shows each seeded racing bug, and by how few switches.

``python -m tools.race_museum`` builds the simulation with one bug after the other and lets each
strategy look for it in the bug's scenario, in each memory model that can show it. Exit code 1 if
there is a bug that no strategy found, or if the CVE took too long or too many switches.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import math
import os
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from emu.bugs import RACING_BUGS, Bug, find_bug, level_for
from emu.cli import run_function
from emu.compile.records import Record
from emu.compile.toolchain import any_compiler
from emu.errors import EmuError
from emu.race.build import build_simulation
from emu.race.library import SCENARIOS
from emu.race.live import run_live
from emu.race.script import read_script
from emu.race.setups import SETUPS

DOCS = Path(__file__).parents[1] / "docs" / "race-museum.md"
#: From the strongest to the weakest.
MODELS = ("sc", "tso", "c11")
DEPTH = 3
CVE = "cve-2026-43121"
#: What is promised of it, in its own memory model.
_CVE_SECONDS = 1.0
_CVE_SWITCHES = 3
_UNFORTUNATE = "not found"
#: Even to find a build in the cache takes longer than most searches.
_simulation_with = functools.cache(build_simulation)


class Strategy(enum.Enum):
    """Who chooses the interleavings."""

    EXHAUSTIVE = "exhaustive"
    RANDOM = "random"
    PCT = "pct"

    def runs(self, wanted: int) -> int:
        """How many searches differ from each other: a complete one knows no chance."""
        return 1 if self is Strategy.EXHAUSTIVE else wanted


@dataclass(frozen=True, slots=True)
class Attempt:
    """One search.

    Attributes:
        seconds: Until the first finding; infinite if there was none in time.
        schedules: Executions until then; infinite if there was none.
        switches: Context switches of the finding once it is short; 0 unless asked for.
        steps: Of the same; drains of store buffers are steps.
        is_complete: Everything was searched, and there is nothing to find.
    """

    seconds: float = math.inf
    schedules: float = math.inf
    switches: int = 0
    steps: int = 0
    is_complete: bool = False


@dataclass(frozen=True, slots=True)
class Hunt:
    """What one strategy did about one bug in one memory model."""

    strategy: Strategy
    memory: str
    attempts: list[Attempt]

    @property
    def found(self) -> int:
        """How many of the attempts found it."""
        return sum(attempt.seconds < math.inf for attempt in self.attempts)

    @property
    def seconds(self) -> float:
        """Median; infinite when half of the attempts found nothing."""
        return statistics.median([attempt.seconds for attempt in self.attempts] or [math.inf])

    @property
    def schedules(self) -> float:
        """Median; infinite when half of the attempts found nothing."""
        return statistics.median([attempt.schedules for attempt in self.attempts] or [math.inf])

    @property
    def is_in_vain(self) -> bool:
        """Whether it is known that there is nothing to find."""
        return any(attempt.is_complete for attempt in self.attempts)

    @property
    def text(self) -> str:
        """Schedules and seconds, for a table."""
        if not self.attempts or self.is_in_vain:
            return "none" if self.attempts else "-"
        if self.seconds == math.inf:
            text = _UNFORTUNATE
        else:
            text = f"{self.schedules:.0f} / {self.seconds:.3f}"
        every = len(self.attempts)
        return text if self.found in (0, every) else f"{text} ({self.found} of {every})"


def models_of(bug: Bug) -> tuple[str, ...]:
    """The memory models in which a bug is looked for: its own, and those that are weaker."""
    return MODELS[MODELS.index(bug.memory) :]


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[Iterator[Record]]:
    """What a simulation says; it is gone afterwards, whatever happens."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield (Record.of(line.rstrip("\n")) for line in process.stdout)
        finally:
            process.kill()


def _numbers(bug: Bug) -> str:
    """The scenario that shows it, at a level that shows it."""
    scenario = SCENARIOS[bug.scenario].at(level_for(bug, None, experimental=True))
    return read_script(scenario.name, scenario.text).numbers


def attempt(
    bug: Bug, strategy: Strategy, memory: str, seed: int, seconds: float, *, shorten: bool
) -> Attempt:
    """Look for a bug once; with ``shorten`` also for the schedule with the fewest switches."""
    simulation = _simulation_with(bug)
    seen = Attempt()
    ended = False
    with tempfile.NamedTemporaryFile("w", suffix=".scenario") as file:
        file.write(_numbers(bug))
        file.flush()
        limits = ["0", str(math.ceil(seconds)), str(DEPTH), "-"]
        command = [str(simulation), file.name, strategy.value, memory, str(seed), *limits]
        with _running(command) as records:
            for record in records:
                if record.event == "end":
                    ended = True
                    if not record.flag("found"):
                        seen = Attempt(is_complete=record.flag("complete"))
                        break
                    seen = Attempt(float(record.values["seconds"]), record.number("schedules"))
                    if not shorten:
                        break
                elif record.event == "finding":
                    steps = len(record.values["schedule"].split())
                    seen = Attempt(seen.seconds, seen.schedules, record.number("switches"), steps)
    if not ended:
        raise EmuError(f"simulation: {bug.name!r} did not come to an end in {bug.scenario!r}")
    return seen


def _short(hunts: list[Hunt], memory: str) -> Attempt | None:
    """The finding with the fewest switches in a memory model."""
    found = [one for hunt in hunts if hunt.memory == memory for one in hunt.attempts if one.steps]
    return min(found, key=lambda one: (one.switches, one.steps), default=None)


def _switches(bug: Bug, hunts: list[Hunt]) -> str:
    short = _short(hunts, bug.memory)
    return "-" if short is None else f"{short.switches} / {short.steps}"


def _cell(bug: Bug, hunts: list[Hunt], strategy: Strategy, newline: str) -> str:
    return newline.join(hunt.text for hunt in hunts if hunt.strategy is strategy)


def _lost(museum: dict[str, list[Hunt]]) -> list[str]:
    return [name for name, hunts in museum.items() if not any(hunt.found for hunt in hunts)]


def _broken_promise(museum: dict[str, list[Hunt]]) -> str:
    """What is wrong with the CVE; empty if nothing is, or if it was not looked for."""
    if CVE not in museum:
        return ""
    own = [hunt for hunt in museum[CVE] if hunt.memory == RACING_BUGS[CVE].memory]
    slowest = max(hunt.seconds for hunt in own)
    short = _short(own, RACING_BUGS[CVE].memory)
    if slowest > _CVE_SECONDS:
        return f"{CVE}: {slowest:.2f} s, at most {_CVE_SECONDS:g} s are allowed"
    if short is None or short.switches > _CVE_SWITCHES:
        return f"{CVE}: {short and short.switches} switches, at most {_CVE_SWITCHES} are allowed"
    return ""


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}"
    return f"{models[0] if models else platform.machine()}, {cores} core(s), {system}"


def _document(
    museum: dict[str, list[Hunt]], live: dict[str, float], command: str, runs: int, seconds: float
) -> str:
    lost = _lost(museum)
    own = {name: _short(hunts, RACING_BUGS[name].memory) for name, hunts in museum.items()}
    counts = [short.switches for short in own.values() if short]
    missed = {
        strategy: sum(
            hunt.seconds == math.inf and not hunt.is_in_vain
            for hunts in museum.values()
            for hunt in hunts
            if hunt.strategy is strategy and hunt.attempts
        )
        for strategy in Strategy
    }
    met = sum(1 for rate in live.values() if rate)
    live_lines = [
        f"- **Live**: hits an hour by [real processes](racing-live.md), tried for a short while: "
        f"{met} of {len(live)} were met at all. 0: not in that time (a missing order is often the "
        "same instruction on x86). -: the scenario has no live set-up, or only c11 shows the bug."
    ] * bool(live)
    lines = [
        "# A museum of racing bugs",
        "",
        f"{len(museum)} mistakes that are none as long as nobody comes in between "
        "([emu/bugs/racing](../emu/bugs/racing)), each put into a simulation of its own "
        "([racing.md](racing.md)). Each strategy looked for each of them in a ready scenario that "
        f"is clean without it, for at most {seconds:g} s, in each memory model that can show it.",
        "A few need no more than a slow partner: what counts is that somebody comes in between.",
        "",
        "- **Memory**: the models, from the strongest that shows the bug; each has a line in the "
        "columns behind it. `sc` is every interleaving; `tso` adds store buffers, as x86 has them; "
        "`c11` adds stale loads, as far as release and acquire allow them. Data races are looked "
        "for in all of them. `none`: a complete search shows that this model hides the bug, so "
        "nobody looked by chance (`-`); `tso` keeps orders that C11 does not promise.",
        f"- **Schedules / seconds** to the first finding: medians of {runs} seeds for `random` and "
        f"`pct` (depth {DEPTH}); `exhaustive` knows no chance and ran once. The start of the "
        "process is in it, building is not.",
        "- **Switches / steps** of the schedule that is left after shrinking, in the first of the "
        "models. In `tso` a store that leaves its buffer is a step, and a switch.",
        f"- **Found by no strategy**: {', '.join(lost) if lost else 'none'}. Not found by "
        + ", ".join(f"`{one.value}`: {count}" for one, count in missed.items())
        + " (bug and memory model, each counted).",
        f"- **Switches**: {statistics.median_low(counts or [0])} median, "
        f"{max(counts, default=0)} at most.",
        *live_lines,
        f"- **Machine**: {_machine()}; {any_compiler().version}. Other work shared it: times are "
        "upper bounds.",
        f"- **Command**: `{command}`",
        "",
        "| bug | what is wrong | scenario | memory | "
        + " | ".join(strategy.value for strategy in Strategy)
        + " | switches / steps |"
        + (" live, hits an hour |" if live else ""),
        "| --- | --- | --- | --- |" + " ---: |" * (len(Strategy) + 1) + " ---: |" * bool(live),
    ]
    for name, hunts in museum.items():
        bug = RACING_BUGS[name]
        cells = [f"`{name}`", bug.explanation, f"`{bug.scenario}`"]
        cells += ["<br>".join(models_of(bug))]
        cells += [_cell(bug, hunts, strategy, "<br>") for strategy in Strategy]
        cells += [_switches(bug, hunts)]
        if live:
            cells += [f"{live[name]:.0f}" if name in live else "-"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _summary(museum: dict[str, list[Hunt]]) -> Table:
    table = Table(header_style="bold", title="schedules / seconds; switches / steps")
    table.add_column("bug")
    table.add_column("memory")
    for strategy in Strategy:
        table.add_column(strategy.value, justify="right")
    table.add_column("switches", justify="right")
    for name, hunts in museum.items():
        bug = RACING_BUGS[name]
        cells = [_cell(bug, hunts, strategy, "\n") for strategy in Strategy]
        table.add_row(name, "\n".join(models_of(bug)), *cells, _switches(bug, hunts))
    return table


def measure_live(
    bugs: Sequence[Bug], seconds: float, seed: int, watch: Callable[[str], None]
) -> dict[str, float]:
    """Hits an hour of each bug in real processes; those whose scenario has no set-up are left out.

    What shows under c11 alone is left out too: this processor may not do it.
    """
    hits = {}
    for bug in bugs:
        if bug.scenario in SETUPS and bug.memory != "c11":
            watch(bug.name)
            hits[bug.name] = run_live(bug.scenario, bug, seconds=seconds, seed=seed).hits_per_hour
    return hits


def main(
    bug: Annotated[
        list[str] | None, typer.Option(help="Only this bug; may be given several times.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Searches by chance, a seed each.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="For how long each, at most.")] = 10.0,
    seed: Annotated[int, typer.Option(min=1, help="Of the first search; others follow.")] = 1,
    live: Annotated[
        float, typer.Option(min=0, help="Seconds of real processes for each; 0 = none.")
    ] = 0.0,
    write: Annotated[bool, typer.Option("--write", help=f"Write docs/{DOCS.name}.")] = False,
) -> None:
    """Measure how soon each seeded racing bug is found, and by how few switches."""
    bugs = [find_bug(name, RACING_BUGS) for name in bug] if bug else [*RACING_BUGS.values()]
    console = Console()
    museum: dict[str, list[Hunt]] = {}
    searches = [
        (one, memory, strategy)
        for one in bugs
        for memory in models_of(one)
        for strategy in Strategy
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=len(searches))
        for one, memory, strategy in searches:
            progress.update(task, description=f"{one.name}, {strategy.value}, {memory}")
            # Store buffers make schedules long, and making them short takes seconds.
            shorten = strategy is Strategy.EXHAUSTIVE and memory == one.memory
            hunts = museum.setdefault(one.name, [])
            # Nobody looks by chance for what is known not to be there.
            in_vain = any(hunt.memory == memory and hunt.is_in_vain for hunt in hunts)
            attempts = [
                attempt(one, strategy, memory, seed + at, seconds, shorten=shorten)
                for at in range(0 if in_vain else strategy.runs(runs))
            ]
            hunt = Hunt(strategy, memory, attempts)
            hunts.append(hunt)
            # A log file shows no bar: what is done is told search by search.
            if not console.is_terminal or not (hunt.found or in_vain):
                text = f"{one.name}, {strategy.value}, {memory}: {hunt.text}"
                progress.console.print(text)
            progress.advance(task)
        hits: dict[str, float] = {}
        if live:
            task = progress.add_task("real processes", total=None)
            hits = measure_live(
                bugs, live, seed, lambda name: progress.update(task, description=f"{name}, live")
            )
    console.print(_summary(museum))
    if hits:
        met = sum(1 for rate in hits.values() if rate)
        console.print(f"real processes, {live:g} s each: {met} of {len(hits)} were hit")
    if write:
        command = f"python -m tools.race_museum --runs {runs} --seconds {seconds:g} --seed {seed}"
        command += f" --live {live:g}" * bool(live) + " --write"
        DOCS.write_text(_document(museum, hits, command, runs, seconds))
    lost, promise = _lost(museum), _broken_promise(museum)
    if lost:
        console.print(f"not found by any strategy: {', '.join(lost)}")
    if promise:
        console.print(promise)
    if lost or promise:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_function(main, "race_museum")
