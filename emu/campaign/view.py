"""What a person sees of a campaign: redrawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from emu.campaign import drive
from emu.campaign.plan import Plan
from emu.campaign.result import State
from emu.campaign.summary import again, verdict_of
from emu.cli.render import RedrawnView, short

PLAIN_EVERY_S = 5.0
#: Of long lists, what is shown; all is in the report.
_FINDINGS, _FAILED, _CELLS = 20, 5, 40
_WIDTH = 240


def say(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def spell(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class PiecesView(RedrawnView):
    """The view of a campaign at work."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._next_plain_s = PLAIN_EVERY_S
        self._bar = Progress(
            TextColumn("pieces"), BarColumn(), MofNCompleteColumn(), console=console
        )
        self._task = self._bar.add_task("pieces", total=None)

    def tell(self, line: str) -> None:
        """Say something that stays."""
        say(self._console, line if len(line) <= _WIDTH else f"{line[: _WIDTH - 4]} ...")

    def update(self, progress: drive.Progress) -> None:
        """Show where it stands."""
        if self._live is not None:
            done = progress.total - progress.counts[State.WAITING]
            self._bar.update(self._task, total=progress.total, completed=done)
            table = Table(show_header=False)
            for name, value in self._rows(progress):
                table.add_row(name, value)
            self._live.update(Group(self._bar, table))
        elif progress.seconds >= self._next_plain_s:
            self._next_plain_s = progress.seconds + PLAIN_EVERY_S
            say(self._console, ", ".join(f"{n} {v}" for n, v in self._rows(progress)))

    def _rows(self, progress: drive.Progress) -> list[tuple[str, str]]:
        counts = progress.counts
        waiting = counts[State.WAITING] - progress.running
        rows = [
            ("time", spell(progress.seconds)),
            ("done", f"{progress.done} of {progress.total}"),
            ("running", f"{progress.running} on {progress.workers} workers"),
            ("waiting", str(max(waiting, 0))),
            ("failed", str(counts[State.FAILED])),
            ("findings", str(progress.findings)),
        ]
        if progress.programs:
            edges = f", {progress.edges} edges" if progress.edges else ""
            rows.append(("corpus", f"{progress.programs} programs{edges}"))
        rows.append(("rate", short(progress.rate, "/s")))
        if progress.left_s is not None:
            rows.append(("left", spell(progress.left_s)))
        return rows


def print_dry(console: Console, plan: Plan) -> None:
    """Say what a plan comes to."""
    cells: dict[tuple[str, str, str], int] = {}
    for piece in plan.pieces.values():
        key = (piece.job, piece.command, " ".join(piece.words))
        cells[key] = cells.get(key, 0) + 1
    table = Table(header_style="bold")
    for name in ("job", "command", "options"):
        table.add_column(name)
    table.add_column("pieces", justify="right")
    for (job, command, words), count in list(cells.items())[:_CELLS]:
        table.add_row(job, command, escape(words), str(count))
    console.print(table)
    if len(cells) > _CELLS:
        say(console, f"and {len(cells) - _CELLS} more combinations")
    size = sum(map(len, plan.files.values()))
    say(console, f"{len(plan.pieces)} pieces in {len(cells)} combinations of options")
    if plan.repeated:
        say(console, f"{plan.repeated} more are in several jobs, and are done once")
    if plan.files:
        say(console, f"{len(plan.files)} files of {size} bytes go to workers with them")


def print_summary(console: Console, summary: Mapping[str, Any]) -> None:
    """Say what a campaign came to; its verdict is the last line."""
    found, failed = summary["findings"], summary["failed"]
    if found:
        table = Table(header_style="bold")
        table.add_column("finding")
        table.add_column("pieces", justify="right")
        table.add_column("what")
        for item in found[:_FINDINGS]:
            table.add_row(escape(item["signature"]), str(item["pieces"]), escape(item["what"]))
        console.print(table)
        for item in found[:_FINDINGS]:
            say(console, f"again: {again(item)}")
    for item in failed[:_FAILED]:
        say(console, f"not done: {item['again']}: {item['why']}")
    if len(failed) > _FAILED:
        say(console, f"and {summary['pieces']['failed'] - _FAILED} more, see the report")
    for item in summary["corpora"]:
        reached = ", ".join(f"{value} {name}" for name, value in (item["coverage"] or {}).items())
        more = f", which reach {reached}" if reached else ""
        say(console, f"corpus {item['target']}: {item['programs']} programs{more}")
    if summary["earlier"]:
        say(
            console,
            f"{summary['earlier']} pieces were done that this plan does not have: not counted",
        )
    if summary["problem"]:
        say(console, summary["problem"])
    code, word, sentence = verdict_of(summary)
    colour = {0: "green", 1: "red"}.get(code, "yellow")
    console.print(f"[bold {colour}]{word}[/]: {escape(sentence)}", highlight=False, soft_wrap=True)
