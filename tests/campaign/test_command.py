"""``zcrx-emu campaign``: what is said before anything starts, what is written, and its pages."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.campaign import cli
from emu.campaign.artifacts import Artifacts
from emu.campaign.drive import Drive, Limits
from emu.campaign.plan import read_plan
from emu.campaign.result import Result, Sighting, State
from emu.campaign.sameness import package_digest
from emu.campaign.store import Store
from emu.campaign.summary import read_summary
from emu.page.campaign_page import pieces_page

Call = Callable[..., Any]
PLAN = """
[[job]]
name = "some"
command = "stress"
seeds = 3
options = { packets = 10 }
matrix = { kernel = ["6.15", "7.3"] }
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


class _Pool:
    """Has each piece done at once; of seed 3 it is something that a browser must not run."""

    workers = room = 8

    def __init__(self) -> None:
        self._results: list[Result] = []

    def submit(self, piece: Any, _programs: object) -> None:
        if piece.seed < 3:
            result = Result(piece.name, State.PASSED, 1.0, figures={"packets": 10})
        else:
            text = "<script>alert(1)</script>"
            seen = Sighting(text, text, "run", {"run/run.json": b"{}"})
            result = Result(piece.name, State.FOUND, 1.0, sightings=(seen,))
        self._results.append(result)

    def results(self, _seconds: float) -> list[Result]:
        results, self._results = self._results, []
        return results


def _done(plan: Path) -> Path:
    """The store of a campaign that was done."""
    folder = plan.with_suffix(".campaign")
    read = read_plan(plan)
    with Store(folder, is_writer=True) as store:
        store.claim(package_digest(), "1")
        store.plan(read.pieces.values())
        Drive(read, store, Artifacts(str(folder / "artifacts"))).run(_Pool(), Limits())
        store.note(ended="done", plan=str(plan))
    return folder


def test_dry_run_says_what_there_is_and_makes_nothing(call: Call, plan: Path) -> None:
    answer = call("campaign", "plan.toml", "--dry-run", "--json", "-")
    assert answer.code == 0
    assert json.loads(answer.stdout) == {"pieces": 6, "repeated": 0}
    assert "6 pieces in 2 combinations of options" in answer.stderr
    assert list(plan.parent.iterdir()) == [plan]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.toml"], "plan: 'none.toml' cannot be read"),
        (["plan.toml", "--workers", "0"], "workers: 0"),
        (["plan.toml", "--workers", "1", "--scheduler", "tcp://h:1"], "workers: 1"),
        (["plan.toml", "--scheduler", "here"], "scheduler: 'here' is not allowed; tcp://HOST:PORT"),
        (["plan.toml", "--scheduler", "tcp://h:x"], "scheduler: 'tcp://h:x'"),
        (["plan.toml", "--time", "-1"], "time: -1"),
        (["plan.toml", "--time", "nan"], "time: nan"),
        (["plan.toml", "--stop-at", "-1"], "stop-at: -1"),
        (["plan.toml", "--json", "no/folder/x"], "json: 'no/folder/x' cannot be written"),
        (["plan.toml", "--report", "no/folder/x"], "report: 'no/folder/x' cannot be written"),
        (["plan.toml", "--artifacts", "nonsense://x"], "artifacts: 'nonsense://x'"),
        (["plan.toml", "--store", "plan.toml"], "store: 'plan.toml' cannot be used"),
        (["plan.toml", "--fetch", "there"], "store: 'plan.campaign' cannot be used (there is no"),
    ],
)
def test_wrong_use_is_one_line(call: Call, plan: Path, words: list[str], said: str) -> None:
    answer = call("campaign", *words)
    assert answer.code == 2
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"zcrx-emu: error: {said}")


@pytest.mark.long
def test_scheduler_that_is_not_there(
    call: Call, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emu.campaign.pool._CONNECT_S", 0.2)
    answer = call("campaign", "plan.toml", "--scheduler", "tcp://127.0.0.1:1")
    assert answer.code == 2
    assert "scheduler: tcp://127.0.0.1:1 cannot be used" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_extra_that_is_missing_is_named(
    call: Call, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec

    def spec(name: str, *more: Any) -> Any:
        return None if name == "distributed" else find(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", spec)
    answer = call("campaign", "plan.toml", "--dry-run")
    line = "campaign: distributed is not installed; pip install 'zcrx-emu[campaign]'"
    assert (answer.code, answer.stderr) == (2, f"zcrx-emu: error: {line}\n")


def test_what_is_done_is_not_done_again(call: Call, plan: Path) -> None:
    _done(plan)
    answer = call("campaign", "plan.toml", "--json", "out.json", "--report", "page.html")
    assert (answer.code, answer.stderr) == (1, "")
    assert "6 of 6 pieces were done before" in answer.stdout
    assert "FAIL: 1 finding(s), by 2 of 6 pieces done" in answer.stdout
    value = json.loads(Path("out.json").read_text())
    assert value["findings"][0]["pieces"] == 2
    page = Path("page.html").read_text()
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_artifacts_stay_where_they_are(call: Call, plan: Path) -> None:
    _done(plan)
    answer = call("campaign", "plan.toml", "--artifacts", "memory://elsewhere")
    assert answer.code == 2
    assert "those of this store are in" in answer.stderr


def test_fetch_copies_what_replay_wants(call: Call, plan: Path) -> None:
    _done(plan)
    answer = call("campaign", "plan.toml", "--fetch", "got")
    assert answer.code == 0
    (run,) = Path("got").glob("*/run/run.json")
    assert f"zcrx-emu replay {run.parent}\n" in answer.stdout


def test_report_makes_a_page_of_a_store_and_of_its_json(call: Call, plan: Path) -> None:
    folder = _done(plan)
    assert call("report", "plan.campaign", "-o", "a.html").code == 0
    Path("value.json").write_text(json.dumps(read_summary(folder)))
    assert call("report", "value.json", "-o", "b.html").code == 0
    assert Path("a.html").read_text() == Path("b.html").read_text()


@pytest.mark.long
def test_page_of_half_a_report_says_what_is_missing(plan: Path) -> None:
    summary = read_summary(_done(plan))
    whole = pieces_page(summary)
    assert "What is missing here" not in whole
    for name in summary:
        half = {key: value for key, value in summary.items() if key != name}
        assert "zcrx-emu: a campaign" in pieces_page(half)
    assert "What is missing here" in pieces_page({})
    assert "NO VERDICT" in pieces_page({})


def test_page_that_cannot_be_written_changes_no_verdict(
    plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    summary = read_summary(_done(plan))
    with pytest.raises(typer.Exit) as ended:
        cli._conclude(summary, None, plan / "page.html")
    assert ended.value.exit_code == 1
    assert "page.html" in capsys.readouterr().err
