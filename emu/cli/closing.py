"""The closing verdict of a run as a person reads it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emu.cli.again import options
from emu.cli.render import short
from emu.contract import BY_RUNS
from emu.verdict.report import SETUP_FAILED, Report
from emu.verdict.rundir import FINDINGS, REPORT
from faults import VALID_VERDICTS

#: Of a good run; all are in its report.
_CONSEQUENCES = 5
#: Of a run with a finding, so that all is in one screen: notes, problems, rows of the table of
#: verdicts, lines of the explanation, events before the first finding, and from it on.
_NOTES, _PROBLEMS, _ROWS, _EXPLAINED, _BEFORE, _AFTER = 3, 6, 4, 9, 3, 3
_WIDTH = 132


def _expected(labels: tuple[str, ...]) -> str:
    """Legal verdicts in few words: those of a valid return go by that name."""
    rest = [label for label in labels if label not in VALID_VERDICTS]
    if set(labels) >= VALID_VERDICTS:
        return " or ".join(["as a valid one", *rest])
    return " or ".join(labels)


def _reconciliation_table(report: Report) -> Table:
    table = Table(header_style="bold")
    table.add_column("entries")
    table.add_column("injected", justify="right")
    table.add_column("judged", justify="right")
    table.add_column("verdicts earned")
    table.add_column("expected")
    table.add_column("mismatches", justify="right")
    table.add_column("consequences", justify="right")
    for row in report.reconciliation.rows:
        earned = ", ".join(f"{name} {count}" for name, count in row.earned.items()) or "none"
        style = "bold red" if row.mismatches else None
        table.add_row(
            row.name,
            str(row.injected),
            str(row.judged),
            earned,
            _expected(row.expected),
            str(row.mismatches),
            str(row.consequences or ""),
            style=style,
        )
    return table


def _summary(report: Report) -> list[str]:
    packets = report.total("nic", "packets_delivered")
    size = report.total("nic", "bytes_delivered")
    elapsed = report.elapsed_s or 1.0
    dropped = report.total("nic", "packets_dropped")
    scrubbed = sum(queue.scrub["references"] for queue in report.queues)
    buffers = sum(queue.scrub["buffers"] for queue in report.queues)
    lines = [
        f"ended: {report.ended} after {report.elapsed_s:.2f} s",
        f"delivered {packets} packets ({short(packets / elapsed, 'packets/s')}), "
        f"{size} bytes ({short(size / elapsed, 'B/s')}); dropped {dropped}",
        f"RQEs: {report.total('consumer', 'rqe_submitted')} submitted, "
        f"{report.total('provider', 'consumed')} consumed, "
        f"{report.reconciliation.unconsumed} left in the ring, "
        f"{report.total('provider', 'aliases')} aliases",
        f"scrub: {scrubbed} user references taken back, {buffers} buffers came home by it",
    ]
    used = report.reconciliation.credits
    if used.used_of_scrubs or used.used_of_strays:
        with_it = ""
        if report.config.get("kernel") in BY_RUNS:
            with_it = ", or that stood in a run with one that found none"
        lines.append(
            f"excused: {used.used_of_scrubs} returns whose reference a scrub had taken (of "
            f"{used.scrubbed} scrubbed), {used.used_of_strays} whose reference a stray entry had "
            f"taken{with_it} (of {sum(used.strays.values())} that took one)"
        )
    return lines


def print_report(console: Console, report: Report) -> None:
    """Print the closing verdict: all of it if it is good, what matters of it if it is not."""
    if report.ok:
        _print_pass(console, report)
    else:
        _print_failure(console, report)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _print_pass(console: Console, report: Report) -> None:
    for note in report.notes:
        _say(console, f"note: {note}")
    for line in _summary(report):
        _say(console, line)
    console.print(_reconciliation_table(report))
    for statement in report.statements:
        mark = "[green]holds[/]   " if statement.holds else "[yellow]unknown[/] "
        text = escape(statement.text + statement.mark)
        console.print(f"{mark} {statement.name:<12} {text}", highlight=False, soft_wrap=True)
    for consequence in report.reconciliation.consequences[:_CONSEQUENCES]:
        _say(console, f"consequence: {consequence}")
    if report.run_dir:
        _say(console, f"run folder: {report.run_dir}")
    proven = "every byte, buffer and entry is accounted for"
    if report.ended == SETUP_FAILED:
        proven = "what was set up before the failure was undone"
    elif any(queue.checker is not None for queue in report.queues):
        proven = "every buffer and entry is accounted for; the bytes are the consumer's to check"
    console.print(f"[bold green]PASS[/]: {proven}")


def _print_failure(console: Console, report: Report) -> None:
    """One screen: what was noticed first is explained; the rest is in the run's folder."""
    _say_some(console, [f"note: {note}" for note in report.notes], "notes", _NOTES)
    for line in _summary(report):
        _say(console, line)
    for line in _standing(report):
        _say(console, line)
    if report.reconciliation.mismatches:
        _say(console, f"mismatch: {report.reconciliation.mismatches[0]}")
    if report.explanations:
        first, *others = report.explanations
        text = f"{first.kind} explained: {first.text}"
        for line in _cut_lines(textwrap.wrap(text, min(console.width, _WIDTH))):
            _say(console, line)
        if others:
            _say(console, f"explained in {FINDINGS}: {', '.join(item.kind for item in others)}")
    if report.flight_lines:
        _say(console, "around the first finding (microseconds, process, event):")
        for line in _nearest(report.flight_lines):
            _say(console, line)
    _say_some(console, [f"FAIL: {text}" for text in _problems(report)], "findings", _PROBLEMS)
    if report.run_dir:
        files = ", ".join(_files(report.run_dir)) or "nothing: it cannot be written"
        _say(console, f"run folder: {report.run_dir}, with {files}")
    if report.flight:
        _say(console, f"flight recorder: {report.flight}")
    folder = report.config.get("modules_from")
    if folder:
        _say(console, f"modules are looked for in the working directory, which was {folder}")
    _say(console, f"same again: {options(report.config)}")


