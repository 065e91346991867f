"""The folder of a run: what lies in it, made and written.

``run.json``        the report
``findings.txt``    of a run with a finding: each one explained, mismatches, consequences
``journal.toml``    what fired, as a plan; of a run with a plan
``flight.json``,    what happened around the first finding, to be read by programs and
``flight.txt``      by people; of a run with a finding
``tracebacks.txt``  of processes that ended with an exception
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

from emu.errors import ConfigError, EnvironmentProblem
from emu.verdict.flight import FlightLog
from emu.verdict.report import Report, json_text, write_text

REPORT = "run.json"
FINDINGS = "findings.txt"
JOURNAL = "journal.toml"
FLIGHT = "flight.txt"
TRACEBACKS = "tracebacks.txt"
_WIDTH = 100


def make_run_dir(path: Path) -> Path:
    """Make the folder of a run.

    Raises:
        ConfigError: It cannot be made or written to, or an earlier run is in it.
    """
    try:
        if (path / REPORT).exists():
            raise FileExistsError(17, "it holds an earlier run")
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"run-dir: {str(path)!r} cannot be written ({why}); name a writable folder, without "
            "a run in it"
        ) from None
    return path


def findings_text(report: Report) -> str:
    """All that is known of a run's findings, in words."""
    reconciliation = report.reconciliation
    parts = [f"FAIL: {text}" for text in report.problems]
    for item in report.explanations:
        parts += ["", *textwrap.wrap(f"{item.kind} explained: {item.text}", _WIDTH)]
    rows = [row for row in reconciliation.rows if row.judged or row.injected]
    if rows:
        parts += ["", "entries: injected, judged, verdicts earned, mismatches, consequences"]
    for row in rows:
        earned = ", ".join(f"{name} {count}" for name, count in row.earned.items()) or "none"
        counts = f"{row.mismatches} mismatches, {row.consequences} consequences"
        parts.append(f"{row.name}: {row.injected}, {row.judged}, {earned}; {counts}")
    for title, lines, count in (
        ("mismatches", reconciliation.mismatches, reconciliation.mismatch_count),
        ("consequences", reconciliation.consequences, sum(row.consequences for row in rows)),
    ):
        if lines:
            parts += ["", f"{title}: {len(lines)} of {count}", *map(str, lines)]
    return "\n".join(parts) + "\n"


def write_run(
    run_dir: Path,
    report: Report,
    *,
    journal: str | None,
    log: FlightLog | None,
    tracebacks: Sequence[str],
) -> None:
    """Write all that a finished run leaves in its folder, and as much of it as can be.

    Raises:
        EnvironmentProblem: A file cannot be written: the first of those.
    """
    problems = []
    # The verdict goes first: what comes behind it may find the disk full.
    for name, text in (
        (REPORT, json_text(report.as_dict())),
        (FINDINGS, findings_text(report) if report.problems else None),
        (JOURNAL, journal),
        ("flight.json", None if log is None else log.json_text()),
        (FLIGHT, None if log is None else log.text()),
        (TRACEBACKS, "\n".join(tracebacks) or None),
    ):
        if text is not None:
            try:
                write_text(run_dir / name, text)
            except EnvironmentProblem as error:
                problems.append(error)
    if problems:
        raise problems[0]
