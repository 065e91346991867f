"""The audit: each statement holds for a sound run, and breaks for what it is there to find.

The evidence is made up: what a sound run leaves, with one thing changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from emu.core import COUNTER_NAMES, AuditResult, Balance, CounterGroup, Places
from emu.verdict.audit import Evidence, OwnMistakes, audit, by_its_word
from emu.verdict.progress import Blame, Movement, QueueMovement, Standing
from emu.verdict.report import QueueReport, Statement
from faults import Plan, Reconciliation, reconcile
from faults.catalogue import AUDIT_STATEMENTS

NUM_NIOVS = 32
NAMES = (
    *("conservation", "integrity", "exactness", "ownership", "order", "progress", "all_home"),
    "records",
    "substance",
)
AT_HOME = Places(NUM_NIOVS, 0, 0, 0, 0, 0, 0)
SOUND_RESULT = AuditResult(AT_HOME, 0, 0, None, None, 0, 0, None, 0)


#: After three restarts: two of the old pools went while the new one had buffers.
WARNED = {"restarts": 3, "warnings_due": 2, "destroy_warnings": 2, "instance_refs": 3}
COPIED = {"copied_packets": 5}


def queue_report(**changes: dict[str, int]) -> QueueReport:
    """Counters of a sound queue: 100 fragments came and went."""
    sound: dict[str, dict[str, int]] = {
        "nic": dict.fromkeys(COUNTER_NAMES[CounterGroup.NIC], 0),
        "provider": dict.fromkeys(COUNTER_NAMES[CounterGroup.PROVIDER], 0),
        "consumer": dict.fromkeys(COUNTER_NAMES[CounterGroup.CONSUMER], 0),
    }
    sound["nic"] |= {"grants_taken": 100, "fragments_delivered": 100}
    sound["provider"] |= {"free_count": NUM_NIOVS, "accepted": 100, "consumed": 100}
    sound["provider"] |= {"instance_refs": 1}
    sound["consumer"] |= {"fragments": 100, "rqe_submitted": 100, "rqe_valid": 100}
    for group, counters in changes.items():
        sound[group] |= counters
    rest: Any = {**sound, "page_pool": {}, "places": {}}
    return QueueReport(**rest, scrub={"references": 0, "buffers": 0})


def reconciliation(**changes: Any) -> Reconciliation:
    sound = reconcile(
        Plan(),
        fired=[200],
        tables=[[{"accepted": 100}]] * 2,
        wrong=[0],
        led_to=[],
        submitted=200,
        consumed=200,
        checked=200,
        after_scrub=0,
        lost=0,
        mismatch_count=0,
        mismatches=[],
    )
    return replace(sound, **changes)


def evidence(
    *, counters: dict[str, dict[str, int]] | None = None, buffers: Any = None, **changes: Any
) -> Evidence:
    """Evidence of two queues; what is changed is changed in queue 1."""
    sound = Evidence(
        queues=[queue_report(), queue_report(**(counters or {}))],
        buffers=[SOUND_RESULT, replace(SOUND_RESULT, **(buffers or {}))],
        niovs=2 * NUM_NIOVS,
        reconciliation=reconciliation(),
        stalled=False,
        undrained=frozenset(),
        kernel_side_died=False,
    )
    return replace(sound, **changes)


STANDING = Standing(
    queue=1,
    since_s=0.5,
    for_s=1.5,
    waits_for="a buffer",
    blame=Blame.CONSUMER,
    why="the consumer keeps 30 buffers",
    where={"kept": 30, "nic": 0, "freelist": 2},
    oldest={"niov": 7, "completion": 3, "flow": 1, "seq": 2},
)


def judged(given: Evidence) -> dict[str, Statement]:
    return {statement.name: statement for statement in audit(given)}


def broken(given: Evidence) -> dict[str, str]:
    """The statements that do not hold, with their texts."""
    return {name: item.text for name, item in judged(given).items() if item.holds is False}


def test_sound_run_keeps_every_statement() -> None:
    statements = judged(evidence())
    assert set(statements) == set(NAMES)
    assert all(statement.holds for statement in statements.values())
    assert statements["conservation"].text == "each of 64 buffers is in exactly one place"
    assert statements["integrity"].text == "200 fragments are what was sent"


def test_consumer_of_ones_own_is_judged_by_what_it_says_of_itself() -> None:
    assert "consumer" not in judged(evidence())
    sound = judged(evidence(own=OwnMistakes()))["consumer"]
    assert sound.holds
    told = ("completion 0 was given back twice", "completion 3 was read late")
    wrong = judged(evidence(own=OwnMistakes(strays=4, touches=2, told=told)))["consumer"]
    assert wrong.holds is False
    assert wrong.text == (
        "4 times a completion was given back that was not out; 2 times a completion was touched "
        "after it was given back: completion 0 was given back twice"
    )
    assert judged(evidence(own=OwnMistakes(touches=1)))["consumer"].holds is False
    unseen = judged(evidence(own=OwnMistakes(is_poisoned=False)))["consumer"]
    assert unseen.text == "each completion was given back once at most (touches: not looked for)"


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        (
            {"buffers": {"lost": 2, "first_lost": 7}},
            "conservation",
            "queue 1: 2 lost, first 7",
        ),
        (
            {"buffers": {"doubled": 1, "first_doubled": 3}},
            "conservation",
            "queue 1: 1 in two places, first 3",
        ),
        (
            {"counters": {"provider": {"freelist_overflows": 4}}},
            "conservation",
            "4 freelist overflows",
        ),
        ({"counters": {"provider": {"ref_underflows": 5}}}, "conservation", "5 ref underflows"),
        (
            {"counters": {"consumer": {"integrity_errors": 6}}},
            "integrity",
            "6 fragments differ from what was sent",
        ),
        ({"counters": {"consumer": {"bad_completions": 7}}}, "integrity", "7 lie outside"),
        (
            {"counters": {"nic": {"ownership_violations": 8}}},
            "ownership",
            "8 buffers granted and 0 delivered while the user held them",
        ),
        (
            {"counters": {"consumer": {"ownership_errors": 9}}},
            "ownership",
            "0 buffers granted and 9 delivered while the user held them",
        ),
        (
            {"counters": {"consumer": {"order_errors": 10}}},
            "order",
            "10 fragments out of order",
        ),
        (
            {"buffers": {"flows_wrong": 2, "fragments_missing": 11, "first_flow_wrong": 5}},
            "order",
            "queue 1: 2 flows miss 11 fragments, first flow 5",
        ),
        (
            {"buffers": {"flows_wrong": 3, "fragments_surplus": 12, "first_flow_wrong": 5}},
            "order",
            "queue 1: 3 flows miss 0 fragments, first flow 5, and 12 more were received than",
        ),
        (
            {"counters": {"consumer": {"rqe_submitted": 30}}},
            "exactness",
            "queue 1: 70 more entries were judged than its consumers say that they wrote",
        ),
        (
            {"counters": {"consumer": {"rqe_submitted": 2**64 - 1}}},
            "exactness",
            "entries more than were judged, and no ring and no log holds that many",
        ),
        (
            {"balances": [Balance(0, 0, 0, 0, 0, 0), Balance(2, 17, 501, 500, 2, 0)]},
            "conservation",
            "queue 1: the user references of 2 buffers do not balance, first buffer 17: 501 "
            "delivered, 500 taken by entries, 2 scrubbed, 0 held",
        ),
        ({"stalled": True}, "progress", "nothing moved any more"),
        (
            {"movement": Movement((QueueMovement(), QueueMovement(standing=STANDING)))},
            "progress",
            "queue 1 stands still since 0.50 s of the run, for 1.50 s: the consumer keeps 30 "
            "buffers. Its buffers: 30 kept by the user, 2 on the freelist; the user has had buffer "
            "7 for the longest time, since completion 3 (flow 1, fragment 2)",
        ),
        ({"left_early": ["consumer of queue 1 left"]}, "substance", "consumer of queue 1 left"),
        (
            {"queues": [queue_report(nic={"fragments_delivered": 0})], "niovs": NUM_NIOVS},
            "substance",
            "0 packets were offered and none was delivered",
        ),
        (
            {"reconciliation": reconciliation(mismatch_count=12)},
            "exactness",
            "12 of 200 verdicts are wrong",
        ),
        (
            {"reconciliation": reconciliation(lost=13)},
            "exactness",
            "13 could not be compared",
        ),
        (
            {"counters": {"provider": {"free_count": NUM_NIOVS - 1}}},
            "all_home",
            "63 of 64 buffers are on the freelist",
        ),
        (
            {"counters": {"provider": {"destroy_warnings": 1}}},
            "all_home",
            "1 destroy warnings",
        ),
        (
            {"counters": {"provider": {"instance_refs": 2}}},
            "all_home",
            "queue 1: 2 references on the instance instead of 1",
        ),
        (
            {"counters": {"provider": {"restarts": 3, "warnings_due": 2, "destroy_warnings": 3}}},
            "all_home",
            "3 destroy warnings (2 are due to 3 restarts); queue 1: 3 destroy warnings instead of",
        ),
        (
            {"counters": {"provider": {"restarts": 3, "warnings_due": 2, "destroy_warnings": 1}}},
            "all_home",
            "queue 1: 1 destroy warnings instead of 2",
        ),
        (
            {"counters": {"provider": WARNED | {"instance_refs": 4}}},
            "all_home",
            "queue 1: 4 references on the instance instead of 3",
        ),
        (
            {"counters": {"provider": WARNED | {"destroy_warnings": 4}, "nic": COPIED}},
            "all_home",
            "queue 1: 4 destroy warnings instead of 2 to 3",
        ),
        ({"scribbles": ["word 3 is 7"]}, "records", "scribbled on its own records: word 3 is 7"),
    ],
)
def test_statement_breaks_alone_and_says_why(
    changes: dict[str, Any], name: str, words: str
) -> None:
    found = broken(evidence(**changes))
    assert set(found) == {name}
    assert words in found[name]


def test_every_statement_can_break() -> None:
    """What the cases above break, together, is all there is."""
    marks: Any = test_statement_breaks_alone_and_says_why
    cases = marks.pytestmark[0].args[1]
    assert {name for _, name, _ in cases} == set(NAMES)


def test_catalogue_knows_the_statements() -> None:
    """But for "all home", which is about the end of a run and not about its rules."""
    assert AUDIT_STATEMENTS | {"all_home", "records", "substance"} == set(NAMES)


def test_all_problems_of_a_statement_are_said() -> None:
    given = evidence(
        buffers={"lost": 2, "first_lost": 7, "doubled": 1, "first_doubled": 3},
        counters={"provider": {"ref_underflows": 5}},
    )
    text = broken(given)["conservation"]
    assert text == ("queue 1: 2 lost, first 7; queue 1: 1 in two places, first 3; 5 ref underflows")


@pytest.mark.parametrize(
    "counters",
    [
        {"provider": WARNED},
        # A copied buffer is no pool's, and makes the check warn although no pool has any.
        {"provider": WARNED | {"destroy_warnings": 3, "instance_refs": 4}, "nic": COPIED},
    ],
)
def test_warnings_that_restarts_bring_are_expected(counters: dict[str, dict[str, int]]) -> None:
    statement = judged(evidence(counters=counters))["all_home"]
    assert statement.holds
    assert "destroy warnings (2 are due to 3 restarts)" in statement.text


def test_dropped_fragments_are_no_break_of_order() -> None:
    statement = judged(evidence(counters={"nic": {"fragments_dropped": 9}}))["order"]
    assert statement.holds
    assert "9 dropped fragments are accounted for" in statement.text


def test_flows_of_a_queue_that_was_not_read_to_the_end_are_not_judged() -> None:
    """A consumer that was killed has not read all: that is no reordering."""
    missing = {"flows_wrong": 1, "fragments_missing": 4, "first_flow_wrong": 0}
    statement = judged(evidence(buffers=missing, undrained=frozenset({1})))["order"]
    assert statement.holds
    assert "queue [1]" in statement.text
    assert "order" in broken(evidence(buffers=missing, undrained=frozenset({0})))


def test_dead_kernel_side_leaves_buffers_unjudged_and_the_rest_judged() -> None:
    """What a killed process was about to do with a buffer nobody knows."""
    given = evidence(
        kernel_side_died=True,
        buffers={"lost": 1, "first_lost": 0},
        counters={
            "provider": {"free_count": 0},
            "consumer": {"integrity_errors": 1},
        },
    )
    statements = judged(given)
    assert statements["conservation"].holds is None
    assert statements["all_home"].holds is None
    assert set(broken(given)) == {"integrity"}


def test_records_that_were_scribbled_on_are_a_finding_that_names_the_first() -> None:
    scribbled = replace(evidence(), scribbles=[f"word {number} is 7" for number in range(6)])
    statement = judged(scribbled)["records"]
    assert statement.holds is False
    assert statement.text == (
        "a consumer scribbled on its own records: word 0 is 7; word 1 is 7; word 2 is 7; "
        "word 3 is 7; and 2 more"
    )


def test_what_a_consumer_can_say_of_itself_is_marked() -> None:
    marked = {item.name for item in by_its_word(audit(evidence())) if item.rests_on}
    assert marked == {"integrity", "order", "ownership", "exactness"}
    assert [item.mark for item in audit(evidence())] == [""] * len(audit(evidence()))
    silent = [Statement("order", None, "not judged")]
    assert by_its_word(silent)[0].mark == ""
