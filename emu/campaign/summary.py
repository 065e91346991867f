"""What a campaign came to: as values, made from its store alone, and as one verdict."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emu.campaign.result import State
from emu.campaign.store import KnownFinding, Store
from emu.host.places import absolute

FORMAT = "zcrx-emu campaign"
SCHEMA = 1
#: Pieces that could not be done, by name, and points of the series at most.
_FAILED_MAX = 200
_POINTS_MAX = 400

#: In words, why a call ended before all was done.
ENDED_WORDS = {
    "time": "its time was over",
    "findings": "it had the findings that it was to end at",
    "interrupted": "it was interrupted",
    "lost": "the workers were lost",
    "running": "it is under way, or was killed",
    "done": "",
}


def summary_of(store: Store, place_of: Callable[[str, str], str]) -> dict[str, Any]:
    """What a campaign came to so far, as plain values.

    Args:
        store: Its database.
        place_of: Where what ``replay`` is given lies: told a finding's folder, and what of it.
    """
    rows = list(store.rows())
    counts = store.counts()
    calls = store.calls()
    found = store.findings()
    first_seen = sorted(item.first_seen for item in found)
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "plan": store.of("plan"),
        "version": store.of("version"),
        "digest": store.of("digest"),
        "ended": store.of("ended") or "running",
        "problem": store.of("problem") or "",
        "pieces": {"total": len(rows), **{str(state): counts[state] for state in State}},
        "earlier": store.earlier(),
        "seconds": round(sum(call["seconds"] for call in calls), 3),
        "calls": calls,
        "piece_seconds": round(sum(row["seconds"] or 0.0 for row in rows), 3),
        "findings": [_finding(item, place_of) for item in found],
        "cells": _cells(rows),
        "failed": [
            {name: row[name] for name in ("name", "job", "again", "why", "attempts")}
            for row in rows
            if row["state"] == State.FAILED
        ][:_FAILED_MAX],
        "corpora": store.targets(),
        "series": _series(rows, first_seen, calls),
        "unwritten": store.of("unwritten") or None,
    }


def _finding(item: KnownFinding, place_of: Callable[[str, str], str]) -> dict[str, Any]:
    place = place_of(item.folder, item.replay) if item.replay else None
    return {
        "signature": item.signature,
        "command": item.command,
        "what": item.what,
        "pieces": item.count,
        "first_seen": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(item.first_seen)),
        "seen_by": list(item.pieces),
        "folder": item.folder,
        "file": place,
        "again": item.again,
        "left_out": list(item.left_out),
    }


def _cells(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By job and combination of the matrix: how many pieces of each state, and how long."""
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["job"], json.dumps(row["cell"], sort_keys=True))
        if key not in cells:
            cells[key] = {"job": row["job"], "command": row["command"], "cell": row["cell"]}
            cells[key] |= {str(state): 0 for state in State} | {"seconds": 0.0, "figures": {}}
        cell = cells[key]
        cell[row["state"]] += 1
        cell["seconds"] = round(cell["seconds"] + (row["seconds"] or 0.0), 3)
        for name, value in row["figures"].items():
            if name not in ("edges", "corpus"):  # of one corpus: no sums
                cell["figures"][name] = cell["figures"].get(name, 0) + value
    return list(cells.values())


def _series(
    rows: Sequence[Mapping[str, Any]],
    first_seen: Sequence[float],
    calls: Sequence[Mapping[str, float]],
) -> dict[str, list[float]]:
    """Pieces done and findings by time that was worked; pauses are left out."""
    ends = sorted(row["ended"] for row in rows if row["ended"] is not None)
    step = max(1, len(ends) // _POINTS_MAX)
    points = [*range(step - 1, len(ends), step)]
    if ends and (not points or points[-1] != len(ends) - 1):
        points.append(len(ends) - 1)
    series: dict[str, list[float]] = {"t_s": [0.0], "done": [0], "findings": [0]}
    for at in points:
        series["t_s"].append(round(max(_worked(ends[at], calls), series["t_s"][-1]), 3))
        series["done"].append(at + 1)
        series["findings"].append(sum(seen <= ends[at] for seen in first_seen))
    return series


def _worked(when: float, calls: Sequence[Mapping[str, float]]) -> float:
    """Seconds that a campaign was worked at until a time."""
    return sum(min(max(when - call["began"], 0.0), call["seconds"]) for call in calls)


def verdict_of(summary: Mapping[str, Any]) -> tuple[int, str, str]:
    """The verdict: an exit code, a word, a sentence."""
    pieces, found = summary["pieces"], summary["findings"]
    total, passed = pieces["total"], pieces["passed"]
    done = passed + pieces["found"]
    undone = []
    if pieces["failed"]:
        undone.append(f"{pieces['failed']} could not be done")
    if pieces["waiting"]:
        why = ENDED_WORDS.get(summary["ended"], "")
        undone.append(f"{pieces['waiting']} were not done{why and f': {why}'}")
    rest = "".join(f"; {text}" for text in undone)
    if found:
        sentence = f"{len(found)} finding(s), by {pieces['found']} of {done} pieces done{rest}"
        return 1, "FAIL", sentence
    if undone or not total:
        return 2, "NO VERDICT", f"{passed} of {total} pieces passed{rest}"
    return 0, "PASS", f"all {total} pieces were done and passed"


def again(item: Mapping[str, Any]) -> str:
    """The command that shows a finding again.

    Args:
        item: A finding, as a summary has it.
    """
    if item["file"] is not None and "://" not in item["file"]:
        return shlex.join(["zcrx-emu", "replay", item["file"]])
    return str(item["again"])


def read_summary(folder: Path) -> dict[str, Any]:
    """What the campaign in a store's folder came to.

    Raises:
        ConfigError: There is none in it.
    """
    with Store(folder, is_writer=False) as store:
        base = store.of("artifacts") or absolute(str(folder / "artifacts"))

        def place_of(name: str, replay: str) -> str:
            return f"{base.rstrip('/')}/findings/{name}/{replay}"

        return summary_of(store, place_of)
