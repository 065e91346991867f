"""``zcrx-emu race`` as people use it: verdicts, wrong use, Ctrl-C, and what it leaves: nothing."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.race.library import SCENARIOS
from emu.race.operations import OPERATIONS

Call = Callable[..., Any]


@pytest.mark.usefixtures("good")  # what was compiled before is not said
def test_first_command_is_conclusive(call: Call) -> None:
    ended = call("race", "--json", "-")
    summary = json.loads(ended.stdout)
    assert ended.code == 0
    assert summary["complete"] is True
    assert summary["findings"] == 0
    assert [item["scenario"] for item in summary["scenarios"]] == list(SCENARIOS)
    assert ended.stderr.startswith(f"seed {summary['seed']}\n")
    assert ended.stderr.count(": complete: all ") == len(SCENARIOS)


def test_provider_of_ones_own_is_attacked_and_replayed(call: Call, tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "docs" / "examples" / "broken_provider.c"
    ended = call("race", "--provider", str(source), "--scenario", "refill-vs-scrub")
    assert ended.code == 1
    assert f"provider {source}, memory c11" in ended.stdout
    assert "broken_provider.c:" in ended.stdout
    path = next((tmp_path / "race" / "findings").iterdir())
    assert "the same trace: " in call("replay", str(path)).stdout


def test_bug_is_played_at_a_level_that_shows_it(call: Call, tmp_path: Path) -> None:
    bug = ("race", "--scenario", "run-vs-scrub", "--bug", "run-looked-at-then-taken")
    ended = call(*bug)
    assert (ended.code, ended.stderr) == (1, "")
    assert "  kernel 7.3\n" in ended.stdout
    path = next((tmp_path / "race" / "findings").iterdir())
    assert "the same trace: " in call("replay", str(path)).stdout
    for more in ((), ("--live",)):
        ended = call(*bug, "--kernel", "7.1", *more)
        assert (ended.code, ended.stdout) == (2, "")
        assert ended.stderr == (
            "zcrx-emu: error: kernel: '7.1' is not allowed; the bug run-looked-at-then-taken "
            "shows at 7.3\n"
        )


@pytest.mark.parametrize(
    "command",
    [
        ("race", "--live", "--scenario", "refill-vs-scrub"),
        ("race", "--live", "--scenario", "cached-vs-scrub", "--bug", "refs-folded-without-lock"),
        ("race", "--provider", "mine.c"),
        ("fuzz",),
        ("stress",),
    ],
)
def test_experimental_level_is_refused_where_it_is_not_played(
    call: Call, command: tuple[str, ...]
) -> None:
    ended = call(*command, *(() if "--bug" in command else ("--kernel", "refs-cache")))
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr == (
        "zcrx-emu: error: kernel: 'refs-cache' is not allowed; it is experimental: only 'race' "
        "without --live, and our own provider, play it\n"
    )


def test_finding_is_replayed_from_another_folder(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = Path(__file__).parents[2] / "docs" / "examples"
    for name in ("broken_provider.c", "plain_provider.c"):
        (tmp_path / name).write_bytes((examples / name).read_bytes())
    arguments = ("--provider", "broken_provider.c", "--scenario", "refill-vs-scrub")
    assert call("race", *arguments).code == 1
    path = next((tmp_path / "race" / "findings").iterdir())
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / path.name)
    assert json.loads(moved.read_text())["provider"] == str(tmp_path / "broken_provider.c")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "the same trace: " in call("replay", moved.name).stdout


def test_one_mistake_is_one_finding_in_one_screen(call: Call, tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "docs" / "examples" / "broken_provider.c"
    (tmp_path / "some.py").write_text(
        "from emu.race.library import SCENARIOS as ALL\n"
        "SCENARIOS = [ALL[n] for n in ('refill-vs-scrub', 'full-ring', 'late-return')]\n"
    )
    ended = call("race", "--provider", str(source), "--scenario", "some.py", "--json", "s.json")
    assert ended.code == 1
    lines = ended.stdout.splitlines()
    assert lines[-1] == "FINDINGS: 1, seen in 3 scenarios"
    assert sum("the same mistake as refill-vs-scrub" in line for line in lines) == 2
    assert len(lines[lines.index("") :]) <= 24
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["findings"], summary["mistakes"]) == (3, 1)
    assert len(list((tmp_path / "race" / "findings").iterdir())) == 3


def test_lists_show_what_there_is(call: Call) -> None:
    ended = call("race", "--list")
    assert ended.code == 0
    for word in (*SCENARIOS, "cve-2026-43121", "pct", "exhaustive", "c11", "tso"):
        assert word in ended.stdout
    operations = call("race", "--list", "--operations").stdout
    assert all(word in operations for word in OPERATIONS)
    values = json.loads(call("race", "--list", "--json", "-").stdout)
    assert set(values["scenarios"]) == set(SCENARIOS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--strategy", "exhaustiv"), "strategy: 'exhaustiv' is not allowed; did you mean exhau"),
        (("--memory", "tos"), "memory: 'tos' is not allowed; did you mean tso"),
        (("--bug", "cve-2026-4312"), "bug: 'cve-2026-4312' is not allowed; known are cve-2026-43"),
        (("--scenario", "door-bell"), "scenario: 'door-bell' is not allowed; near are doorbell"),
        (("--seed", "-1"), "seed: -1 is not allowed; 0 .. 2^64 - 1"),
        (("--time", "-1"), "time: -1 is not allowed"),
        (("--time", "soon"), "'soon'"),
        (("--schedules", "-5"), "schedules: -5 is not allowed"),
        (("--strategy", "pct", "--depth", "9"), "depth: 9 is not allowed; 1 .. 8"),
        (("--bound", "-1"), "bound: -1 is not allowed"),
        (("--bound", "2", "--strategy", "random"), "bound: 2 is not allowed; it is for --strategy"),
        (("--json", "no/such/folder/x"), "json: 'no/such/folder/x' cannot be written"),
        (("--perfetto", "no/such/folder/x"), "perfetto: 'no/such/folder/x' cannot be written"),
        (("--findings", "/proc/1/x"), "findings: "),
        (("--provider", "absent.c"), "provider: 'absent.c' is not allowed; name the C source"),
        (("--provider", "a.c", "--bug", "cve-2026-43121"), "bug: 'cve-2026-43121' is not allowed"),
    ],
)
def test_wrong_use_is_answered_in_one_line(
    call: Call, arguments: tuple[str, ...], words: str
) -> None:
    ended = call("race", *arguments)
    assert (ended.code, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert words in ended.stderr


def test_pct_says_what_it_guarantees(call: Call) -> None:
    ended = call(
        "race", "--scenario", "two-scrubs", "--strategy", "pct", "--depth", "2", "--memory", "sc",
        "--schedules", "500", "--seed", "3",
    )  # fmt: skip
    assert ended.code == 0
    found = re.search(r"1/\(n\*k\^\(d-1\)\) = 1/\((\d+)\*(\d+)\^1\) = (\S+)", ended.stdout)
    assert found
    assert int(found[1]) == 2
    assert float(found[3]) == pytest.approx(1 / (2 * int(found[2])), rel=0.01)
    assert "500 executions by pct" in ended.stdout


def test_bounded_search_is_complete_within_its_bound(call: Call) -> None:
    ended = call("race", "--scenario", "two-scrubs", "--bound", "1", "--memory", "sc")
    assert ended.code == 0
    assert re.search(r"complete: all \d+ interleavings with 1 preemptions at most", ended.stdout)


@pytest.mark.long
def test_search_that_is_cut_short_says_so(call: Call, endless: Path) -> None:
    ended = call(
        "race", "--scenario", str(endless), "--strategy", "exhaustive", "--schedules", "1000"
    )
    assert ended.code == 0
    assert re.search(r"endless: not complete \(about \S+ % after \d+ s\)", ended.stdout)
    assert "complete: all" not in ended.stdout


@pytest.mark.long
def test_what_takes_too_long_is_searched_by_chance_as_well(call: Call, endless: Path) -> None:
    ended = call("race", "--scenario", str(endless), "--time", "4")
    assert ended.code == 0
    assert "endless: exhaustive, " in ended.stdout  # the first estimate
    assert "not complete" in ended.stdout


def _simulation_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        # All commands end by the same code, which the tests of stress ask for each signal.
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, marks=pytest.mark.long),
    ],
)
def test_interrupted_search_gives_a_partial_result(
    script: Any, endless: Path, number: signal.Signals
) -> None:
    running = script.start(
        "race", "--scenario", endless, "--strategy", "exhaustive", "--time", "0", "--json", "s.json"
    )
    running.expect(r"endless: exhaustive, .* executions, about .* %")
    simulation = _simulation_of(running.pid)
    os.kill(running.pid, number)
    ended = running.finish()
    assert (ended.code, ended.stderr) == (0, "")
    assert "not complete (interrupted, about " in ended.stdout
    assert "interrupted: a partial result, 0 scenario(s) were not begun" in ended.stdout
    assert ended.stdout.endswith("no finding so far\n")
    assert not Path(f"/proc/{simulation}").exists()
    summary = json.loads((script.folder / "s.json").read_text())
    assert summary["interrupted"] is True
    assert summary["complete"] is False
    assert summary["scenarios"][0]["schedules"] > 0


def test_simulation_dies_with_whoever_asked_for_it(script: Any, endless: Path) -> None:
    running = script.start(
        "race", "--scenario", endless, "--strategy", "random", "--time", "0", "--seed", "1"
    )
    running.expect(r"endless: random, .* executions")
    simulation = Path(f"/proc/{_simulation_of(running.pid)}/cmdline")
    os.kill(running.pid, signal.SIGKILL)
    running.finish()
    assert script.wait_until(lambda: not simulation.exists() or not simulation.read_bytes())


def test_same_seed_gives_the_same_traces_in_another_process(call: Call) -> None:
    def hashes(seed: str) -> list[str]:
        ended = call(
            "race", "--strategy", "random", "--schedules", "300", "--seed", seed, "--json", "-"
        )
        return [item["hash"] for item in json.loads(ended.stdout)["scenarios"]]

    first = hashes("11")
    assert first == hashes("11")
    assert first != hashes("12")
