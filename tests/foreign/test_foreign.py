"""A project of somebody else's, in a folder of its own: its tests pass, and catch a mistake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "docs" / "examples" / "project"
#: In the provider's source: what stands there, and what somebody may have written instead.
RIGHT = "if (claim->pad != 0)"
WRONG = "if (claim->pad != 0 && claim->area != 0)"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROJECT, tmp_path / "ringkeeper"))


def run_tests(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Its tests by its own settings: nothing of this repository's."""
    environment = {name: text for name, text in os.environ.items() if "PYTEST" not in name}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_names_nothing_of_ours_but_the_header() -> None:
    for path in PROJECT.rglob("*"):
        if path.suffix in (".c", ".toml", ".py"):
            text = path.read_text()
            assert "cext" not in text
            assert "plain_provider" not in text
    assert '#include "zcrx_provider.h"' in (PROJECT / "src" / "ringkeeper.c").read_text()


@pytest.mark.long
def test_all_its_tests_pass_side_by_side(project: Path) -> None:
    ended = run_tests(project, "-n", "2")
    assert ended.returncode == 0, ended.stdout
    assert "9 passed" in ended.stdout


@pytest.mark.long
def test_a_mistake_is_told_like_a_report(project: Path) -> None:
    source = project / "src" / "ringkeeper.c"
    text = source.read_text()
    assert text.count(RIGHT) == 1
    source.write_text(text.replace(RIGHT, WRONG))
    ended = run_tests(project, "tests/test_runs.py", "tests/test_entries.py")
    assert ended.returncode == 1, ended.stdout
    failed = {
        line.split("::")[1].split(" ")[0]
        for line in ended.stdout.splitlines()
        if line.startswith("FAILED")
    }
    assert failed == {
        "test_traffic_under_faults[bad-pad:5%,bad-index:5%,alias:1%]",
        "test_malformed_entry[bad-pad-bad_pad]",
    }
    assert "AssertionError: the run is not sound" in ended.stdout
    assert "FAIL: exactness: " in ended.stdout
    assert "same again: --seed 0 --packets 3000" in ended.stdout
    assert "the specification" in ended.stdout
