"""The page of a run, and of two runs beside each other; from ``run.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emu.cli.again import options
from emu.page import charts
from emu.page.paper import page
from emu.page.sections import Parts, Row, number
from emu.verdict.report import SETUP_FAILED
from emu.verdict.rundir import FLIGHT

#: Lines of the flight recorder before and after the finding.
_BEFORE, _AFTER = 24, 12
#: Longest line of it that is looked at.
_LINE = 400
#: An event begins with its time; what the file says of itself does not.
_EVENT = re.compile(r"\s*-?\d+\.\d+\s")


def _verdict(run: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, word and sentence."""
    if not run["ok"]:
        first = str(run["problems"][0])
        more = len(run["problems"]) - 1
        rest = f" And {more} more finding{'s' if more > 1 else ''}, below." if more else ""
        return "bad", "FAIL", f"{first[:1].upper()}{first[1:]}.{rest}".replace("..", ".")
    if run["ended"] == SETUP_FAILED:
        return "good", "PASS", "The set-up was made to fail, and what had been set up was undone."
    judged = number(run["rqe"]["consumed"])
    packets = number(run["packets"]["delivered"])
    return (
        "good",
        "PASS",
        f"{packets} packets were delivered and {judged} refill-ring entries judged; each entry "
        "earned the verdict that it had to, and every buffer and byte is accounted for.",
    )


def _again(run: Mapping[str, Any]) -> str:
    return f"zcrx-emu {'recv' if run['config'].get('connections') else 'stress'} " + options(
        run["config"]
    )


def _facts(run: Mapping[str, Any]) -> list[tuple[str, Any]]:
    config = run["config"]
    seconds = run["elapsed_s"] or 1.0
    delivered = run["packets"]["delivered"]
    facts = [
        ("ended", f"{run['ended']}, after {run['elapsed_s']:.2f} s of traffic"),
        (
            "delivered",
            f"{number(delivered)} packets ({number(round(delivered / seconds))} a second), "
            f"{number(run['bytes']['delivered'])} bytes; {number(run['packets']['dropped'])} "
            "dropped",
        ),
        (
            "entries",
            f"{number(run['rqe']['submitted'])} submitted, {number(run['rqe']['consumed'])} "
            f"judged, {number(run['rqe']['unconsumed'])} left in the ring",
        ),
        ("traffic", config["traffic"]),
        ("faults", config["plan"] or "none"),
        ("kernel level", config.get("kernel", "seed")),
        ("seed", run["seed"]),
    ]
    for name in ("provider", "consumer"):
        if config.get(name) and config[name] != "builtin":
            facts.append((name, config[name]))
    facts.append(("versions", ", ".join(f"{k} {v}" for k, v in run.get("versions", {}).items())))
    return facts


def _rows(run: Mapping[str, Any]) -> list[Row]:
    rows = []
    for item in run["reconciliation"]["table"]:
        earned = ", ".join(f"{name} {number(count)}" for name, count in item["earned"].items())
        rows.append(
            Row(
                (
                    item["name"],
                    number(item["injected"]),
                    number(item["judged"]),
                    earned or "none",
                    " or ".join(item["expected"]),
                    number(item["mismatches"]),
                    number(item["consequences"]) if item["consequences"] else "",
                ),
                is_bad=bool(item["mismatches"]),
            )
        )
    return rows


_ROW_COLUMNS = (
    ("entries", False),
    ("injected", True),
    ("judged", True),
    ("verdicts earned", False),
    ("allowed", False),
    ("wrong", True),
    ("consequences", True),
)


def _statements(run: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    marks = {True: "holds", False: "fails", None: "open"}
    told = [
        (marks[value], name, run["audit"]["details"][name])
        for name, value in run["audit"].items()
        if name != "details"
    ]
    return sorted(told, key=lambda item: ("fails", "open", "holds").index(item[0]))


def _processes(run: Mapping[str, Any]) -> list[Row]:
    rows = []
    for item in run["processes"]:
        name = item["role"] + ("" if item["queue"] is None else f" of queue {item['queue']}")
        code = item["exit_code"]
        ended = "-" if code is None else f"signal {-code}" if code < 0 else str(code)
        rows.append(Row((name, item["pid"], ended, f"{item['cpu_s']:.2f}")))
    return rows


def _queues(run: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, list[tuple[str, str]]]]]]:
    groups = ("nic", "provider", "page_pool", "consumer", "places", "scrub")
    return [
        (
            f"queue {at}",
            [
                (group, [(name, number(count)) for name, count in queue[group].items() if count])
                for group in groups
                if any(queue[group].values())
            ],
        )
        for at, queue in enumerate(run["queues"])
    ]


def flight_around(folder: Path | None) -> str:
    """The lines of the flight recorder that are nearest to the finding; empty if there is none."""
    if folder is None:
        return ""
    try:
        text = (folder / FLIGHT).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = (line for line in text.splitlines() if _EVENT.match(line))
    events = [(float(line.split(None, 1)[0]), line[:_LINE]) for line in lines]
    at = next((n for n, (us, _) in enumerate(events) if us >= 0), len(events))
    return "\n".join(line for _, line in events[max(at - _BEFORE, 0) : at + _AFTER])


def _plots(run: Mapping[str, Any]) -> dict[str, Any]:
    series, marks = run["series"], run["marks"]
    if len(series.get("t_s", ())) < 2:
        return {}
    plots = {
        "throughput": charts.throughput(series, marks),
        "places": charts.places(series, marks),
        "verdicts": charts.verdicts(series),
    }
    if series["faults"]:
        plots["faults"] = charts.faults(series)
    return plots


