"""Shows a run: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .machine import Machine
from .rounds import Quotient
from .yardstick import Group, Measurement, Sample, Unit

SCHEMA = 1
#: From here on the cores were not in the same place all the time.
MOVED_FACTOR = 2.0
BUSY_CORES = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that a run found."""

    machine: Machine
    settings: dict[str, object]
    measurements: list[Measurement]
    quotients: list[Quotient]
    notes: list[str]
    failures: list[str]


def print_machine(console: Console, machine: Machine) -> None:
    console.print(
        f"[bold]{machine.cpu}[/], {machine.cores} cores"
        f" ({machine.usable_cores} usable), load {machine.load:.2f}\n"
        f"{machine.kernel}, transparent huge pages: {machine.huge_pages}\n"
        f"{machine.compiler}; Python {machine.python};"
        f" DPDK {machine.dpdk or 'not installed'}",
        highlight=False,
    )


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print the tables, then what the reader should know about them."""
    for group in Group:
        members = [m for m in outcome.measurements if m.group is group]
        if members:
            members.sort(key=lambda m: m.parameter)
            console.print(_group_table(group, members))
    if outcome.quotients:
        console.print(_ratio_table(outcome.quotients))
    for note in outcome.notes:
        console.print(note, markup=False, highlight=False)
    for failure in outcome.failures:
        console.print(failure, style="red", markup=False, highlight=False)


def _ratio_table(quotients: Sequence[Quotient]) -> Table:
    table = Table(title="ratios, round by round", title_justify="left")
    for name in ("of", "to", "at", "median", "min .. max", "better", "target"):
        left = name in ("of", "to")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for q in quotients:
        table.add_row(
            q.ratio.numerator,
            q.ratio.denominator,
            _parameter(q.group, q.parameter),
            f"{q.median:.2f}",
            f"{min(q.values):.2f} .. {max(q.values):.2f}",
            "less" if q.unit.less_is_better else "more",
            q.ratio.target,
        )
    return table


def weather(measurements: Sequence[Measurement]) -> list[str]:
    """Say how the machine was during the run, and what that does to the figures."""
    samples = [s for m in measurements for s in m.samples]
    if not samples:
        return []
    return [_cores_apart(samples), _foreign_load(samples)]


def _cores_apart(samples: Sequence[Sample]) -> str:
    trips = [s.trip_ns for s in samples]
    line = (
        f"A cache line's round trip between the two cores took"
        f" {statistics.median(trips):.0f} ns ({min(trips):.0f} .. {max(trips):.0f})."
    )
    if max(trips) > MOVED_FACTOR * min(trips):
        line += (
            " So the cores were not equally far apart all the time, or not ours alone:"
            " medians of two-process figures are a mixture; trust the ratios, or run again."
        )
    return line


def _foreign_load(samples: Sequence[Sample]) -> str:
    shares = [s.foreign_cores for s in samples]
    line = f"Other programs took {statistics.median(shares):.2f} cores (at most {max(shares):.2f})."
    if statistics.median(shares) > BUSY_CORES:
        line += " The machine was too busy for these figures to mean much."
    return line


def write_json(path: Path, outcome: Outcome) -> None:
    """Write all of a run, every sample included."""
    content = {
        "schema": SCHEMA,
        "machine": dataclasses.asdict(outcome.machine),
        "settings": outcome.settings,
        "measurements": [_measurement_json(m) for m in outcome.measurements],
        "ratios": [_quotient_json(q) for q in outcome.quotients],
        "notes": outcome.notes,
        "failures": outcome.failures,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _measurement_json(m: Measurement) -> dict[str, object]:
    return {
        **dataclasses.asdict(m),
        "median": m.median,
        "min": min(m.values),
        "max": max(m.values),
    }


def _quotient_json(q: Quotient) -> dict[str, object]:
    return {
        **dataclasses.asdict(q.ratio),
        "group": q.group,
        "parameter": q.parameter,
        "less_is_better": q.unit.less_is_better,
        "median": q.median,
        "values": q.values,
    }


def _group_table(group: Group, members: Sequence[Measurement]) -> Table:
    table = Table(title=group.value, title_justify="left")
    packets = members[0].unit is Unit.PACKETS_PER_S
    table.add_column(group.parameter_name, justify="right")
    table.add_column("what", no_wrap=True)
    for name in (members[0].unit.value, "min .. max"):
        table.add_column(name, justify="right")
    if packets:
        table.add_column("ns/packet", justify="right")
        table.add_column("GB/s", justify="right")
    for i, m in enumerate(members):
        cells = [str(m.parameter), m.name, _figure(m.median)]
        cells.append(f"{_figure(min(m.values))} .. {_figure(max(m.values))}")
        if packets:
            cells += [_figure(1e9 / m.median), f"{m.median * m.parameter / 1e9:.2f}"]
        last = i + 1 == len(members) or members[i + 1].parameter != m.parameter
        table.add_row(*cells, end_section=last)
    return table


def _parameter(group: Group, parameter: int) -> str:
    return f"{parameter} B" if group is Group.E2E else f"batch {parameter}"


def _figure(value: float) -> str:
    """Three digits that count: ``1.58``, ``15.8``, ``158``, ``15.8 k``, ``1.58 M``."""
    for bound, suffix in ((1e6, " M"), (1e4, " k")):
        if value >= bound:
            return _figure(value / bound * (1e1 if suffix == " k" else 1)) + suffix
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
