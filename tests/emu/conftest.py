"""Shared by the tests of ``emu``: a small run, judged; and providers in shared libraries."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emu.config import RunConfig
from emu.report import Report
from emu.session import run

ROOT = Path(__file__).parents[2]
#: A packet waits for room as long as it takes: a busy machine drops nothing, and a stall shows.
SMALL = {"seed": 1, "packets": 20_000, "wait_ms": 60_000}


def check_sound(report: Report) -> None:
    """Assert what must hold for every run that was not tampered with."""
    assert report.problems == ()
    assert report.ok
    assert {statement.name for statement in report.statements if not statement.holds} == set()
    assert [process.exit_code for process in report.processes] == [0] * len(report.processes)
    offered, delivered, dropped = (
        report.total("nic", f"packets_{name}") for name in ("offered", "delivered", "dropped")
    )
    assert offered == delivered + dropped
    assert report.total("provider", "free_count") == report.config["area_buffers"] * len(
        report.queues
    )
    assert report.reconciliation.ok
    assert report.reconciliation.checked == report.total("provider", "consumed")
    # What a plan injects is judged like any other entry, whatever was left unread.
    for row in report.reconciliation.rows[1:]:
        assert set(row.earned) <= set(row.expected)


@pytest.fixture
def run_small() -> Callable[..., Report]:
    """Run a configuration with real processes; 20,000 packets of seed 1 if not said otherwise."""

    def run_it(**fields: Any) -> Report:
        config = RunConfig(**{**SMALL, **fields})
        print("RunConfig:", config.as_dict())
        return run(config)

    return run_it


@pytest.fixture
def run_sound(run_small: Callable[..., Report]) -> Callable[..., Report]:
    """The same, for runs in which everything must hold."""

    def run_it(**fields: Any) -> Report:
        report = run_small(**fields)
        check_sound(report)
        return report

    return run_it


@pytest.fixture(scope="session")
def build_provider(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    """Compile C source into a shared library of that name; its path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")

    def build(name: str, source: str) -> str:
        path = tmp_path_factory.mktemp(name) / f"{name}.so"
        subprocess.run(
            [
                *(compiler, "-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"),
                *("-I", ROOT / "cext", "-I", ROOT / "docs" / "examples", "-xc", "-", "-o", path),
            ],
            input=source,
            text=True,
            check=True,
        )
        return str(path)

    return build


@pytest.fixture(scope="session")
def plain_provider(build_provider: Callable[[str, str], str]) -> str:
    """The documentation's provider that is right."""
    return build_provider("plain", '#include "plain_provider.c"\n')


@pytest.fixture(scope="session")
def broken_provider(build_provider: Callable[[str, str], str]) -> str:
    """The documentation's provider that is wrong."""
    return build_provider("broken", '#include "broken_provider.c"\n')
