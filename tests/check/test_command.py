"""``zcrx-emu check``: what is asked, what comes of it, and its exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import emu.check.cli as cli
from emu.check.outcome import Answer, Found
from emu.check.subject import Kind, subject_of
from emu.check.tools import Frame, Tool, tools_for
from emu.cli.root import load
from emu.compile.provider_file import library_of
from emu.contract import SEED
from emu.errors import ConfigError, EnvironmentProblem
from emu.verdict.rundir import make_run_dir

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
PROVIDER = EXAMPLES / "plain_provider.c"


def _says(answer: Answer) -> Callable[[Frame, float, Console], Answer]:
    def ask(_frame: Frame, _seconds: float, console: Console) -> Answer:
        console.print("words")
        return answer

    return ask


def _fails(_frame: Frame, _seconds: float, _console: Console) -> Answer:
    raise EnvironmentProblem("there is no compiler")


QUIET = Tool("quiet", 0.5, "much", _says(Answer("a lot", [], False)))
FINDER = Tool(
    "finder", 0.5, "little", _says(Answer("a lot", [Found("it", "x", "again x")] * 5, False))
)
STOPPED = Tool("stopped", 0.5, "all", _says(Answer("a bit", [], True)))
BROKEN = Tool("broken", 0.5, "all", _fails)


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, Any]]:
    """Run the command, with these tools if any; exit code, output, report."""

    def run_it(*words: str, file: Path = PROVIDER, tools: list[Tool] | None = None) -> Any:
        monkeypatch.chdir(tmp_path)
        if tools is not None:
            monkeypatch.setattr(cli, "tools_for", lambda _subject: (tools, []))
        args = [str(file), "--dir", "out", "--json", "report.json", *words]
        code = load("check").main(args, standalone_mode=False) or 0
        report = tmp_path / "report.json"
        value = json.loads(report.read_text()) if report.exists() else None
        return code, capsys.readouterr().out, value

    return run_it


@pytest.mark.parametrize(
    ("tools", "code", "verdict"),
    [
        ([QUIET], 0, "PASS: no tool found a mistake"),
        ([QUIET, FINDER], 1, "FAIL: 5 finding(s) in this provider, by finder"),
        ([BROKEN, FINDER], 1, "FAIL: 5 finding(s)"),
        ([QUIET, BROKEN], 2, "NO VERDICT: broken could not look at it"),
        ([STOPPED, FINDER], 0, "NO FINDING SO FAR: interrupted, 1 tool(s) not asked"),
    ],
)
def test_verdict_and_exit_code(run: Any, tools: list[Tool], code: int, verdict: str) -> None:
    got, output, report = run(tools=tools)
    assert (got, verdict in output) == (code, True), output
    assert report == json.loads(Path("out/check.json").read_text())
    asked = tools[:1] if tools[0] is STOPPED else tools
    assert [item["tool"] for item in report["tools"]] == [tool.name for tool in asked]
    assert report["interrupted"] is (tools[0] is STOPPED)


def test_few_findings_are_shown_and_all_are_kept(run: Any) -> None:
    _, output, report = run(tools=[FINDER])
    assert output.count("again: again x") == 3
    assert "finder: 2 more in out/finder.txt" in output
    assert len(report["tools"][0]["found"]) == report["findings"] == 5
    assert Path("out/finder.txt").read_text() == "words\n"


def test_library_is_not_raced_and_this_is_said() -> None:
    asked, left = tools_for(subject_of(library_of(PROVIDER)))
    assert [item.tool for item in left] == ["race"]
    assert "race" not in [tool.name for tool in asked]
    assert sum(tool.share for tool in tools_for(subject_of(PROVIDER))[0]) == pytest.approx(1)


@pytest.mark.long
def test_each_way_of_stress_is_one_that_there_can_be(tmp_path: Path) -> None:
    """With next to no time: what is asked must not be refused."""
    for kind in Kind:
        subject = subject_of(EXAMPLES / f"plain_{kind}.c")
        for tool in tools_for(subject)[0]:
            if tool.name.startswith("stress"):
                folder = make_run_dir(tmp_path / str(kind))
                frame = Frame(subject, SEED, 1, folder)
                answer = tool.ask(frame, 0.1, Console(quiet=True))
                assert answer.found == []
                assert not answer.looked_at.startswith("0 ")


@pytest.mark.long
@pytest.mark.parametrize("kind", Kind)
def test_examples_are_told_from_their_twins(run: Any, kind: Kind) -> None:
    words = ("--time", "6", "--seed", "3")
    code, output, report = run(*words, "--dir", "good", file=EXAMPLES / f"plain_{kind}.c")
    assert (code, report["findings"]) == (0, 0), output
    code, output, report = run(*words, "--dir", "bad", file=EXAMPLES / f"broken_{kind}.c")
    assert code == 1, output
    assert all(item["found"] for item in report["tools"] if item["tool"] != "stress: chaos")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--time", "0"], "time: 0.0 is not allowed; more than 0 seconds"),
        (["--seed", "-1"], "seed: -1 is not allowed"),
        (["--kernel", "7.4"], "kernel: '7.4' is not allowed"),
    ],
)
def test_wrong_use(words: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)):
        load("check").main([str(PROVIDER), *words], standalone_mode=False)
