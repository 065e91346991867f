"""Reconciliation: the counts of all queues become one table that adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from faults import Plan, ReconciledConsequence, Reconciliation, parse_plan, reconcile

PLAN = parse_plan("bad-pad:0.1,bad-index:0.1")
Table = Sequence[Mapping[str, int]]


def reconciled(tables: Sequence[Table], plan: Plan = PLAN, **changes: Any) -> Reconciliation:
    """Reconcile tables that were written down completely."""
    fired = [sum(sum(table[intent].values()) for table in tables) for intent in range(3)]
    fields: dict[str, Any] = {
        "fired": fired,
        "wrong": [0, 0, 0],
        "led_to": [0, 0],
        "submitted": sum(fired),
        "consumed": sum(fired),
        "checked": sum(fired),
        "after_scrub": 0,
        "lost": 0,
        "mismatch_count": 0,
        "mismatches": [],
    }
    return reconcile(plan, tables=tables, **{**fields, **changes})


def test_queues_are_summed_up_by_intent() -> None:
    result = reconciled(
        [
            [{"accepted": 10, "still_referenced": 5, "bad_pad": 0}, {"bad_pad": 3}, {}],
            [{"accepted": 1, "other_pool": 2}, {"bad_pad": 4}, {"bad_index": 6}],
        ]
    )
    valid, bad_pad, bad_index = result.rows
    assert (valid.name, valid.injected, valid.judged, valid.mismatches) == ("valid", 18, 18, 0)
    assert valid.earned == {"accepted": 11, "still_referenced": 5, "other_pool": 2}
    assert valid.expected == ("accepted", "other_pool", "still_referenced")
    assert (bad_pad.name, bad_pad.injected, bad_pad.judged) == ("bad-pad", 7, 7)
    assert bad_pad.earned == {"bad_pad": 7}
    assert bad_pad.expected == ("bad_pad",)
    assert bad_index.earned == {"bad_index": 6}
    assert (result.checked, result.unconsumed) == (31, 0)
    assert result.ok


def test_wrong_verdict_is_a_mismatch_of_its_row_and_is_told() -> None:
    result = reconciled(
        [[{"accepted": 9, "bad_index": 1}, {"bad_pad": 2, "accepted": 1}, {}]],
        wrong=[1, 1, 0],
        mismatch_count=2,
        mismatches=[
            (0, 4, 2**32 - 1, 0, "bad_index", ("accepted", "other_pool"), ""),
            (0, 7, 2, 1, "accepted", ("bad_pad",), ""),
        ],
    )
    assert [row.mismatches for row in result.rows] == [1, 1, 0]
    assert not result.ok
    assert [str(item) for item in result.mismatches] == [
        "queue 0: RQE 4 (ring index 4294967295), written as valid, earned bad_index "
        "instead of accepted or other_pool",
        "queue 0: RQE 7 (ring index 2), written as bad-pad, earned accepted instead of bad_pad",
    ]


def test_intent_that_nobody_wrote_is_shown_as_such() -> None:
    """A scribbled intent log: the number means no rule."""
    result = reconciled(
        [[{}, {}, {}]], mismatch_count=1, mismatches=[(2, 0, 0, 200, "accepted", (), "")]
    )
    assert str(result.mismatches[0]) == (
        "queue 2: RQE 0 (ring index 0), written as ?, earned accepted"
    )
    assert not result.ok


def test_valid_entries_behind_a_scrub_are_no_mismatch() -> None:
    result = reconciled([[{"accepted": 5, "no_user_ref": 3}, {}, {}]], after_scrub=3)
    assert result.rows[0].mismatches == 0
    assert result.rows[0].earned == {"accepted": 5, "no_user_ref": 3}
    assert result.after_scrub == 3
    assert result.ok


def test_scrub_excuses_no_more_than_it_took() -> None:
    result = reconciled(
        [[{"accepted": 5, "no_user_ref": 4}, {}, {}]],
        after_scrub=3,
        wrong=[1, 0, 0],
        mismatch_count=1,
        mismatches=[(0, 8, 8, 0, "no_user_ref", ("accepted",), "")],
    )
    assert result.rows[0].mismatches == 1
    assert not result.ok


def test_credits_say_who_put_them_down_and_how_many_were_used() -> None:
    result = reconciled(
        [[{"accepted": 5, "no_user_ref": 4}, {"accepted": 9}, {}]],
        after_scrub=1,
        after_stray=3,
        scrubbed=20,
        strays=[0, 9, 0],
    )
    assert result.credits.scrubbed == 20
    assert result.credits.strays == {result.rows[1].name: 9}
    assert (result.credits.used_of_scrubs, result.credits.used_of_strays) == (1, 3)


def test_mismatch_says_what_is_wrong_besides_the_verdict() -> None:
    result = reconciled(
        [[{}, {}, {}]],
        mismatch_count=1,
        mismatches=[(0, 8, 8, 0, "no_user_ref", ("accepted",), "buffer 3: nothing took it")],
    )
    assert str(result.mismatches[0]) == (
        "queue 0: RQE 8 (ring index 8), written as valid, earned no_user_ref instead of accepted "
        "(buffer 3: nothing took it)"
    )


def test_scrub_excuses_no_malformed_entry() -> None:
    result = reconciled([[{}, {"no_user_ref": 1}, {}]], wrong=[0, 1, 0], mismatch_count=1)
    assert [row.mismatches for row in result.rows] == [0, 1, 0]
    assert not result.ok


def test_entries_left_in_the_ring_are_counted_and_legal() -> None:
    result = reconciled([[{"accepted": 5}, {"bad_pad": 1}, {}]], fired=[7, 2, 1], submitted=10)
    assert [row.injected - row.judged for row in result.rows] == [2, 1, 1]
    assert (result.checked, result.unconsumed) == (6, 4)
    assert result.ok


def test_nothing_is_left_where_more_was_judged_than_written() -> None:
    """Whoever wrote the count was wrong: the audit says so. No number is below nothing."""
    assert reconciled([[{"accepted": 5}, {}, {}]], submitted=3).unconsumed == 0


def test_entries_with_an_intent_that_the_plan_does_not_have_were_compared_too() -> None:
    """No row is theirs, and no more can be wrong than were looked at."""
    result = reconciled([[{"accepted": 5}, {}, {}]], checked=9, consumed=9, mismatch_count=4)
    assert (result.checked, result.mismatch_count, result.ok) == (9, 4, False)


def test_entries_that_were_not_compared_are_no_success() -> None:
    assert not reconciled([[{"accepted": 5}, {}, {}]], lost=1).ok


def test_plan_without_rules_has_the_valid_row_alone() -> None:
    result = reconcile(
        Plan(),
        fired=[2],
        tables=[[{"accepted": 2}]],
        wrong=[0],
        led_to=[],
        submitted=2,
        consumed=2,
        checked=2,
        after_scrub=0,
        lost=0,
        mismatch_count=0,
        mismatches=[],
    )
    assert [row.name for row in result.rows] == ["valid"]
    assert result.ok


def consequence(kind: str, fault: str = "double-return") -> ReconciledConsequence:
    return ReconciledConsequence(
        queue=1,
        fault=fault,
        kind=kind,
        niov=7,
        flow=3,
        seq=12,
        generation_held=5,
        generation_now=6,
        position=99,
    )


def test_consequences_belong_to_their_rule_and_are_no_mismatch() -> None:
    item = consequence("given_again")
    result = reconciled([[{}, {}, {}]], led_to=[0, 4], consequences=[item])
    assert [row.consequences for row in result.rows] == [0, 0, 4]
    assert result.consequences == (item,)
    assert result.ok


def test_consequence_says_who_suffered_and_what_caused_it() -> None:
    assert str(consequence("given_again")) == (
        "queue 1: double-return at RQE 99: fragment 12 of flow 3 in buffer 7 (grant 6) was "
        "delivered while a fragment of grant 5 was still held"
    )
    assert str(consequence("bytes_changed")) == (
        "queue 1: double-return at RQE 99: fragment 12 of flow 3 in buffer 7 (grant 5) was "
        "overwritten while it was held; the buffer is at grant 6"
    )
    assert str(consequence("corrupt_found", "nic-corrupt")) == (
        "queue 1: nic-corrupt: fragment 12 of flow 3 in buffer 7 was found corrupt on receipt"
    )
    assert str(consequence("duplicate_found", "nic-duplicate")) == (
        "queue 1: nic-duplicate: fragment 12 of flow 3 in buffer 7 was delivered twice"
    )
    assert str(consequence("late_found", "nic-reorder")) == (
        "queue 1: nic-reorder: fragment 12 of flow 3 in buffer 7 came late"
    )
    assert str(consequence("truncated_found", "nic-truncate")) == (
        "queue 1: nic-truncate: fragment 12 of flow 3 in buffer 7 was found cut short on receipt"
    )


labels = st.sampled_from(["accepted", "still_referenced", "bad_pad", "bad_index", "no_user_ref"])
tables = st.lists(
    st.tuples(*[st.dictionaries(labels, st.integers(0, 1000))] * 3), min_size=1, max_size=4
)


@settings(deadline=None)
@given(tables=tables)
def test_table_adds_up(tables: list[tuple[dict[str, int], ...]]) -> None:
    result = reconciled(tables)
    everything = sum(sum(row.values()) for table in tables for row in table)
    assert result.checked == everything
    for intent, row in enumerate(result.rows):
        assert row.injected == row.judged == sum(row.earned.values())
        assert all(row.earned.values()), "zeros are left out"
        assert row.judged == sum(sum(table[intent].values()) for table in tables)
