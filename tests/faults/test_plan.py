"""Fault plans: the compact form, read and written."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from faults import CATALOGUE, Plan, PlanError, PlanRule, UnknownFaultError, parse_plan

BAD_PAD, BAD_INDEX = CATALOGUE["bad-pad"], CATALOGUE["bad-index"]

plans = (
    st.lists(st.sampled_from(list(CATALOGUE.values())), unique=True)
    .flatmap(
        lambda some: st.tuples(
            *(st.builds(PlanRule, st.just(fault), st.floats(0.0, 1.0)) for fault in some)
        )
    )
    .map(Plan)
)


@settings(deadline=None)
@given(plan=plans)
def test_plan_that_is_written_is_read_back_the_same(plan: Plan) -> None:
    assert parse_plan(str(plan)) == plan


@settings(deadline=None)
@given(text=st.text(max_size=20) | st.from_regex(r"(bad-pad|bad-area|x):?[0-9.%e,-]*"))
def test_any_text_is_a_plan_or_an_error_of_one_line(text: str) -> None:
    try:
        plan = parse_plan(text)
    except (PlanError, UnknownFaultError) as error:
        message = str(error)
        assert message.startswith("faults: ")
        assert len(message.splitlines()) == 1
    else:
        assert all(0 <= rule.probability <= 1 for rule in plan.rules)


@pytest.mark.parametrize("text", ["", "none", " none ", "  "])
def test_no_faults_have_two_names(text: str) -> None:
    assert parse_plan(text) == Plan()
    assert str(Plan()) == "none"


@pytest.mark.parametrize(
    ("text", "probability"),
    [
        ("bad-pad:0", 0.0),
        ("bad-pad:1", 1.0),
        ("bad-pad:0.01", 0.01),
        ("bad-pad:1e-6", 1e-6),
        ("bad-pad:5%", 0.05),
        ("bad-pad:100%", 1.0),
        ("bad-pad:.5", 0.5),
        (" bad-pad:0.5 ", 0.5),
    ],
)
def test_probability_is_a_number_or_a_percentage(text: str, probability: float) -> None:
    assert parse_plan(text) == Plan((PlanRule(BAD_PAD, probability),))


def test_rules_keep_their_order() -> None:
    plan = parse_plan("bad-index:0.5, bad-pad:1%")
    assert plan.rules == (PlanRule(BAD_INDEX, 0.5), PlanRule(BAD_PAD, 0.01))
    assert str(plan) == "bad-index:0.5,bad-pad:0.01"


def test_legal_verdicts_are_the_valid_ones_and_then_each_rules() -> None:
    plan = parse_plan("bad-index:0.5,bad-pad:0.5")
    assert plan.legal == (
        frozenset({"accepted", "still_referenced", "other_pool"}),
        frozenset({"bad_index"}),
        frozenset({"bad_pad"}),
    )


RANGE = "it must be a number from 0 to 1, or 0% to 100%"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bad-pad", "bad-pad has no probability; write bad-pad:0.01"),
        ("bad-pad:", f"bad-pad: '' is not a probability; {RANGE}"),
        ("bad-pad:x", f"bad-pad: 'x' is not a probability; {RANGE}"),
        ("bad-pad:%", f"bad-pad: '%' is not a probability; {RANGE}"),
        ("bad-pad:0.1:2", f"bad-pad: '0.1:2' is not a probability; {RANGE}"),
        ("bad-pad:1.5", f"bad-pad: probability 1.5 is out of range; {RANGE}"),
        ("bad-pad:101%", f"bad-pad: probability 101% is out of range; {RANGE}"),
        ("bad-pad:-0.1", f"bad-pad: probability -0.1 is out of range; {RANGE}"),
        ("bad-pad:nan", f"bad-pad: probability nan is out of range; {RANGE}"),
        ("bad-pad:inf", f"bad-pad: probability inf is out of range; {RANGE}"),
        ("bad-pad:0.1,bad-pad:0.2", "bad-pad is named twice; name each fault once"),
        (",", "',' has an empty rule; write NAME:PROBABILITY,…"),
        ("bad-pad:0.1,", "'bad-pad:0.1,' has an empty rule; write NAME:PROBABILITY,…"),
        (":0.1", "':0.1' has an empty rule; write NAME:PROBABILITY,…"),
    ],
)
def test_malformed_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(text)
    assert str(caught.value) == f"faults: {message}"


def test_unknown_fault_in_a_plan_is_refused() -> None:
    with pytest.raises(UnknownFaultError, match="did you mean 'bad-pad'"):
        parse_plan("bad-index:0.1,bad-pda:0.1")
