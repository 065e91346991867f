"""A consumer that breaks the rules by itself, without a plan, must be found out.

The consumers stand in this module too: the consumer process imports it. Nothing of what
they do may be put down to a fault, since none was injected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from emu.config import RunConfig
from emu.consumer import Completion, Consumer
from emu.runtime.session import run
from emu.verdict.report import Report
from faults import Plan, parse_plan

TRAFFIC = "synthetic:kind=raw,size=1000,flows=4,packets=64"  # four fragments a buffer


# ---- The consumers ------------------------------------------------------------------------------


def returns_twice(consumer: Consumer) -> None:
    """Give every hundredth fragment back twice; of the others, hold the last few."""
    held: list[Completion] = []
    for count, completion in enumerate(consumer):
        held.append(completion)
        if len(held) > 8:
            oldest = held.pop(0)
            consumer.give_back(oldest)
            if count % 100 == 0:
                consumer.give_back(oldest)
    consumer.give_back(*held)


def returns_before_it_reads(consumer: Consumer) -> None:
    """Hold the last few, but give each back when it comes, and once more when it was read."""
    held: list[Completion] = []
    for completion in consumer:
        consumer.give_back(completion)
        held.append(completion)
        if len(held) > 200:
            consumer.give_back(held.pop(0))


def scribbles_over_a_neighbour(consumer: Consumer) -> None:
    """Write into a buffer that was received and is still being read."""
    held: list[Completion] = []
    for count, completion in enumerate(consumer):
        held.append(completion)
        if count % 100 == 0:
            held[0].data[0] ^= 1
        if len(held) > 8:
            consumer.give_back(held.pop(0))
    consumer.give_back(*held)


def invents_a_return(consumer: Consumer) -> None:
    """Return, now and then, a buffer that it was not given."""
    for count, completion in enumerate(consumer):
        consumer.give_back(completion)
        if count % 1000 == 999:
            wrong = replace(completion.raw, off=(completion.off + (17 << 12)) % (128 << 12))
            consumer.give_back(replace(completion, raw=wrong))


def behaves(consumer: Consumer) -> None:
    for completion in consumer:
        consumer.give_back(completion)


# ---- The tests ----------------------------------------------------------------------------------


@pytest.fixture
def judge() -> Callable[[Callable[[Consumer], None], Plan], Report]:
    def run_it(consumer: Callable[[Consumer], None], plan: Plan) -> Report:
        config = RunConfig(
            seed=3,
            packets=20_000,
            traffic=TRAFFIC,
            area_buffers=128,
            hold=0,
            recheck_every=1,
            wait_ms=2000,
            plan=plan,
            consumer=f"{__name__}:{consumer.__name__}",
        )
        print("RunConfig:", config.as_dict())
        return run(config)

    return run_it


@pytest.mark.parametrize(
    ("consumer", "found_by"),
    [
        (returns_twice, {"consumer", "exactness", "ownership", "integrity"}),
        (returns_before_it_reads, {"consumer", "exactness", "ownership", "integrity"}),
        (invents_a_return, {"consumer", "exactness", "ownership", "integrity"}),
        (scribbles_over_a_neighbour, {"integrity"}),
    ],
)
@pytest.mark.parametrize(
    "plan", ["none", pytest.param("bad-pad:0.01,mid-buffer:0.01", marks=pytest.mark.long)]
)
def test_consumer_that_breaks_the_rules_is_found_out(
    judge: Callable[[Callable[[Consumer], None], Plan], Report],
    consumer: Callable[[Consumer], None],
    found_by: set[str],
    plan: str,
) -> None:
    report = judge(consumer, parse_plan(plan))
    assert not report.ok
    broken = {statement.name for statement in report.statements if statement.holds is False}
    assert broken
    assert broken <= found_by
    assert ("consumer" in broken) == ("consumer" in found_by)  # its own mistakes, by their places
    assert [line.partition(":")[0] for line in report.problems] == [
        statement.name for statement in report.statements if statement.holds is False
    ]
    assert {row.consequences for row in report.reconciliation.rows} == {0}
    assert report.reconciliation.consequences == ()
    assert {row.name for row in report.reconciliation.rows if row.mismatches} <= {
        "valid",
        "mid-buffer",
    }
    # Whatever it did, each buffer is somewhere, and comes home in the end.
    assert report.total("provider", "free_count") == 128


def test_consumer_that_keeps_to_the_rules_is_not(
    judge: Callable[[Callable[[Consumer], None], Plan], Report],
) -> None:
    assert judge(behaves, Plan()).ok
