"""Scenarios by name, or from a Python file of the user's own."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from emu.errors import ConfigError, EmuError
from emu.race.library import SCENARIOS
from emu.race.operations import check_operations
from emu.race.scenario import Scenario
from faults.near import near_to


def find_scenarios(text: str | None) -> list[Scenario]:
    """Look scenarios up: a ready one's name, a ``.py`` file, or None for all ready ones.

    Raises:
        ConfigError: There is no such scenario (the nearest names are offered), or the file is
            wrong (file and line are named).
    """
    if text is None:
        found = list(SCENARIOS.values())
    elif text in SCENARIOS:
        found = [SCENARIOS[text]]
    elif text.endswith(".py") or "/" in text:
        found = _read(Path(text))
    else:
        near = near_to(text, SCENARIOS) or list(SCENARIOS)[:3]
        raise ConfigError.of(
            "scenario", text, f"near are {', '.join(near)}; 'race --list' has all; or name a .py"
        )
    for scenario in found:
        for actor, operations in scenario.actors.items():
            check_operations(f"actor {actor}", operations)
        check_operations("setup", scenario.setup)
        check_operations("end", scenario.end)
    return found


def _line_of(error: BaseException, path: Path) -> int | None:
    """The innermost line of a file that an error came through."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return lines[-1] if lines else None


def _read(path: Path) -> list[Scenario]:
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"scenario: {str(path)!r} cannot be read ({why})") from None
    names: dict[str, Any] = {"__name__": "scenario", "__file__": str(path)}
    try:
        exec(compile(source, str(path), "exec"), names)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the user's file raises, SystemExit included
        line = _line_of(error, path)
        where = f"{path}:{line}" if line is not None else str(path)
        kind = "" if isinstance(error, EmuError) else f"{type(error).__name__}: "
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"scenario: {where}: {kind}{what}") from None
    value = names.get("SCENARIOS", names.get("SCENARIO"))
    found = [value] if isinstance(value, Scenario) else value
    if isinstance(found, dict):
        found = list(found.values())
    if (
        not isinstance(found, (list, tuple))
        or not found
        or not all(isinstance(item, Scenario) for item in found)
    ):
        raise ConfigError(
            f"scenario: {path}: it must define SCENARIO = emu.race.Scenario(…), or SCENARIOS, "
            "a list of them"
        )
    return list(found)
