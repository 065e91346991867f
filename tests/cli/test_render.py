"""The live views fit the smallest terminal that people use, whatever they have to show."""

from __future__ import annotations

import io
import re
from collections import Counter

import pytest
from rich.console import Console

from emu.cli.render import LiveView
from emu.config import RunConfig
from emu.core import Places
from emu.fuzz.finding import Finding
from emu.fuzz.harness import Execution, OperationRun, Target
from emu.fuzz.view import print_finding, print_trial
from emu.race.live import LiveResult
from emu.race.view import RunsView
from emu.runtime.sample import QueueSample, Sample
from emu.spec.state import Verdict

LARGE = 123_456_789_012


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
    )


def sample(queues: int, elapsed_s: float) -> Sample:
    """Large figures of every kind, growing with time."""
    grown = int(LARGE * elapsed_s)
    nic = dict.fromkeys(
        ("packets_offered", "packets_delivered", "bytes_delivered", "packets_dropped"), grown
    )
    provider = {"consumed": grown, **{verdict.label: grown for verdict in Verdict}}
    one = QueueSample(nic, provider, {}, grown, Places(*[1_048_576] * 7))
    cpu = {"control": elapsed_s, "provider": elapsed_s, "nic": elapsed_s}
    cpu |= {f"consumer of queue {number}": elapsed_s for number in range(queues)}
    return Sample(elapsed_s, (one,) * queues, cpu)


def shown(console: Console, picture: object) -> list[str]:
    """The lines that it takes; none is cut."""
    with console.capture() as capture:
        console.print(picture)
    return capture.get().splitlines()


@pytest.mark.parametrize("height", [24, 30, 50])
@pytest.mark.parametrize("width", [80, 100, 132])
@pytest.mark.parametrize("queues", [1, 2, 4, 8, 64])
def test_view_of_a_run_fits(queues: int, width: int, height: int) -> None:
    console = terminal(width, height)
    view = LiveView(console, RunConfig(duration_s=4, queues=queues))
    for elapsed_s in (1.0, 2.0):
        lines = shown(console, view.picture(sample(queues, elapsed_s)))
    assert len(lines) < height, "the cursor has a line of its own"
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "━" in lines[0], "the bar comes first: nothing below can push it away"
    assert re.search(r"50% +(\d+|-):(\d|-)(\d|-):", lines[0]), "share done and time left"
    for word in ("packets/s", "no_user_ref", "ptr ring", "CPU: control 100 %", "consumers 100"):
        assert word in text
    rows = [line for line in lines if "│" in line]
    assert len(rows) == queues or f"to {queues - 1}" in rows[-1]
    if queues <= 8:
        assert len(rows) == queues


def test_queues_that_have_no_row_are_summed_up() -> None:
    console = terminal(80, 13)
    view = LiveView(console, RunConfig(duration_s=3600, queues=64))
    lines = shown(console, view.picture(sample(64, 1.0)))
    assert len(lines) < 13
    (row,) = [line for line in lines if "all 64" in line]
    assert "7.9 T" in row


def test_finding_of_the_fuzzer_fits_a_screen() -> None:
    """A sanitizer says much; its first lines and the last one are enough to go on from."""
    said = ["==1==ERROR: it", *(f"    #{n} frame" for n in range(60)), "", "SUMMARY: it"]
    steps = tuple(OperationRun(n, "alloc 1", "0", "0") for n in range(3))
    trial = Execution(outcome="crash", steps=steps, signature="asan:it", report="\n".join(said))
    console = terminal()
    with console.capture() as capture:
        print_finding(console, Finding(b"", Target(), trial))
    lines = capture.get().splitlines()
    assert len(lines) <= 27
    assert "==1==ERROR: it" in lines
    assert "    ... 50 more lines in the finding's file" in lines
    assert lines[-1] == "SUMMARY: it"
    with console.capture() as capture:
        print_trial(console, trial)
    assert "    #59 frame" in capture.get().splitlines()


def test_view_of_real_races_fits() -> None:
    console = terminal()
    view = RunsView(console, 60.0)
    kinds = Counter({f"statement_{n}": 10_000 for n in range(12)})
    result = LiveResult("refill-vs-scrub", 1, None, None, 30.0, 100, 50, kinds)
    lines = shown(console, view.picture(result))
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "━" in lines[0]
    assert re.search(r"(\d+|-):(\d|-)(\d|-):", lines[0])
    assert "30 of 60 s" in "\n".join(lines)
