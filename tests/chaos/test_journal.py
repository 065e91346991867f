"""The journal: a run writes down what fired, and its journal as a plan does it again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.core import JOURNAL_MAX
from emu.runtime.session import run
from emu.verdict.report import Report
from faults import Plan, load_plan, parse_plan

#: One fragment a packet: the same valid RQEs in every run.
TRAFFIC = "synthetic:kind=raw,size=1000,flows=8,packets=64"
#: Each queue has its own end: how a number of packets is shared out is a matter of time.
LAPS: dict[str, Any] = {"packets": 0, "laps": 400}
BASE: dict[str, Any] = {"seed": 11, "packets": 20_000, "traffic": TRAFFIC, "wait_ms": 60_000}
CONTENT = (
    "bad-pad:0.01,bad-area:0.01:value=one,bad-index:0.02,bad-offset:0.01,alias:0.01,"
    "mid-buffer:0.05,len-garbage:0.02,bad-pad:0.02:value=one-bit"
)


def journal_of(folder: Path) -> str:
    """The plan's part: without the comments, which name the run."""
    return "".join(
        line
        for line in (folder / "journal.toml").read_text().splitlines(keepends=True)
        if not line.startswith("#")
    )


def run_in(folder: Path, plan: Plan, **fields: Any) -> Report:
    folder.mkdir()
    report = run(RunConfig(**{**BASE, "plan": plan, **fields}), run_dir=folder)
    assert report.ok, report.problems
    return report


def counts(report: Report) -> dict[str, int]:
    injected: dict[str, int] = report.as_dict()["faults"]["injected"]
    return injected


def test_journal_is_a_plan_that_does_the_same_again(tmp_path: Path) -> None:
    plan = parse_plan(f"{CONTENT},nic-drop:0.01,nic-corrupt:0.01,slow:0.001:us=3:queue=1")
    first = run_in(tmp_path / "a", plan, queues=2, **LAPS)
    again = load_plan(str(tmp_path / "a" / "journal.toml"))
    assert all(rule.ordinals and not rule.limit for rule in again.rules)
    # In the order of the plan, and of the queues for each rule.
    order = [(rule.fault.name, rule.queue) for rule in again.rules]
    assert order == [
        (rule.fault.name, queue)
        for rule in plan.rules
        for queue in (0, 1)
        if rule.queue in (None, queue)
    ]
    second = run_in(tmp_path / "b", again, queues=2, **LAPS)
    assert counts(first) == counts(second)
    for name, count in counts(first).items():
        noted = sum(len(rule.ordinals) for rule in again.rules if rule.fault.name == name)
        # A corruption is counted when it is written, and its packet may have been dropped.
        assert noted == count or (name == "nic-corrupt" and count <= noted <= count + 20)
    assert journal_of(tmp_path / "a") == journal_of(tmp_path / "b")
    assert [row.name for row in first.reconciliation.rows[1:]] == [r.fault.name for r in plan.rules]


def test_replay_takes_the_journal(call: Callable[..., Any], tmp_path: Path) -> None:
    options = ["--seed", "3", "--packets", "5000", "--traffic", TRAFFIC, "--run-dir", "a"]
    assert call("stress", "--faults", "smoke", *options).code == 0
    assert call("replay", "a", "--journal", "--run-dir", "b").code == 0
    assert call("replay", "a/run.json", "--journal", "--run-dir", "c").code == 0
    one, two, three = (
        json.loads((tmp_path / name / "run.json").read_text()) for name in ("a", "b", "c")
    )
    assert one["faults"]["injected"] == two["faults"]["injected"] == three["faults"]["injected"]
    assert two["config"]["plan"].startswith("bad-pad:at=")
    assert one["config"]["plan"] == "bad-pad:0.01,bad-area:0.01,bad-index:0.01"
    header = (tmp_path / "a" / "journal.toml").read_text().partition("[[rule]]")[0]
    for words in ("seed 3", TRAFFIC, "replay RUN_FOLDER --journal", "--faults RUN_FOLDER/journal"):
        assert words in header
    assert "INCOMPLETE" not in header