def run_page(run: Mapping[str, Any], folder: Path | None = None) -> str:
    """The page of a run.

    Args:
        run: The contents of ``run.json``, or what is left of them.
        folder: The run's folder, for what the flight recorders say; None: it has none.
    """
    parts = Parts()
    kind, word, sentence = parts.make(
        "the verdict",
        lambda: _verdict(run),
        ("unknown", "NO VERDICT", "This report does not say how the run ended."),
    )
    flight = flight_around(folder) if kind == "bad" else ""
    values: dict[str, Any] = {
        "kind": kind,
        "word": word,
        "sentence": sentence,
        "again": parts.make("the command that repeats it", lambda: _again(run), ""),
        "facts": parts.make("what was run", lambda: _facts(run), []),
        "problems": parts.make("findings", lambda: [str(line) for line in run["problems"]], []),
        "explanations": parts.make(
            "explanations",
            lambda: [(item["kind"], item["text"]) for item in run["explanation"]],
            [],
        ),
        "flight": flight,
        "rows": parts.make("the table of entries", lambda: _rows(run), []),
        "row_columns": _ROW_COLUMNS,
        "statements": parts.make("what holds", lambda: _statements(run), []),
        "notes": parts.make("notes", lambda: [str(line) for line in run["notes"]], []),
        "processes": parts.make("processes", lambda: _processes(run), []),
        "queues": parts.make("counters", lambda: _queues(run), []),
        "marks": parts.make(
            "process events",
            lambda: [
                Row((f"{m['t_s']:.3f}", m["what"], "" if m["queue"] is None else m["queue"]))
                for m in run["marks"]
            ],
            [],
        ),
    }
    plots = parts.make("how it went over time", lambda: _plots(run), {})
    links = [
        ("verdict", "verdict", True),
        ("story", "what went wrong", values["problems"] or values["explanations"]),
        ("time", "how it went", plots),
        ("entries", "entries", values["rows"]),
        ("holds", "what holds", values["statements"]),
        ("notes", "notes", values["notes"]),
        ("processes", "processes", values["processes"]),
        ("queues", "queues", values["queues"]),
        ("missing", "missing", parts.missing),
    ]
    values["parts"] = [(name, text) for name, text, is_there in links if is_there]
    values["missing"] = parts.missing
    values["title"] = f"zcrx-emu: a run, {word}"
    return page("run.html", values, plots)


# ---- two of them --------------------------------------------------------------------------

_FIGURES = (
    ("packets a second", lambda run: run["packets"]["delivered"] / (run["elapsed_s"] or 1.0)),
    ("bytes a second", lambda run: run["bytes"]["delivered"] / (run["elapsed_s"] or 1.0)),
    ("RQEs a second", lambda run: run["rqe"]["consumed"] / (run["elapsed_s"] or 1.0)),
    ("packets dropped", lambda run: run["packets"]["dropped"]),
    ("RQEs rejected", lambda run: _rejected(run)),
    ("wrong verdicts", lambda run: run["reconciliation"]["mismatch_count"]),
    ("CPU seconds", lambda run: sum(item["cpu_s"] for item in run["processes"])),
)


def _rejected(run: Mapping[str, Any]) -> int:
    verdicts = run["rqe"]["verdicts"]
    return sum(verdicts[name] for name in ("bad_pad", "bad_area", "bad_index", "no_user_ref"))


def _figures(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Row]:
    rows = []
    for name, of in _FIGURES:
        a, b = of(first), of(second)
        ratio = f"{b / a:.2f}" if a else "-"
        rows.append(Row((name, number(round(a, 2)), number(round(b, 2)), ratio)))
    return rows


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Row]:
    a, b = first["config"], second["config"]
    names: Sequence[str] = sorted({*a, *b})
    return [
        Row((name, str(a.get(name, "-")), str(b.get(name, "-"))))
        for name in names
        if a.get(name) != b.get(name)
    ]


def comparison_page(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """The page of two runs, the second held against the first."""
    parts = Parts()
    verdicts = [
        parts.make(
            f"the verdict of {name}",
            lambda run=run: _verdict(run),  # type: ignore[misc]
            ("unknown", "NO VERDICT", "This report does not say how the run ended."),
        )
        for name, run in (("A", first), ("B", second))
    ]

    def plots() -> dict[str, Any]:
        both = {"A": first["series"], "B": second["series"]}
        return {
            "packets": charts.beside(
                "Packets delivered",
                "in a second",
                {name: charts.rate_of(series, "packets") for name, series in both.items()},
            ),
            "user": charts.beside(
                "Buffers with the user",
                "buffers",
                {n: (series["t_s"], series["places"]["user"]) for n, series in both.items()},
            ),
        }

    values: dict[str, Any] = {
        "verdicts": list(zip("AB", verdicts, strict=True)),
        "figures": parts.make("figures", lambda: _figures(first, second), []),
        "differences": parts.make("configurations", lambda: _differences(first, second), []),
    }
    drawn = parts.make("how they went over time", plots, {})
    values["missing"] = parts.missing
    values["parts"] = [("figures", "figures"), ("time", "how they went"), ("set", "differences")]
    values["title"] = f"zcrx-emu: two runs, {verdicts[0][1]} and {verdicts[1][1]}"
    return page("comparison.html", values, drawn)
