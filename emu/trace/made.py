"""The trace of what was done before: of a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emu.errors import ConfigError, cut
from emu.trace.run_trace import run_trace
from emu.verdict.finding_file import read_json
from emu.verdict.rundir import REPORT

_FLIGHT = "flight.json"
_ALLOWED = "name the folder of a run, or its run.json"


def trace_of(path: Path) -> dict[str, Any]:
    """The trace of a run from its folder, or from its ``run.json``.

    Without ``flight.json`` beside it, it has how the run went and no events.

    Raises:
        ConfigError: It cannot be read, or is no run.
    """
    file = path / REPORT if path.is_dir() else path
    report = _read(file)
    if "config" not in report or "ended" not in report:
        raise ConfigError(f"report: {cut(repr(str(file)))} is no run; {_ALLOWED}")
    flight = file.parent / _FLIGHT
    return run_trace(report, _read(flight) if flight.is_file() else None)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        value = read_json(file)
    except OSError as error:
        raise ConfigError(
            f"report: {cut(repr(str(file)))} cannot be read ({error.strerror}); {_ALLOWED}"
        ) from None
    except ValueError:
        raise ConfigError(f"report: {cut(repr(str(file)))} is no JSON; {_ALLOWED}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"report: {cut(repr(str(file)))} is no report; {_ALLOWED}")
    return value
