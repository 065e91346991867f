"""``zcrx-emu faults``, and the table in the documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults import CATALOGUE, PROFILES, load_plan, parse_plan
from faults.plan_file import parse_toml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "faults.md"
TOOL = ROOT / "tools" / "fault_table.py"


Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables 300 columns wide, so that no cell is wrapped."""
    monkeypatch.setenv("COLUMNS", "300")


def test_list_has_every_fault_and_profile(call: Call) -> None:
    ended = call("faults", "list")
    assert (ended.code, ended.stderr) == (0, "")
    for name in (*CATALOGUE, *PROFILES):
        assert re.search(rf" {name} ", ended.stdout)


def test_list_answers_in_json(call: Call, tmp_path: Path) -> None:
    plain = json.loads(call("faults", "list", "--json", "-").stdout)
    assert [fault["name"] for fault in plain["faults"]] == list(CATALOGUE)
    assert [profile["name"] for profile in plain["profiles"]] == list(PROFILES)
    assert "bad-pad" in call("faults", "list", "--json", "list.json").stdout
    assert json.loads((tmp_path / "list.json").read_text()) == plain


@pytest.mark.parametrize("name", CATALOGUE)
def test_show_explains_a_fault(call: Call, name: str) -> None:
    fault = CATALOGUE[name]
    ended = call("faults", "show", name)
    assert ended.code == 0
    text = " ".join(re.sub("[│┃]", " ", ended.stdout).split())
    assert fault.summary in text
    assert fault.explanation in text
    assert fault.consequences in text
    for param in fault.params:
        assert f"{param.name}=" in text
    assert json.loads(call("faults", "show", name, "--json", "-").stdout) == fault.as_dict()


@pytest.mark.parametrize("text", ["none", "chaos", "bad-index:at=5:value=count+1,slow:1%:us=3"])
def test_check_says_a_plan_in_words(call: Call, text: str) -> None:
    plan = load_plan(text)
    ended = call("faults", "check", text)
    assert ended.code == 0
    assert ended.stdout.splitlines()[-1] == str(plan)
    for rule in plan.rules:
        assert rule.words in ended.stdout
    plain = json.loads(call("faults", "check", text, "--json", "-").stdout)
    assert plain == plan.as_dict()
    assert parse_plan(plain["text"]) == plan


def test_check_reads_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[[rule]]\nfault = "alias"\nevery = 3\n')
    assert "at every 3rd valid RQE" in call("faults", "check", "mine.toml").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "bad-pda"], ["faults: 'bad-pda' is not a fault; did you mean 'bad-pad'?"]),
        (["show"], ["name"]),
        (["check"], ["PLAN"]),
        (["check", "bad-pad"], ["bad-pad has no trigger"]),
        (["check", "wrong.toml"], ["wrong.toml: rule 1 (line 3): ", "every: 0 is not allowed"]),
        (["check", "bad-pad:1:queue=3", "--queues", "2"], ["queue: 3", "0 to 1"]),
        (["check", "smoke", "--queues", "0"], ["--queues", "0"]),
        (["check", "smoke", "--json", "nosuch/x"], ["json: 'nosuch/x'"]),
        (["list", "--json", "nosuch/x"], ["json: 'nosuch/x'"]),
        (["lst"], ["'lst'", "'list'"]),
    ],
)
def test_wrong_use_is_answered_in_one_line(
    call: Call, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "wrong.toml").write_text('[[rule]]\nfault = "alias"\nevery = 0\n')
    ended = call("faults", *arguments)
    assert ended.code == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    for word in words:
        assert word in ended.stderr


def test_no_command_shows_the_help_and_is_wrong_use(call: Call) -> None:
    ended = call("faults")
    assert ended.code == 2
    for name in ("list", "show", "check"):
        assert name in ended.stdout


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ("bad-pad:1:queue=1", ["queue: 1", "the run has one queue"]),
        ("nosuch.toml", ["'nosuch.toml' is not a file that exists"]),
        ("smoek", ["'smoek' is neither a fault nor a profile"]),
    ],
)
def test_run_refuses_a_plan_that_it_cannot_apply(
    call: Call, tmp_path: Path, plan: str, words: list[str]
) -> None:
    ended = call("stress", "--packets", "10", "--faults", plan)
    assert ended.code == 2
    for word in words:
        assert word in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_run_takes_a_profile_and_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[[rule]]\nfault = "bad-pad"\nprobability = 0.5\n')
    for plan in ("smoke", "mine.toml"):
        ended = call("stress", "--packets", "500", "--faults", plan, "--json", "-")
        assert ended.code == 0
        report = json.loads(ended.stdout)
        assert report["config"]["plan"] == str(load_plan(plan))
        assert report["faults"]["injected"]["bad-pad"] > 0


# ---- The documentation --------------------------------------------------------------------------


@pytest.mark.skipif(not TOOL.exists(), reason="not a checkout")
def test_documentation_holds_the_table_of_the_catalogue() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "tools.fault_table"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    _, _, rest = DOCS.read_text().partition("<!-- table: begin -->\n")
    table, _, _ = rest.partition("<!-- table: end -->")
    assert table == made.stdout, "python -m tools.fault_table --write"
    for name in (*CATALOGUE, *PROFILES):
        assert f"| `{name}` |" in table


@pytest.mark.skipif(not DOCS.exists(), reason="not a checkout")
def test_examples_of_the_documentation_are_plans() -> None:
    text = DOCS.read_text()
    (compact,) = re.findall(r"^    (bad-index:.*)$", text, re.MULTILINE)
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert parse_toml(toml, "docs") == parse_plan(compact)
