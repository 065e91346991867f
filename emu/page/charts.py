"""What pages plot, as Plotly's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

#: Colours that people who see red and green alike can tell apart (Okabe and Ito's).
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#999999", "#b8a900")
_HEIGHT = 320
#: Lines of a plot at most, besides one for the rest.
_SHOWN = len(_COLOURS) - 1

#: Where a buffer is, from home to the user, and what that place is called.
PLACES = {
    "freelist": "freelist",
    "cache": "alloc cache",
    "ptr_ring": "ptr ring",
    "grant_ring": "granted, waiting",
    "nic": "at the NIC",
    "user": "with the user",
}


def _figure(title: str, unit: str, x_title: str = "seconds of traffic") -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        height=_HEIGHT,
        margin={"l": 60, "r": 15, "t": 40, "b": 90},
        template="plotly_white",
        colorway=_COLOURS,
        hovermode="x unified",
        legend={"orientation": "h", "yanchor": "top", "y": -0.28},
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    figure.update_xaxes(title_text=x_title, rangemode="tozero")
    figure.update_yaxes(title_text=unit, rangemode="tozero")
    return figure


def rates(times: Sequence[float], sums: Sequence[float]) -> list[float]:
    """What a sum grew by in each second, between neighbouring points: one fewer than points."""
    return [
        (b - a) / (late - early) if late > early else 0.0
        for (a, b), (early, late) in zip(pairwise(sums), pairwise(times), strict=True)
    ]


def _middles(times: Sequence[float]) -> list[float]:
    return [(a + b) / 2 for a, b in pairwise(times)]


def _mark(figure: go.Figure, marks: Sequence[Mapping[str, Any]]) -> None:
    """Show on top what befell processes, each kind by its name when it is pointed at."""
    if not marks:
        return
    # All at once: Plotly looks at all that there are whenever one is added.
    line = {"width": 1, "dash": "dot", "color": "#bbbbbb"}
    figure.update_layout(
        shapes=[
            {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": line}
            | {"x0": mark["t_s"], "x1": mark["t_s"]}
            for mark in marks
        ]
    )
    texts = [
        mark["what"] if mark.get("queue") is None else f"{mark['what']}, queue {mark['queue']}"
        for mark in marks
    ]
    figure.add_scatter(
        x=[mark["t_s"] for mark in marks],
        y=[0] * len(marks),
        text=texts,
        name="process events",
        mode="markers",
        marker={"symbol": "triangle-up", "size": 8, "color": "#444444"},
        hovertemplate="%{text}<extra></extra>",
    )


def throughput(series: Mapping[str, Any], marks: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Packets and entries in each second."""
    figure = _figure("Throughput", "in a second")
    times = series["t_s"]
    for name, label in (("packets", "packets delivered"), ("rqes", "RQEs judged")):
        figure.add_scatter(x=_middles(times), y=rates(times, series[name]), name=label)
    if any(series["dropped"]):
        figure.add_scatter(
            x=_middles(times), y=rates(times, series["dropped"]), name="packets dropped"
        )
    _mark(figure, marks)
    return figure


def places(series: Mapping[str, Any], marks: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Where every buffer is, stacked."""
    figure = _figure("Where every buffer is", "buffers")
    for (name, label), colour in zip(PLACES.items(), _COLOURS, strict=False):
        figure.add_scatter(
            x=series["t_s"],
            y=series["places"][name],
            name=label,
            stackgroup="places",
            mode="lines",
            line={"width": 0.5, "color": colour},
        )
    _mark(figure, marks)
    return figure


def _many(title: str, unit: str, times: Sequence[float], sums: Mapping[str, Any]) -> go.Figure:
    """Several sums as rates: as many as there are colours, the smallest of the others as one."""
    figure = _figure(title, unit)
    largest = sorted((name for name in sums if any(sums[name])), key=lambda name: -sums[name][-1])
    lines = {name: sums[name] for name in largest[:_SHOWN]}
    if others := [sums[name] for name in largest[_SHOWN:]]:
        lines[f"{len(others)} others"] = [sum(at) for at in zip(*others, strict=True)]
    for name, counts in lines.items():
        figure.add_scatter(
            x=_middles(times), y=rates(times, counts), name=name, mode="lines+markers"
        )
    figure.update_traces(marker={"size": 3})
    return figure


def verdicts(series: Mapping[str, Any]) -> go.Figure:
    """Verdicts in each second, on a scale on which few are seen beside many."""
    figure = _many("Verdicts", "in a second", series["t_s"], series["verdicts"])
    figure.update_yaxes(type="log", rangemode="normal")
    return figure


def faults(series: Mapping[str, Any]) -> go.Figure:
    """Entries and packets that faults changed, in each second."""
    return _many("Faults", "changed in a second", series["t_s"], series["faults"])


def coverage(series: Mapping[str, Any]) -> go.Figure:
    """What a campaign reached, and how many programs it keeps for it."""
    figure = _figure("Coverage", "edges, programs", "seconds")
    for name, label in (("edges", "edges reached"), ("corpus", "programs kept")):
        figure.add_scatter(x=series["t_s"], y=series[name], name=label)
    figure.add_scatter(x=series["t_s"], y=series["findings"], name="findings", line={"shape": "hv"})
    return figure


def pieces(series: Mapping[str, Any]) -> go.Figure:
    """Pieces that a campaign has done, and what was found, by the time that it was worked at."""
    figure = _figure("Pieces", "pieces, findings", "seconds")
    for name, label in (("done", "pieces done"), ("findings", "findings")):
        figure.add_scatter(x=series["t_s"], y=series[name], name=label, line={"shape": "hv"})
    return figure


def beside(title: str, unit: str, of: Mapping[str, tuple[Sequence[float], Any]]) -> go.Figure:
    """The same of several runs."""
    figure = _figure(title, unit)
    for name, (times, values) in of.items():
        figure.add_scatter(x=times, y=values, name=name)
    return figure


def rate_of(series: Mapping[str, Any], name: str) -> tuple[list[float], list[float]]:
    """Times and rates of one of the sums."""
    return _middles(series["t_s"]), rates(series["t_s"], series[name])
