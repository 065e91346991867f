"""The closing verdict: what fails is read in one screen, and all of it is in the run's folder."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from emu.cli.closing import print_report
from emu.verdict.report import Explanation, Report
from faults.profiles import PROFILES

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
BROKEN = ROOT / "tests" / "broken" / "provider.c"
#: Of a screen; what the command says before the run ends has three more.
SCREEN = 37


def printed(report: Report) -> list[str]:
    out = io.StringIO()
    print_report(Console(file=out, width=132), report)
    return out.getvalue().splitlines()


def test_broken_provider_is_read_in_one_screen(script: Any) -> None:
    ended = script.run(
        *("stress", "--provider", EXAMPLES / "broken_provider.c", "--faults", "hostile"),
        *("--packets", "100000", "--queues", "2", "--seed", "3"),
    )
    assert ended.code == 1
    lines = ended.stdout.splitlines()
    progress = [line for line in lines if re.match(r" +\d+\.\d s ", line)]
    assert 20 <= len(lines) - len(progress) <= SCREEN + 4
    (told,) = [line for line in lines if line.startswith("run folder: ")]
    folder = script.folder / told.split(", with ")[0].removeprefix("run folder: ")
    files = told.split(", with ")[1].split(", ")
    assert files[0] == "findings.txt"
    assert set(files) == {path.name for path in folder.iterdir()}
    assert lines[-1].startswith("same again: --seed 3 --packets 100000 --queues 2 --faults hostile")
    everything = (folder / "findings.txt").read_text()
    report = json.loads((folder / "run.json").read_text())
    for problem in report["problems"]:
        assert f"FAIL: {problem}" in everything
    for item in report["explanation"]:
        assert f"{item['kind']} explained: " in everything
    first, *others = report["explanation"]
    failed = [line for line in lines if line.startswith("FAIL: ")]
    assert failed[0].startswith(f"FAIL: {first['kind']}: ")
    assert len(failed) == len(report["problems"])
    explained = [line for line in lines if " explained: " in line]
    assert [line.split()[0] for line in explained] == [first["kind"]]
    if others:
        names = ", ".join(item["kind"] for item in others)
        assert f"explained in findings.txt: {names}" in lines


def test_report_of_anything_fits_a_screen(run_small: Callable[..., Report]) -> None:
    """However much there is to say: notes, problems, words, rows."""
    report = run_small(packets=20_000, plan=PROFILES["hostile"].plan)
    rows = tuple(replace(row, mismatches=7) for row in report.reconciliation.rows)
    broken = replace(
        report,
        ok=False,
        notes=tuple(f"note {n} " + "x" * 1000 for n in range(20)),
        problems=tuple(f"problem {n} " + "x" * 1000 for n in range(20)),
        explanations=tuple(Explanation(f"kind{n}", "word " * 1000) for n in range(3)),
        flight_lines=tuple(f"{n - 6:+.1f} nic event {n}" for n in range(12)),
        reconciliation=replace(report.reconciliation, rows=rows),
    )
    lines = printed(broken)
    assert len(lines) <= SCREEN
    assert all(len(line) <= 2 * 132 for line in lines if not line.startswith("same again"))
    assert "17 more notes in run.json" in lines
    assert "14 more findings in run.json" in lines
    assert "... (all of it in findings.txt)" in lines
    assert "explained in findings.txt: kind1, kind2" in lines
    (wrong,) = [line for line in lines if line.startswith("wrong verdicts: ")]
    assert wrong.endswith(f", {len(rows) - 4} more in findings.txt")
    shown = [line for line in lines if " nic event " in line]
    assert [line.split()[0] for line in shown] == ["-3.0", "-2.0", "-1.0", "+0.0", "+1.0", "+2.0"]


def test_mismatch_has_its_verdict_by_name(script: Any, tmp_path: Path) -> None:
    """A provider that rejects what is longer than a buffer, although nobody looks at lengths."""
    source = tmp_path / "mine.c"
    source.write_text(f'#define MISTAKE 24\n#include "{BROKEN}"\n')
    ended = script.run(
        *("stress", "--provider", source, "--packets", "3000", "--seed", "3"),
        *("--faults", "len-garbage:5%"),
    )
    assert ended.code == 1
    mismatch = r"^mismatch: queue 0: RQE \d+ .*, written as len-garbage, earned [a-z_]+ instead of "
    assert re.search(mismatch, ended.stdout, re.MULTILINE)
    assert re.search(r"^wrong verdicts: \d+ of \d+ len-garbage", ended.stdout, re.MULTILINE)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_plan_of_a_profile_goes_by_its_name(run_small: Callable[..., Report], profile: str) -> None:
    report = run_small(packets=100)
    config = {**report.config, "plan": str(PROFILES[profile].plan)}
    lines = printed(replace(report, ok=False, problems=("it",), config=config))
    assert lines[-1].endswith(f" --faults {profile}")
