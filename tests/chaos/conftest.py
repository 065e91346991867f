"""Shared by the tests of faults in real runs: a short run with a plan, and what each must hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emu.config import RunConfig
from emu.runtime.session import run
from emu.verdict.report import Report
from faults import ReconciledRow, parse_plan

#: A small area and every byte checked twice: what a fault leads to shows soon.
SHORT = {
    "seed": 5,
    "packets": 40_000,
    "area_buffers": 128,
    "recheck_every": 1,
    "wait_ms": 60_000,
}


def check_survived(report: Report) -> None:
    """Assert what must hold whatever the plan did."""
    assert report.problems == ()
    assert report.ok
    assert {statement.name for statement in report.statements if not statement.holds} == set()
    home = report.total("provider", "free_count")
    assert home == sum(sum(queue.areas) for queue in report.queues)
    for queue in report.queues:
        assert queue.provider["instance_refs"] == 1 + queue.provider["destroy_warnings"]
        if not queue.nic["copied_packets"]:
            assert queue.provider["destroy_warnings"] == queue.provider["warnings_due"]
    offered, delivered, dropped = (
        report.total("nic", f"packets_{name}") for name in ("offered", "delivered", "dropped")
    )
    assert offered == delivered + dropped
    result = report.reconciliation
    assert (result.lost, result.mismatch_count, result.mismatches) == (0, 0, ())
    assert result.checked == report.total("provider", "consumed")
    assert result.unconsumed >= 0
    for item in result.consequences:
        assert 0 <= item.queue < len(report.queues)
        assert 0 <= item.niov < sum(report.queues[0].areas)
        assert item.generation_now >= item.generation_held
        assert str(item).startswith(f"queue {item.queue}: {item.fault}")
    told = {row.name: row.consequences for row in result.rows}
    for name in {item.fault for item in result.consequences}:
        assert told[name] >= sum(item.fault == name for item in result.consequences)


def row_of(report: Report, name: str) -> ReconciledRow:
    """The line of the table about a fault."""
    (row,) = [row for row in report.reconciliation.rows if row.name == name]
    return row


@pytest.fixture
def survive() -> Callable[..., Report]:
    """Run a plan with real processes and assert that everything held."""

    def run_it(plan: str, **fields: Any) -> Report:
        config = RunConfig(**{**SHORT, "plan": parse_plan(plan), **fields})
        print("RunConfig:", config.as_dict())
        report = run(config)
        check_survived(report)
        return report

    return run_it


@pytest.fixture
def fired(survive: Callable[..., Report]) -> Callable[..., list[int]]:
    """Run a plan and say how often each of its rules fired."""

    def run_it(plan: str, **fields: Any) -> list[int]:
        report = survive(plan, **fields)
        return [row.injected for row in report.reconciliation.rows[1:]]

    return run_it
