"""A problem of a run as a result: no line is known, but who is asked for what went wrong may be."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from emu.formats.of_fuzz import Operations
from emu.formats.rules import rule_of_run
from emu.formats.sarif import Mistake, Spot
from emu.verdict.finding_file import read_json
from emu.verdict.rundir import REPORT

#: What judges entries and grants buffers.
_JUDGES = frozenset({"run/exactness", "run/ownership"})
_DIED_IN = re.compile(r"\bin (\w+)\(\)")
_DIGITS = re.compile(r"\d+")
#: Of an explanation, which may be a page.
_EXPLAINED = 600


def _explanations(folder: Path) -> dict[str, str]:
    """The run's own words on its findings, by the kind."""
    try:
        value: Any = read_json(folder / REPORT)
        return {
            item["kind"]: textwrap.shorten(item["text"], _EXPLAINED)
            for item in value["explanation"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _where(rule: str, problem: str, kind: str, operations: Operations) -> tuple[Spot, str]:
    died_in = _DIED_IN.search(problem)
    name = died_in[1] if died_in else ""
    if kind == "consumer":
        name = "run"
    elif rule in _JUDGES:
        name = "alloc_netmems"
    spot = operations.spot(name) if name else None
    if spot is None:
        return operations.table(), f"No line is known: the location is the {kind} as a whole."
    where = f"The line is where {spot.function}() begins, "
    if died_in:
        return spot, f"{where}in which it died."
    if kind == "consumer":
        return spot, f"{where}which does all that a consumer does."
    return spot, f"{where}which judges entries and fills the cache; no line is known to be wrong."


def mistake_of_run(
    problem: str, folder: Path, again: str, kind: str, operations: Operations
) -> Mistake:
    """A problem of a run as a result.

    Args:
        problem: One of ``problems`` of its report.
        folder: The run's.
        again: The command that shows it again.
        kind: Whose fault it is: ``provider`` or ``consumer``.
        operations: Of that one.
    """
    rule = rule_of_run(problem)
    spot, meaning = _where(rule, problem, kind, operations)
    explained = _explanations(folder).get(problem.partition(": ")[0], "")
    words = [f"{problem}.", explained, meaning, f"Again: {again}"]
    # A statement's figures, and what else is wrong with it, differ from run to run.
    signature = "" if rule != "run/death" else _DIGITS.sub("N", problem)
    return Mistake(
        rule=rule,
        signature=signature,
        message=" ".join(filter(None, words)),
        spot=spot,
        properties={"run": str(folder), "again": again},
    )
