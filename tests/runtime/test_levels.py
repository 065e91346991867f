"""Real processes at each kernel level: what differs there is accounted for like all else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.contract import LEVELS
from emu.verdict.report import Report
from faults import parse_plan

RunIt = Callable[..., Report]
FAULTS = parse_plan(
    "bad-pad:0.05,alias:0.05,double-return:0.02,stale-return:0.02,tail-ahead:0.005,tail-back:0.002,"
    "tail-random:0.002,rqe-rewrite:0.02,head-scribble:0.01,nic-duplicate:0.01"
)


@pytest.mark.parametrize("kernel", LEVELS)
def test_run_with_faults_is_accounted_for(run_small: RunIt, kernel: str) -> None:
    report = run_small(kernel=kernel, plan=FAULTS)
    assert report.ok, report.problems
    assert report.as_dict()["config"]["kernel"] == kernel


@pytest.mark.parametrize("kernel", ["7.1", "7.3"])
def test_larger_buffers_with_faults_and_copies(run_small: RunIt, kernel: str) -> None:
    report = run_small(kernel=kernel, rx_buf_len=16384, copy_every=3, plan=FAULTS)
    assert report.ok, report.problems
    assert report.total("nic", "copied_packets") > 0


def test_duplicate_takes_the_good_return_beside_it_along(run_small: RunIt) -> None:
    """With 7.3 their buffers stay with the user; that is a note, and no finding."""
    fields = {
        "traffic": "synthetic:kind=raw,size=3000",  # a buffer each
        "plan": parse_plan("double-return:0.05"),
    }
    before, since = (run_small(kernel=kernel, **fields) for kernel in ("7.2", "7.3"))
    assert before.ok, before.problems
    assert since.ok, since.problems

    def failed(report: Report) -> int:
        return report.reconciliation.credits.used_of_strays

    assert failed(since) > 100 > failed(before)


def test_restart_warns_of_nothing_since_6_18(run_small: RunIt) -> None:
    report = run_small(
        kernel="6.18", packets=0, duration_s=0.5, plan=parse_plan("queue-restart:every=20")
    )
    assert report.ok, report.problems
    assert report.total("provider", "restarts") > 0
    assert report.total("provider", "destroy_warnings") == 0