def _say_some(console: Console, lines: Sequence[str], what: str, most: int) -> None:
    """The first of them, none longer than two lines of a log; how many more there are."""
    for line in lines[:most]:
        shown = line if len(line) <= 2 * _WIDTH else f"{line[: 2 * _WIDTH - 4]} ..."
        if shown.startswith("FAIL"):
            console.print(f"[bold red]FAIL[/]{escape(shown[4:])}", highlight=False, soft_wrap=True)
        else:
            _say(console, shown)
    if len(lines) > most:
        _say(console, f"{len(lines) - most} more {what} in {REPORT}")


def _problems(report: Report) -> list[str]:
    """The one that is explained first: the others may be what came of it."""
    first = report.explanations[0].kind if report.explanations else ""
    return sorted(report.problems, key=lambda text: not text.startswith(f"{first}: "))


def _standing(report: Report) -> list[str]:
    """What holds and what could not be judged, by name; and where verdicts are wrong."""
    lines = []
    for holds, word in ((True, "holds   "), (None, "unknown ")):
        names = [item.name for item in report.statements if item.holds is holds]
        if names:
            lines.append(f"{word} {', '.join(names)}")
    rows = sorted(report.reconciliation.rows, key=lambda row: -row.mismatches)
    wrong = [f"{row.mismatches} of {row.judged} {row.name}" for row in rows if row.mismatches]
    if wrong:
        more = f", {len(wrong) - _ROWS} more in {FINDINGS}" if len(wrong) > _ROWS else ""
        lines.append(f"wrong verdicts: {', '.join(wrong[:_ROWS])}{more}")
    return lines


def _cut_lines(lines: list[str]) -> list[str]:
    if len(lines) <= _EXPLAINED:
        return lines
    return [*lines[: _EXPLAINED - 1], f"... (all of it in {FINDINGS})"]


def _nearest(lines: Sequence[str]) -> Sequence[str]:
    """The events next to the finding, of a few more; each begins with its time."""
    at = next((n for n, line in enumerate(lines) if float(line.split()[0]) >= 0), len(lines))
    return lines[max(at - _BEFORE, 0) : at + _AFTER]


def _files(run_dir: str) -> list[str]:
    """What the run's folder holds, the files for people first."""
    try:
        found = sorted(path.name for path in Path(run_dir).iterdir() if path.is_file())
    except OSError:  # it could not be written, and went again
        return []
    return sorted(found, key=lambda name: not name.endswith(".txt"))
