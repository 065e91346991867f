"""Every fault of the catalogue, injected alone into a short run with real processes.

The run must be ok, the fault must have fired, and what it led to must be told.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from emu.config import RunConfig
from emu.runtime.sample import Sample
from emu.runtime.session import Session
from emu.verdict.report import Report
from faults import CATALOGUE, Actor, Group, ReconciledRow, parse_plan

pytestmark = pytest.mark.long

#: One plan at least for every fault.
PLANS = (
    "bad-pad:0.01",
    "bad-pad:0.01:value=one-bit",
    "bad-pad:0.01:value=ones",
    "bad-area:0.01",
    "bad-area:0.01:value=one",
    "bad-area:0.01:value=max",
    "bad-index:0.01",
    "bad-index:0.01:value=count",
    "bad-index:0.01:value=count+1",
    "bad-index:0.01:value=far",
    "bad-index:0.01:value=max",
    "bad-offset:0.01",
    "bad-offset:0.01:value=ones",
    "bad-offset:0.01:value=max48",
    "alias:0.01",
    "mid-buffer:0.1",
    "len-garbage:0.1",
    "len-garbage:0.1:value=zero",
    "len-garbage:0.1:value=max",
    "double-return:0.002",
    "double-return:0.001:count=16",
    "stale-return:0.002",
    "stale-return:0.002:delay=4096",
    "early-return:0.01:delay=1024",
    "neighbour-return:0.002",
    "never-given:0.002",
    "never-given:0.002:where=newest",
    "never-given:0.002:where=next",
    "wrong-area:0.002",
    "hoard:0.01:max=50",
    "tail-ahead:0.0005:jump=100",
    "tail-ahead:at=5000:jump=32768",
    "head-scribble:0.001",
    "tail-back:0.005",
    "tail-back:0.001:distance=32768",
    "tail-random:0.005",
    "tail-early:0.001:limit=60",
    "tail-stall:every=5000:us=500",
    "rqe-rewrite:0.001:limit=20",
    "rqe-rewrite:0.001:limit=20:value=pad",
    "rqe-rewrite:0.001:limit=20:value=area",
    "rq-overrun:0.001:limit=3",
    "drop-when-full:0.001:limit=3",
    "wrong-ring:0.001:max=50",
    "cq-head-scribble:0.001",
    "cq-stall:every=5000:us=500",
    "slow:0.001",
    "write-foreign:0.002",
    "nic-drop:0.01",
    "nic-corrupt:0.01",
    "nic-duplicate:0.01",
    "nic-reorder:0.01",
    "nic-reorder:0.01:distance=63",
    "nic-truncate:0.01",
    "nic-truncate:0.01:keep=4096",
    "nic-stall:0.001:us=100",
    "nic-burst:0.001:packets=200",
    "nic-hold:0.001",
    "nic-tiny:0.01",
    "nic-tiny:0.001:fragments=1024",
    "cq-full:0.01",
    "clock-jump:0.001:ms=3600000",
    "clock-jump:0.001:ms=3600000:direction=back",
    "kill-consumer:every=150",
    "stop-consumer:every=100:ms=20",
    "stop-provider:every=100:ms=20",
    "stop-nic:every=100:ms=20",
    "churn:every=200",
    "scrub-midway:every=50",
    "index-wrap:1",
    "index-wrap:at=0:distance=0",
    "index-wrap:1:distance=65535",
    "header-layout:1",
    "header-garbage:1",
    "header-garbage:1:value=ones",
    "header-garbage:1:value=entries",
    "alloc-fail:0.001:count=8",
    "freelist-empty:0.001",
    "ptr-ring-full:0.001",
    "starve-consumer:every=100:ms=30",
    "starve-provider:every=100:ms=30:nice=5",
    "starve-nic:every=100:ms=30:nice=19",
    "queue-restart:every=50",
    "add-area:every=50",
)
#: It is all that happens to a run: see test_set_up.py.
NO_RUN = {"setup-fail"}
#: They are about several areas.
OF_AREAS = {"wrong-area", "add-area"}
#: Faults of the content and of the ring: what they must earn is decided by their bytes alone.
DECIDED_BY_BYTES = {"bad-pad": "bad_pad", "bad-area": "bad_area", "bad-index": "bad_index"}
#: Above those rates something is certain to happen to the consumer itself.
CERTAIN = {
    *("double-return", "stale-return", "early-return", "neighbour-return", "tail-ahead"),
    *("write-foreign", "nic-corrupt", "nic-duplicate", "nic-reorder", "nic-truncate"),
}


def rule_of(report: Report) -> ReconciledRow:
    _, row = report.reconciliation.rows
    return row


@pytest.fixture(params=PLANS)
def alone(request: Any, survive: Callable[..., Report]) -> Report:
    plan: str = request.param
    (rule,) = parse_plan(plan).rules
    if rule.fault.name in OF_AREAS:
        areas = "2+2:64,100" if rule.fault.actor is Actor.PROCESS else "4:64,100"
        return survive(plan, packets=0, duration_s=0.7, kernel="7.3", areas=areas)
    if rule.fault.actor is Actor.PROCESS:
        return survive(plan, packets=0, duration_s=0.7)
    if rule.fault.name in ("rq-overrun", "drop-when-full"):
        return survive(plan, rq_entries=8)
    if rule.fault.name == "wrong-ring":
        return survive(plan, queues=2)
    if rule.fault.name == "tail-back":
        return until_judged(survive, plan)
    return survive(plan)


def until_judged(survive: Callable[..., Report], plan: str) -> Report:
    """Whether the provider looks while the tail lies is chance: it may never have a core then."""
    for _ in range(8):
        report = survive(plan)
        if rule_of(report).judged:
            break
    return report


def test_every_fault_is_here() -> None:
    assert {plan.partition(":")[0] for plan in PLANS} == set(CATALOGUE) - NO_RUN


def test_fault_alone_is_survived_and_accounted_for(alone: Report) -> None:
    row = rule_of(alone)
    fault = CATALOGUE[row.name]
    assert row.injected > 0
    assert set(row.earned) <= fault.verdicts
    assert (row.judged > 0) == fault.writes_entries
    if row.name in DECIDED_BY_BYTES:
        # At the very end an entry may stand in the ring that nobody takes any more.
        assert 0 <= row.injected - row.judged <= alone.reconciliation.unconsumed
        assert set(row.earned) == {DECIDED_BY_BYTES[row.name]}
    if fault.modifies:
        assert 0 <= row.injected - row.judged <= alone.reconciliation.unconsumed
    if not fault.breaks_contract:
        assert row.consequences == 0
        assert alone.reconciliation.consequences == ()
    if fault.actor is Actor.CONSUMER:
        assert alone.total("nic", "packets_dropped") == 0
    if row.name in CERTAIN and "at=" not in alone.config["plan"]:
        assert row.consequences > 0
    for item in alone.reconciliation.consequences:
        assert item.fault == row.name
        if fault.group is not Group.NIC:
            # The very first of a ring, too: a letter may be there before any return of its own.
            assert 0 <= item.position < alone.total("consumer", "rqe_submitted")
            assert f"{row.name} at RQE {item.position}: " in str(item)
        assert f"fragment {item.seq} of flow {item.flow} in buffer {item.niov}" in str(item)


def test_each_corrupted_packet_is_found_and_no_other(survive: Callable[..., Report]) -> None:
    report = survive("nic-corrupt:0.01", queues=2)
    row = rule_of(report)
    assert row.consequences == row.injected > 200
    assert {item.kind for item in report.reconciliation.consequences} == {"corrupt_found"}
    assert {item.queue for item in report.reconciliation.consequences} == {0, 1}
    assert report.total("consumer", "integrity_errors") == 0


def test_dropped_packets_are_the_gaps_that_the_consumer_sees(
    survive: Callable[..., Report],
) -> None:
    report = survive("nic-drop:every=100")
    assert rule_of(report).injected == report.total("nic", "packets_dropped") == 400
    assert report.total("consumer", "order_errors") == 0


def test_alias_is_accepted_and_counted(survive: Callable[..., Report]) -> None:
    report = survive("alias:0.01")
    row = rule_of(report)
    assert report.total("provider", "aliases") == row.judged > 0
    assert "bad_index" not in row.earned


def test_strict_provider_rejects_an_alias(survive: Callable[..., Report]) -> None:
    report = survive("alias:0.01", strict_alias=True)
    row = rule_of(report)
    assert row.earned == {"bad_index": row.judged}
    assert row.injected > 0


def test_hoarded_fragments_come_home_with_the_scrub(survive: Callable[..., Report]) -> None:
    report = survive("hoard:0.01:max=50")
    (queue,) = report.queues
    assert queue.consumer["hoarded"] == 50
    assert queue.scrub["references"] >= 50


def test_each_copy_of_a_return_is_an_entry(survive: Callable[..., Report]) -> None:
    report = survive("double-return:every=1000:until=30000:count=3")
    row = rule_of(report)
    assert row.injected == 31
    assert row.judged == 93


@pytest.mark.parametrize("name", ["kill-consumer", "churn"])
def test_replaced_consumers_are_processes_of_their_own(
    survive: Callable[..., Report], name: str
) -> None:
    report = survive(f"{name}:every=150", packets=0, duration_s=0.7)
    consumers = [process for process in report.processes if process.role == "consumer"]
    ended = rule_of(report).injected
    # The last one may have met its end with the traffic's, so that nobody came after it.
    assert ended > 0
    assert len(consumers) in (ended, ended + 1)
    codes = {process.exit_code for process in consumers[:ended]}
    assert codes == ({-9} if name == "kill-consumer" else {0})


def test_replaced_consumers_leave_no_descriptors_behind() -> None:
    counts: list[int] = []
    config = RunConfig(seed=2, duration_s=60.0, plan=parse_plan("kill-consumer:every=100"))
    with Session(config) as session:
        at_start = len(os.listdir("/proc/self/fd"))

        def count(_sample: Sample) -> None:
            counts.append(len(os.listdir("/proc/self/fd")))
            if len(session.processes.workers) > 6:  # however long it takes to replace one here
                session.interrupt()

        report = session.run(count)
    assert report.ok
    assert len(report.processes) > 4
    # One consumer may be on its way while the descriptors are counted.
    assert max(counts) <= at_start + 4


# ---- The provider, and what happens to whole processes -------------------------------------------


def test_failed_allocations_are_counted_like_real_ones(survive: Callable[..., Report]) -> None:
    report = survive("alloc-fail:every=1000:count=20", area_buffers=2048)
    fired = rule_of(report).injected
    assert fired > 5
    assert report.total("provider", "alloc_failures") >= 20 * (fired - 1)


@pytest.mark.parametrize("count", [3, 300])
@pytest.mark.parametrize("copy_every", [0, 5])
def test_queue_goes_on_without_its_freelist(
    survive: Callable[..., Report], copy_every: int, count: int
) -> None:
    """Hidden now and then, or nearly always: what would be copied is placed meanwhile."""
    every = 10 * count
    report = survive(
        f"freelist-empty:every={every}:count={count}", copy_every=copy_every, area_buffers=8192
    )
    assert rule_of(report).injected > 5
    assert report.total("nic", "packets_dropped") == 0
    assert (report.total("nic", "copies_placed") > 0) == (copy_every > 0)


def test_ptr_ring_that_is_full_by_plan_sends_buffers_to_the_freelist(
    survive: Callable[..., Report],
) -> None:
    """With as many refusals as this, no buffer goes to the ring at all, scrub included."""
    report = survive("ptr-ring-full:every=1:count=4096", area_buffers=1024, ptr_ring_size=1024)
    assert report.total("page_pool", "rx_pp_recycle_ring") == 0
    assert report.total("page_pool", "rx_pp_recycle_ring_full") > 0


@pytest.mark.parametrize("queues", [1, 2])
def test_returns_of_an_old_pool_earn_other_pool(
    survive: Callable[..., Report], queues: int
) -> None:
    report = survive("queue-restart:every=50", packets=0, duration_s=0.7, queues=queues)
    fired = rule_of(report).injected
    assert report.total("provider", "restarts") == fired > 3
    assert report.total("provider", "other_pool") > 0
    assert report.total("page_pool", "rx_pp_recycle_ring") >= report.total("provider", "other_pool")
    (home,) = [item for item in report.statements if item.name == "all_home"]
    assert f"are due to {fired} restarts)" in home.text


def test_restart_is_put_off_while_every_slot_holds_a_pool(survive: Callable[..., Report]) -> None:
    """What is hoarded keeps its pool from going; all of them come home with the last scrub."""
    report = survive(
        "hoard:0.5:max=65536,queue-restart:every=5",
        packets=0,
        duration_s=1.0,
        area_buffers=100_000,
        traffic="synthetic:kind=raw,size=4096,flows=4,packets=64",
        wait_ms=100,
    )
    queue = report.queues[0].provider
    restarts = report.reconciliation.rows[2].injected
    assert queue["restarts"] == restarts
    assert 7 <= restarts < 100, "a pool may have gone before anything of it was hoarded"
    assert queue["destroy_warnings"] == queue["warnings_due"]


def test_everything_comes_home_whatever_meets_a_restart(survive: Callable[..., Report]) -> None:
    report = survive(
        "queue-restart:every=30,kill-consumer:every=170,churn:every=290,stop-provider:every=110:ms=20,"
        "alloc-fail:0.001,freelist-empty:0.001,ptr-ring-full:0.001,early-return:0.01,bad-pad:0.01",
        packets=0,
        duration_s=1.2,
        queues=2,
        copy_every=7,
        area_buffers=2048,
    )
    rows = report.reconciliation.rows
    assert all(row.injected > 0 for row in rows)
    assert report.total("provider", "restarts") == rows[1].injected


@pytest.mark.parametrize("pin", [True, False])
def test_starved_processes_get_back_what_they_had(
    monkeypatch: pytest.MonkeyPatch, pin: bool
) -> None:
    """Its time is longer than the traffic, and ends with it; nobody else was touched."""
    found: list[dict[str, tuple[set[int], int]]] = []

    def look(session: Session) -> None:
        found.append(
            {
                label: (os.sched_getaffinity(pid), os.getpriority(os.PRIO_PROCESS, pid))
                for label, pid in session.pids.items()
            }
        )

    leave = Session._consumers_leave

    def look_and_leave(session: Session) -> None:
        look(session)
        leave(session)

    monkeypatch.setattr(Session, "_consumers_leave", look_and_leave)
    plan = parse_plan("starve-nic:at=50:ms=10000:nice=1")
    config = RunConfig(seed=1, plan=plan, queues=2, pin=pin, duration_s=60.0, wait_ms=60_000)
    with Session(config) as session:
        look(session)

        def end(sample: Sample) -> None:
            if len(found) == 1 and any(session._process_faults.fired):
                look(session)
                session.interrupt("enough")

        report = session.run(end, sample_every_s=0.02)
    assert report.problems == ()
    before, meanwhile, after = found
    # The provider goes by itself where there is room.
    for state in (before, after):
        state["provider"] = (set(), state["provider"][1])
    assert after == before
    before["provider"] = meanwhile["provider"]
    assert rule_of(report).injected == 1
    if len(os.sched_getaffinity(0)) > 1:
        shared = meanwhile["nic"][0]
        assert len(shared) == 1
        changed = {label for label in before if before[label] != meanwhile[label]}
        # Who was put beside it shares its core, unless it is the provider, which moves on.
        assert all(meanwhile[label][0] == shared for label in changed)
        assert "nic" in changed
        assert len(changed) <= 2
