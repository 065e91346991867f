"""The folder of a run: what lies in it, made and written.

``run.json``        the report
``journal.toml``    what fired, as a plan; of a run with a plan
``flight.json``,    what happened around the first finding, to be read by programs and
``flight.txt``      by people; of a run with a finding
``tracebacks.txt``  of processes that ended with an exception
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from emu.errors import ConfigError
from emu.flight import FlightLog
from emu.report import Report, write_json, write_text

JOURNAL = "journal.toml"
FLIGHT = "flight.txt"
TRACEBACKS = "tracebacks.txt"


def make_run_dir(path: Path) -> Path:
    """Make the folder of a run.

    Raises:
        ConfigError: It cannot be made or written to, or an earlier run is in it.
    """
    try:
        if (path / "run.json").exists():
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


def write_run(
    run_dir: Path,
    report: Report,
    *,
    journal: str | None,
    log: FlightLog | None,
    tracebacks: Sequence[str],
) -> None:
    """Write all that a finished run leaves in its folder.

    Raises:
        EnvironmentProblem: A file cannot be written.
    """
    if journal is not None:
        write_text(run_dir / JOURNAL, journal)
    write_json(run_dir / "run.json", report.as_dict())
    if log is not None:
        write_text(run_dir / "flight.json", log.json_text())
        write_text(run_dir / FLIGHT, log.text())
    if tracebacks:
        write_text(run_dir / TRACEBACKS, "\n".join(tracebacks))