def test_run_without_a_plan_has_no_journal(call: Callable[..., Any]) -> None:
    assert call("stress", "--packets", "100", "--run-dir", "a").code == 0
    assert not Path("a/journal.toml").exists()
    ended = call("replay", "a", "--journal")
    assert ended.code == 2
    (line,) = ended.stderr.splitlines()
    assert "journal: 'a/journal.toml' does not exist; name the folder of a run that had" in line


def test_rules_that_never_fired_stay_as_such(tmp_path: Path) -> None:
    run_in(tmp_path / "a", parse_plan("bad-pad:at=1000000000:queue=0,bad-area:0"), packets=200)
    again = load_plan(str(tmp_path / "a" / "journal.toml"))
    assert str(again) == "bad-pad:0.0:queue=0,bad-area:0.0"


def test_journal_that_is_cut_short_says_from_where_on(tmp_path: Path) -> None:
    report = run_in(tmp_path / "a", parse_plan("bad-pad:every=1"))
    (rule,) = load_plan(str(tmp_path / "a" / "journal.toml")).rules
    assert rule.ordinals == tuple(range(JOURNAL_MAX))
    text = (
        f"queue 0, consumer: {JOURNAL_MAX} of {report.reconciliation.rows[0].injected} firings "
        "were noted; "
        f"those from ordinal {JOURNAL_MAX} on are missing"
    )
    assert f"journal: {text}" in report.notes
    assert f"# INCOMPLETE: {text}\n" in (tmp_path / "a" / "journal.toml").read_text()


def test_process_faults_are_noted_with_their_millisecond_and_queue(tmp_path: Path) -> None:
    plan = parse_plan(
        "stop-consumer:every=60:ms=5,kill-consumer:at=150:queue=1,stop-nic:at=90:ms=5"
    )
    report = run_in(tmp_path / "a", plan, packets=0, duration_s=0.5, queues=2)
    again = load_plan(str(tmp_path / "a" / "journal.toml"))
    injected = counts(report)
    for name in injected:
        rules = [rule for rule in again.rules if rule.fault.name == name]
        assert sum(len(rule.ordinals) for rule in rules) == injected[name] > 0
        assert all(ms < 60_000 for rule in rules for ms in rule.ordinals)
    (killed,) = [rule for rule in again.rules if rule.fault.name == "kill-consumer"]
    assert killed.queue == 1
    assert killed.ordinals[0] >= 150
    assert {r.queue for r in again.rules if r.fault.name == "stop-consumer"} <= {0, 1}
    assert [r.params for r in again.rules if r.fault.name == "stop-nic"] == [(5,)]


def test_sixty_four_rules_of_many_ordinals_reach_every_process(tmp_path: Path) -> None:
    """Far more than a message of the channel holds, to the NIC as well as to the consumer."""
    names = ("bad-pad", "nic-corrupt")
    plan = parse_plan(
        ",".join(
            f"{names[i % 2]}:at=" + "+".join(str(i + 64 * n) for n in range(2000))
            for i in range(64)
        )
    )
    report = run_in(tmp_path / "a", plan, packets=6400)
    # Ordinals below 6400 are met: each of them by one rule.
    valid = report.reconciliation.rows[0].injected
    fired = [row.injected for row in report.reconciliation.rows[1:]]
    assert fired[1::2] == [100] * 32
    assert sum(fired[0::2]) == sum(1 for n in range(valid) if n % 2 == 0)
    assert load_plan(str(tmp_path / "a" / "journal.toml")).rules[1].ordinals == tuple(
        1 + 64 * n for n in range(100)
    )


@pytest.mark.parametrize("queues", [1, 3])
def test_everything_a_hostile_consumer_does_is_journalled(tmp_path: Path, queues: int) -> None:
    first = run_in(tmp_path / "a", load_plan("hostile"), queues=queues, area_buffers=512, **LAPS)
    again = load_plan(str(tmp_path / "a" / "journal.toml"))
    second = run_in(tmp_path / "b", again, queues=queues, area_buffers=512, **LAPS)
    # These are due at the same ordinals, but count only if the ring happens to be full then.
    as_it_happens = {"rq-overrun", "drop-when-full"}
    assert {name: n for name, n in counts(first).items() if name not in as_it_happens} == {
        name: n for name, n in counts(second).items() if name not in as_it_happens
    }
