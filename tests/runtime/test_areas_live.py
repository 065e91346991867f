"""Several areas in real processes: all of them are used, added to, abused and accounted for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emu.consumer import Consumer
from emu.core import crc32c
from emu.verdict.report import Report
from faults import parse_plan

RunIt = Callable[..., Report]
EXAMPLE = Path(__file__).parents[2] / "docs/examples/plain_consumer.c"
#: What only areas make possible, and some of the rest.
FAULTS = (
    "wrong-area:0.01,never-given:0.01:where=next,never-given:0.01:where=newest,bad-area:0.01,"
    "bad-index:0.01:value=count,neighbour-return:0.005,double-return:0.005,alias:0.01,"
    "tail-back:0.0005,rqe-rewrite:0.001:limit=20"
)


def test_areas_are_added_while_all_is_accounted_for(run_small: RunIt) -> None:
    report = run_small(
        kernel="7.3",
        areas="2+3:40,30,100",
        queues=2,
        packets=0,
        duration_s=0.8,
        plan=parse_plan(f"{FAULTS},add-area:every=40,kill-consumer:at=300"),
    )
    assert report.ok, report.problems
    assert [queue.areas for queue in report.queues] == [(40, 30, 100, 100, 100)] * 2
    assert report.total("provider", "free_count") == 2 * 370
    rows = {(row.name, place): row for place, row in enumerate(report.reconciliation.rows)}
    (wrong,) = [row for (name, _), row in rows.items() if name == "wrong-area"]
    assert wrong.earned["bad_index"] > 0  # beyond the end of a smaller area
    assert sum(wrong.earned.values()) > wrong.earned["bad_index"]
    _, after, _ = [row for (name, _), row in rows.items() if name in ("wrong-area", "never-given")]
    assert after.earned["bad_area"] > 0  # it was not there yet, or never comes


def reads(consumer: Consumer) -> None:
    """A consumer of one's own: are the bytes that it sees those that were sent?"""
    areas = set()
    for completion in consumer:
        areas.add(completion.off >> 48)
        assert completion.is_end or crc32c(completion.data) == completion.raw.crc
        consumer.give_back(completion)
    assert areas == {0, 1, 2}


def test_consumer_of_ones_own_sees_the_bytes_of_every_area(run_small: RunIt) -> None:
    report = run_small(
        kernel="7.3",
        areas="3:20",
        in_flight=0,
        packets=3000,
        consumer="test_areas_live:reads",
        modules_from=str(Path(__file__).parent),
    )
    assert report.ok, report.problems


def test_consumer_in_c_is_given_all_areas(run_small: RunIt) -> None:
    report = run_small(
        kernel="7.3",
        areas="1+2:64,32",
        consumer=str(EXAMPLE),
        packets=0,
        duration_s=0.6,
        plan=parse_plan("add-area:every=50"),
    )
    assert report.ok, report.problems
    assert report.queues[0].areas == (64, 32, 32)
    (exactness,) = [s for s in report.statements if s.name == "exactness"]
    assert exactness.holds
