"""The page of a campaign: its findings, how it went, and each combination of options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emu.campaign.result import State
from emu.campaign.summary import again, verdict_of
from emu.page import charts
from emu.page.paper import page
from emu.page.sections import Parts, Row, number

#: Rows of the table of combinations at most: those with something to look at first.
_CELLS = 500
_KINDS = {0: "good", 1: "bad"}
_COLUMNS = (
    ("job", False),
    ("options", False),
    ("passed", True),
    ("with findings", True),
    ("not done", True),
    ("seconds", True),
    ("figures", False),
)


def _verdict(summary: Mapping[str, Any]) -> tuple[str, str, str]:
    code, word, sentence = verdict_of(summary)
    return _KINDS.get(code, "unknown"), word, f"{sentence[:1].upper()}{sentence[1:]}."


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, Any]]:
    pieces = summary["pieces"]
    facts = [
        ("plan", summary["plan"]),
        ("version", f"{summary['version']} ({summary['digest']})"),
        ("pieces", number(pieces["total"])),
        *((str(state), number(pieces[state])) for state in State),
        ("worked at", f"{summary['seconds']:.1f} s in {len(summary['calls'])} call(s)"),
        ("all pieces together", f"{summary['piece_seconds']:.1f} s"),
    ]
    if summary["earlier"]:
        facts.append(("done, and not in the plan any more", number(summary["earlier"])))
    return facts


def _cells(summary: Mapping[str, Any]) -> list[Row]:
    rows = []
    for cell in summary["cells"]:
        undone = cell["failed"] + cell["waiting"]
        options = ", ".join(f"{name} {value}" for name, value in cell["cell"].items())
        figures = ", ".join(f"{name} {number(value)}" for name, value in cell["figures"].items())
        told = (cell["job"], options or cell["command"], number(cell["passed"]), cell["found"])
        rows.append(Row((*told, undone, f"{cell['seconds']:.1f}", figures), bool(cell["found"])))
    return sorted(rows, key=lambda row: (-row.cells[3], -row.cells[4]))


def _corpora(summary: Mapping[str, Any]) -> list[Row]:
    rows = []
    for item in summary["corpora"]:
        covered = item["coverage"] or {}
        text = ", ".join(f"{name} {number(value)}" for name, value in covered.items())
        counts = (number(item["programs"]), number(item["bytes"]), number(item["edges"]))
        rows.append(Row((item["target"], *counts, text or "not measured")))
    return rows


def pieces_page(summary: Mapping[str, Any]) -> str:
    """The page of a campaign, from its summary."""
    parts = Parts()
    kind, word, sentence = parts.make(
        "the verdict",
        lambda: _verdict(summary),
        ("unknown", "NO VERDICT", "This report does not say what came of it."),
    )
    findings = parts.make(
        "findings",
        lambda: [
            Row((item["signature"], number(item["pieces"]), item["first_seen"], item["what"]), True)
            for item in summary["findings"]
        ],
        [],
    )
    repeated = parts.make(
        "how findings are repeated",
        lambda: [
            (item["signature"], again(item), ", ".join(item["left_out"]))
            for item in summary["findings"]
        ],
        [],
    )
    failed = parts.make(
        "pieces that could not be done",
        lambda: [Row((i["again"], i["why"], i["attempts"]), True) for i in summary["failed"]],
        [],
    )
    cells = parts.make("combinations", lambda: _cells(summary), [])
    corpora = parts.make("corpora", lambda: _corpora(summary), [])
    plots = parts.make("how it went over time", lambda: _plots(summary), {})
    links = [
        ("verdict", "verdict", True),
        ("time", "how it went", plots),
        ("findings", "findings", True),
        ("cells", "combinations", True),
        ("failed", "not done", failed),
        ("corpora", "corpora", corpora),
    ]
    return page(
        "campaign.html",
        {
            "title": f"zcrx-emu: a campaign, {word}",
            "kind": kind,
            "word": word,
            "sentence": sentence,
            "facts": parts.make("what was done", lambda: _facts(summary), []),
            "findings": findings,
            "repeated": repeated,
            "cell_columns": _COLUMNS,
            "cells": cells[:_CELLS],
            "cells_left": max(len(cells) - _CELLS, 0),
            "failed": failed,
            "corpora": corpora,
            "parts": [(name, text) for name, text, is_there in links if is_there],
            "missing": parts.missing,
        },
        plots,
    )


def _plots(summary: Mapping[str, Any]) -> dict[str, Any]:
    series = summary["series"]
    return {"pieces": charts.pieces(series)} if len(series["t_s"]) > 1 else {}
