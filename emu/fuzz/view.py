"""What a person sees of a campaign, and a finding in words."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emu.cli.render import RedrawnView, short
from emu.fuzz.campaign import CampaignPlan, CampaignProgress
from emu.fuzz.coverage import Gap
from emu.fuzz.finding import Finding
from emu.fuzz.harness import Execution

PLAIN_EVERY_S = 5.0
#: Of a sanitizer's report, where a finding is to be read in one screen.
_REPORT_LINES = 14


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


class CampaignView(RedrawnView):
    """The view of a running campaign: redrawn on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, plan: CampaignPlan) -> None:
        super().__init__(console)
        self._plan = plan
        self._next_plain_s = PLAIN_EVERY_S
        self._told: set[str] = set()
        self._told_cut: set[str] = set()

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self, progress: CampaignProgress) -> None:
        """Show where the campaign stands; a new finding is named at once."""
        for finding, path in progress.findings:
            signature, is_cut = finding.trial.signature, finding.trial.signature in progress.cut
            if signature not in self._told:
                self._told.add(signature)
                if not is_cut:
                    self._say(f"finding {signature}: it is being cut down")
            if is_cut and signature not in self._told_cut:
                self._told_cut.add(signature)
                self._say(f"finding {signature} in {finding.trial.operations} operations: {path}")
        if self._live is not None:
            self._live.update(self._table(progress))
        elif progress.seconds >= self._next_plain_s:
            self._next_plain_s = progress.seconds + PLAIN_EVERY_S
            text = ", ".join(f"{name} {value}" for name, value in self._rows(progress))
            self._console.print(text, highlight=False, soft_wrap=True)

    def _rows(self, progress: CampaignProgress) -> list[tuple[str, str]]:
        limit = f" of {self._plan.seconds:.0f}" if self._plan.seconds else ""
        rows = [
            ("time", f"{progress.seconds:.0f}{limit} s"),
            ("executions", short(progress.executions)),
            ("rate", short(progress.per_second, "/s")),
        ]
        if progress.coverage is not None:
            rows.append(("coverage", progress.coverage.text))
        if progress.edges:
            rows.append(("edges", f"{progress.edges} (last new {_age(progress.edge_age_s)} ago)"))
        rows += [
            ("corpus", f"{progress.corpus} programs"),
            ("findings", f"{progress.found}"),
        ]
        if progress.deaths:
            rows.append(("workers replaced", f"{progress.deaths}"))
        return rows

    def _table(self, progress: CampaignProgress) -> Table:
        table = Table(show_header=False, title=f"{self._plan.engine}: {self._plan.target.label}")
        for name, value in self._rows(progress):
            table.add_row(name, value)
        return table


def print_summary(console: Console, plan: CampaignPlan, progress: CampaignProgress) -> None:
    """Say what a campaign came to."""
    rate = progress.executions / progress.seconds if progress.seconds else 0.0
    console.print(
        f"{plan.engine}, seed {plan.seed}: {progress.executions} executions in "
        f"{progress.seconds:.1f} s ({short(rate, '/s')}), {progress.corpus} programs in the corpus",
        highlight=False,
    )
    if progress.coverage is not None:
        console.print(f"coverage: {progress.coverage.text}", highlight=False)
    if progress.killed:
        console.print(
            f"{progress.killed} workers were killed or stopped from outside; their programs show "
            "nothing",
            highlight=False,
        )
    if progress.findings:
        console.print(f"[bold red]FINDINGS: {len(progress.findings)}[/]")
    else:
        console.print("[bold green]no finding[/]")


def _shortened(report: str) -> str:
    """A sanitizer's report as far as it is read at once: what, where, and its last word."""
    lines = report.splitlines()
    if len(lines) <= _REPORT_LINES:
        return report
    kept = lines[: _REPORT_LINES - 2]
    more = f"    ... {len(lines) - len(kept) - 1} more lines in the finding's file"
    return "\n".join([*kept, more, lines[-1]])


def print_trial(console: Console, trial: Execution, *, in_full: bool = True) -> None:
    """Show a program step by step: what each operation must answer, and what it answered.

    Args:
        console: Where.
        trial: What came of the program.
        in_full: With all that a sanitizer said.
    """
    console.print(trial.shape, highlight=False)
    table = Table(header_style="bold")
    for name in ("", "operation", "expected", "actual"):
        table.add_column(name, overflow="fold")
    for step in trial.steps:
        wrong = step.expected != step.actual
        colour = "[bold red]" if wrong else ""
        table.add_row(
            str(step.number),
            escape(step.operation),
            escape(step.expected or "-"),
            f"{colour}{escape(step.actual or '-')}",
        )
    console.print(table)
    if trial.is_clean:
        console.print("[bold green]no finding[/]")
        return
    console.print(f"[bold red]{trial.signature}[/]: {escape(trial.meaning)}", highlight=False)
    console.print(
        f"after operation {trial.step}: {trial.what}: expected {trial.expected}, got "
        f"{trial.actual}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if trial.report:
        report = trial.report if in_full else _shortened(trial.report)
        console.print(report, highlight=False, markup=False, soft_wrap=True)


def print_finding(console: Console, finding: Finding) -> None:
    """Show a finding and what was attacked."""
    console.print(finding.target.label, highlight=False, markup=False, soft_wrap=True)
    print_before(console, finding)
    print_trial(console, finding.trial, in_full=False)


def print_before(console: Console, finding: Finding) -> None:
    """Say what a finding needs beside its program, and whether that suffices."""
    count = len(finding.before)
    if not finding.is_shown:
        console.print(
            "a worker showed this once; it has not shown again, neither alone nor behind the "
            f"{count} programs that ran before it and are kept with it",
            highlight=False,
        )
    elif count:
        console.print(
            f"it takes {count} other program(s) before it in the same process, which are kept "
            "with it: something is left between programs, beyond static data and what was "
            "allocated",
            highlight=False,
        )


def print_gaps(console: Console, gaps: list[Gap]) -> None:
    """List the outcomes of conditions that no program reached."""
    if not gaps:
        console.print("every outcome of every condition was reached")
        return
    table = Table(header_style="bold", title="outcomes that no program reached")
    for name in ("where", "missing", "condition", "reason"):
        table.add_column(name, overflow="fold")
    for gap in gaps:
        table.add_row(
            f"{gap.file}:{gap.line}\n{gap.function}()",
            "true" if gap.outcome else "false",
            escape(gap.condition),
            gap.reason or "[bold yellow]not found yet[/]",
        )
    console.print(table)
