"""The live views fit the smallest terminal that people use, whatever they have to show."""

from __future__ import annotations

import io
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from emu.cli.pictures import Share, sparkline, stacked_bar
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


# ---- Pictures -----------------------------------------------------------------------------------


def shares(*sizes: int) -> list[Share]:
    return [Share(word, size, "") for word, size in zip("abcdef", sizes, strict=False)]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6), st.integers(6, 200))
def test_bar_is_as_wide_as_it_should_be_and_shows_everything(sizes: list[int], width: int) -> None:
    bar = stacked_bar(shares(*sizes), width, in_colour=False).plain
    total = sum(sizes)
    assert len(bar) == (width if total else 0)
    for letter, size in zip("ABCDEF", sizes, strict=False):
        cells = bar.upper().count(letter) + 2 * bar.count(f" {letter.lower()} ")
        assert (cells > 0) == (size > 0)
        if total:  # as large as its share, but for what those took that are next to nothing
            assert abs(cells - size * width / total) < len(sizes)


def test_bar_has_words_where_there_is_room_and_letters_where_not() -> None:
    parts = [Share("free", 12, "black on green"), Share("user", 3, "black on white")]
    plain = stacked_bar(parts, 15, in_colour=False)
    assert plain.plain == "FFF free FFFUUU"
    assert plain.spans == []
    coloured = stacked_bar(parts, 15, in_colour=True)
    assert coloured.plain == "    free     U "
    assert [str(span.style) for span in coloured.spans] == ["black on green", "black on white"]


def test_course_has_its_highest_full_and_nothing_blank() -> None:
    values = [0.0, 1.0, 4.0, 8.0]
    assert sparkline(values, 80, in_ascii=False) == " ▂▅█"
    assert sparkline(values, 80, in_ascii=True) == " .=#"
    assert sparkline(values, 2, in_ascii=False) == "▅█"
    assert sparkline([0.0, 0.0], 9, in_ascii=False) == "  "
    assert sparkline([], 9, in_ascii=False) == sparkline(values, 0, in_ascii=False) == ""


@pytest.mark.parametrize("height", [10, 13, 16, 24])
@pytest.mark.parametrize("width", [30, 40, 50, 60, 80])
@pytest.mark.parametrize("queues", [1, 64])
def test_view_fits_narrow_terminals(queues: int, width: int, height: int) -> None:
    console = terminal(width, height)
    view = LiveView(console, RunConfig(duration_s=4, queues=queues))
    for elapsed_s in (1.0, 2.0):
        lines = shown(console, view.picture(sample(queues, elapsed_s)))
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text, "nothing is cut off: what has no room is left out"
    assert "packets/s" in text
    if height >= 24:
        assert len(lines) < height
        assert "█" in text or width < 40, "packets a second over time"
        (bar,) = (line for line in lines if re.fullmatch(r"(F+|F* free F*).*(U+|U* user U*)", line))
        assert len(bar) == width


def test_pictures_go_before_figures_do() -> None:
    console = terminal(80, 13)
    view = LiveView(console, RunConfig(duration_s=4, queues=4))
    lines = shown(console, view.picture(sample(4, 1.0)))
    assert len(lines) < 13
    assert "█" not in "\n".join(lines)


def test_view_has_only_what_an_ascii_terminal_has() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    console = Console(file=raw, width=80, height=24, force_terminal=True, color_system=None)
    view = LiveView(console, RunConfig(duration_s=4, queues=2))
    for elapsed_s in (1.0, 2.0):
        view.picture(sample(2, elapsed_s))
    course, bar = view._pictures(sample(2, 2.0), 80)
    assert f"{course}{bar}".isascii()
    assert "#" in str(course)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_bar_is_in_colour_where_colours_are_wanted(
    monkeypatch: pytest.MonkeyPatch, is_wanted: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not is_wanted:
        monkeypatch.setenv("NO_COLOR", "1")
    console = Console(
        file=io.StringIO(), width=80, height=24, force_terminal=True, color_system="standard"
    )
    view = LiveView(console, RunConfig(duration_s=4))
    view.picture(sample(1, 1.0))
    text = "\n".join(shown(console, view.picture(sample(1, 2.0))))
    assert ("\x1b[30;42m" in text) == is_wanted, "black on green"
    assert ("FF free" in text) == (not is_wanted)
