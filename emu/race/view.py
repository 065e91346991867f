"""What a person sees of a search: where it stands, and what it came to."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from emu.bugs import RACING_BUGS, Bug
from emu.cli.render import RedrawnView, short
from emu.contract import EXPERIMENTAL, SEED
from emu.race.library import SCENARIOS
from emu.race.live import LiveResult
from emu.race.operations import OPERATIONS
from emu.race.runner import MEMORY_WORDS, STRATEGY_WORDS, Memory, Result, Search, Strategy
from emu.race.scenario import Scenario

#: Without a terminal: a line of progress at first, and then now and then.
_FIRST_S = 1.0
_EVERY_S = 5.0


def estimate(result: Result) -> str:
    """How much of an exhaustive search is done, in words."""
    return f"about {100 * result.share:.2g} % after {result.seconds:.0f} s"


def progress_text(scenario: Scenario, result: Result) -> str:
    """One line about a running search."""
    parts = [f"{scenario.name}: {result.search.strategy}, {short(result.schedules)} executions"]
    if result.search.strategy is Strategy.EXHAUSTIVE:
        parts.append(estimate(result))
    else:
        parts.append(f"{result.seconds:.0f} s")
    if result.seconds:
        parts.append(short(result.steps / result.seconds, " steps/s"))
    return ", ".join(parts)


class SearchView(RedrawnView):
    """The view of running searches: redrawn on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._scenario: Scenario | None = None
        self._next_s = _FIRST_S

    def begin(self, scenario: Scenario) -> None:
        """Say which scenario is searched from now on."""
        self._scenario = scenario
        self._next_s = _FIRST_S

    def update(self, result: Result) -> None:
        """Show where its search stands."""
        assert self._scenario is not None
        text = progress_text(self._scenario, result)
        if self._live is not None:
            self._live.update(escape(text))
        elif result.seconds >= self._next_s:
            self._next_s = result.seconds + _EVERY_S
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class RunsView(RedrawnView):
    """The view of real runs, one after the other: redrawn on a terminal, elsewhere a line."""

    def __init__(self, console: Console, limit_s: float) -> None:
        super().__init__(console)
        self._limit_s = limit_s
        self._next_s = _FIRST_S
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console
        )
        self._task = self._progress.add_task("race --live", total=limit_s)

    def update(self, result: LiveResult) -> None:
        """Show where the runs stand."""
        if self._live is not None:
            self._live.update(self.picture(result))
        elif result.seconds >= self._next_s:
            self._next_s = result.seconds + _EVERY_S
            text = ", ".join(f"{name} {value}" for name, value in self._rows(result))
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def picture(self, result: LiveResult) -> Group:
        """What a terminal shows of a result."""
        table = Table(show_header=False)
        for name, value in self._rows(result):
            table.add_row(name, escape(value))
        self._progress.update(self._task, completed=min(result.seconds, self._limit_s))
        return Group(self._progress, table)

    def _rows(self, result: LiveResult) -> list[tuple[str, str]]:
        kinds = ", ".join(f"{kind} {count}" for kind, count in result.kinds.most_common())
        return [
            ("time", f"{result.seconds:.0f} of {self._limit_s:g} s"),
            ("runs", str(result.executions)),
            ("with a finding", f"{result.hits}" + (f" ({kinds})" if kinds else "")),
            ("packets", short(result.delivered)),
            ("returns judged", short(result.returned)),
            ("process faults", str(result.process_faults)),
            ("dawdled", short(result.dawdled.total)),
        ]


def guarantee(search: Search, result: Result, actors: int) -> str:
    """What pct promises for a bug of its depth."""
    # Under tso each actor's buffer is somebody who can go on, too.
    n = 2 * actors if search.memory is Memory.TSO else actors
    k, d = max(result.longest, 1), search.depth
    chance = 1 / (n * k ** (d - 1))
    missed = (1 - chance) ** result.schedules
    return (
        f"a bug of depth {d} is found by an execution with probability "
        f"1/(n*k^(d-1)) = 1/({n}*{k}^{d - 1}) = {chance:.3g} at least, by all of them with "
        f"{1 - missed:.4g}"
    )


def outcome(scenario: Scenario, result: Result) -> str:
    """What the search of a scenario came to, in a line of markup."""
    search = result.search
    cost = f"{result.steps} steps in {result.seconds:.2f} s"
    text = f"{scenario.name}: "
    if result.found is not None:
        return f"{text}[bold red]{result.found.kind}[/] after {result.schedules} executions, {cost}"
    if search.strategy is Strategy.EXHAUSTIVE:
        within = "" if search.bound is None else f" with {search.bound} preemptions at most"
        different = result.schedules - result.cut
        what = (
            f"{different} interleavings{within} "
            + ("" if search.bound is not None else "up to equivalence ")
            + f"({result.schedules} executions)"
        )
        if result.complete:
            return f"{text}[bold green]complete[/]: all {what}, {cost}"
        why = "interrupted, " if result.interrupted else ""
        if not result.repeats:
            why += "an execution done again came out differently: the provider keeps state, "
        return f"{text}[bold yellow]not complete[/] ({why}{estimate(result)}): {what}, {cost}"
    why = "[bold yellow]partial[/] (interrupted): " if result.interrupted else ""
    text = f"{text}{why}{result.schedules} executions by {search.strategy}, {cost}"
    if search.strategy is Strategy.PCT:
        text += f"; {guarantee(search, result, len(scenario.actors))}"
    return text


def _table(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(escape(name), escape(text))
    console.print(table)


def _of_levels(*kernels: str) -> str:
    named = [
        f"{kernel}, experimental" if kernel in EXPERIMENTAL else kernel
        for kernel in kernels
        if kernel != SEED
    ]
    return f" (kernel {', '.join(named)})" if named else ""


def print_lists(console: Console) -> None:
    """Show scenarios, bugs, strategies and memory models."""
    scenarios = [
        (item.name, item.explanation + _of_levels(item.kernel)) for item in SCENARIOS.values()
    ]
    bugs = [(bug.name, bug.explanation + _of_levels(*bug.kernels)) for bug in RACING_BUGS.values()]
    _table(console, "scenarios", scenarios)
    _table(console, "bugs", bugs)
    _table(console, "strategies", [(str(key), text) for key, text in STRATEGY_WORDS.items()])
    _table(console, "memory models", [(str(key), text) for key, text in MEMORY_WORDS.items()])


def print_operations(console: Console) -> None:
    """Show what a scenario can be made of."""
    rows = [(f"{name} {takes}".strip(), text) for name, (takes, text) in OPERATIONS.items()]
    _table(console, "operations", rows)


def label(bug: Bug | None, provider: Path | None) -> str:
    """What is tested."""
    if provider is not None:
        return f"provider {provider}"
    return f"our core with the bug {bug.name}" if bug else "our core"
