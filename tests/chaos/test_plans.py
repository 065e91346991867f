"""Plans in real runs: when rules fire is arithmetic, and a seed decides the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.verdict.report import Report
from faults import CATALOGUE, PROFILES, Actor, parse_plan

pytestmark = pytest.mark.long

#: What every valid RQE counts for, at rates at which several faults meet in one run.
HOSTILE = PROFILES["hostile"].text
#: Rules that count what came to pass, which depends on timing; all others count when they are due.
AS_IT_HAPPENS = {"rq-overrun", "drop-when-full"}
#: One fragment a packet, so that ordinals of both sides are packets.
ONE_EACH = {
    "traffic": "synthetic:kind=raw,size=1000,flows=4,packets=64",
    "return_order": "fifo",
    "hold": 0,
    "packets": 20_000,
}


@pytest.mark.parametrize("queues", [1, 2])
def test_all_a_consumer_can_do_at_once_is_survived(
    survive: Callable[..., Report], queues: int
) -> None:
    names = {name for name, fault in CATALOGUE.items() if fault.actor is Actor.CONSUMER}
    assert {rule.fault.name for rule in parse_plan(HOSTILE).rules} == names
    # Returns that are lost on purpose keep their buffers: there must be enough of them.
    report = survive(HOSTILE, packets=200_000, queues=queues, area_buffers=512)
    rows = {row.name: row for row in report.reconciliation.rows[1:]}
    rare = {"tail-ahead", "tail-random", "tail-stall", "cq-stall"}
    often = names - rare - AS_IT_HAPPENS
    assert {name for name in often if not rows[name].injected} == set()


def test_everything_at_once_is_survived(survive: Callable[..., Report]) -> None:
    report = survive(PROFILES["chaos"].text, packets=0, duration_s=1.5, queues=2)
    injected = {row.name: row.injected for row in report.reconciliation.rows[1:]}
    assert injected["kill-consumer"] > 0
    assert injected["nic-drop"] > 0


def test_seed_decides_how_often_each_rule_fires(fired: Callable[..., list[int]]) -> None:
    plan = f"{HOSTILE},nic-drop:0.01,nic-corrupt:0.01,nic-stall:0.001:us=10"
    names = [rule.fault.name for rule in parse_plan(plan).rules]
    once, again, other = (
        {
            name: count
            for name, count in zip(
                names, fired(plan, **ONE_EACH, area_buffers=512, seed=seed), strict=True
            )
            if name not in AS_IT_HAPPENS
        }
        for seed in (7, 7, 8)
    )
    assert once == again != other


TRIGGERS = {
    "bad-pad:at=0": 1,
    "bad-pad:at=19999": 1,
    "bad-pad:at=20000": 0,
    "bad-pad:every=1000": 20,
    "bad-pad:every=20000": 1,
    "bad-pad:every=1": 20_000,
    "bad-pad:1.0": 20_000,
    "bad-pad:0": 0,
    "bad-pad:every=1000:from=1": 19,
    "bad-pad:every=1000:from=1000:until=3000": 3,
    "bad-pad:every=1000:from=1001:until=2999": 1,
    "bad-pad:1.0:from=100:until=109": 10,
    "bad-pad:0.5:limit=7": 7,
    "bad-pad:every=10:once": 1,
    "nic-drop:at=0": 1,
    "nic-drop:every=1000": 20,
    "nic-drop:every=1000:from=1000:until=3000": 3,
    "nic-drop:1.0:limit=9": 9,
    "nic-corrupt:every=1000": 20,
    "nic-corrupt:at=19999": 1,
}


@pytest.mark.parametrize("rule", TRIGGERS)
def test_rule_fires_as_often_as_arithmetic_says(fired: Callable[..., list[int]], rule: str) -> None:
    assert fired(rule, **ONE_EACH) == [TRIGGERS[rule]]


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("bad-pad:at=10000,bad-area:every=1000:after=bad-pad", [1, 9]),  # 11000 .. 19000
        ("bad-area:every=1000:after=bad-pad,bad-pad:at=10500", [9, 1]),
        ("bad-pad:0,bad-area:every=1000:after=bad-pad", [0, 0]),
        (
            "bad-pad:at=100,bad-area:at=50:after=bad-pad,bad-index:1.0:after=bad-pad:limit=3",
            [1, 0, 3],
        ),
        ("nic-drop:at=100,nic-corrupt:every=100:after=nic-drop:until=1000", [1, 9]),
    ],
)
def test_rule_sleeps_until_the_other_has_fired(
    fired: Callable[..., list[int]], plan: str, expected: list[int]
) -> None:
    assert fired(plan, **ONE_EACH) == expected


def test_rule_is_about_its_queue_only(survive: Callable[..., Report]) -> None:
    """The seven faults tell each queue's part by the verdicts of its provider."""
    plan = "bad-pad:every=100:queue=0:limit=20,bad-area:every=100:queue=1:limit=30"
    report = survive(f"{plan},bad-index:every=100:limit=10", queues=2)
    verdicts = [
        tuple(queue.provider[name] for name in ("bad_pad", "bad_area", "bad_index"))
        for queue in report.queues
    ]
    assert verdicts == [(20, 0, 10), (0, 30, 10)]


@pytest.mark.parametrize(
    "rule",
    ["bad-pad:every=100:limit=3", "bad-pad:at=20:once", "bad-pad:1.0:once", "bad-pad:0.1:limit=9"],
)
def test_limit_holds_across_consumers(fired: Callable[..., list[int]], rule: str) -> None:
    """A new consumer of the queue takes the plan over where the killed one left it."""
    plan = f"{rule},kill-consumer:every=150:limit=3"
    limit = parse_plan(plan).rules[0].limit or 1
    injected, kills = fired(plan, packets=0, duration_s=0.7)
    assert kills > 0
    assert injected == limit


def test_follower_stays_awake_across_consumers(survive: Callable[..., Report]) -> None:
    plan = "bad-pad:at=5,bad-area:every=1000:after=bad-pad,kill-consumer:at=150"
    report = survive(plan, packets=0, duration_s=0.6)
    first, follower, kill = report.reconciliation.rows[1:]
    assert (first.injected, kill.injected) == (1, 1)
    valid = report.reconciliation.rows[0].injected
    assert abs(follower.injected - valid // 1000) <= 2


def test_rules_of_a_flow_leave_the_others_alone(survive: Callable[..., Report]) -> None:
    report = survive(
        "nic-corrupt:0.2:flow=2,write-foreign:0,nic-drop:0.1:flow=1",
        traffic="synthetic:kind=raw,size=1000,flows=4,packets=64",
    )
    corrupted, _, dropped = report.reconciliation.rows[1:]
    assert corrupted.consequences == corrupted.injected > 0
    assert {item.flow for item in report.reconciliation.consequences} == {2}
    assert dropped.injected == report.total("nic", "packets_dropped") > 0


def test_returns_of_a_flow_are_met_and_no_others(survive: Callable[..., Report]) -> None:
    traffic = "synthetic:kind=raw,size=1000,flows=4,packets=64"
    each, one, none = (
        survive(f"early-return:1:delay=1{scope}", traffic=traffic, packets=8000)
        .reconciliation.rows[1]
        .injected
        for scope in ("", ":flow=1", ":flow=77")
    )
    assert none == 0
    assert 0 < one < each
