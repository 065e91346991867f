"""Strategies make what they say, and find what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from emu.testing.beside import Differs, beside
from emu.testing.strategies import Step, malformed_rqes, plans, rqes, steps, valid_rqes
from faults import Actor, Plan, parse_plan
from faults.rqe import Rqe, legal_verdicts

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
ENTRIES = st.lists(steps(4, 8), max_size=30)
FEW = settings(max_examples=30, deadline=None)


@given(rqe=valid_rqes(16))
def test_valid_ones_are_believed_if_the_user_holds_them(rqe: Rqe) -> None:
    assert "accepted" in legal_verdicts(rqe, 16)
    assert rqe.off >> 12 < 16


@given(rqe=malformed_rqes(16))
def test_malformed_ones_are_entries(rqe: Rqe) -> None:
    assert Rqe.unpack(rqe.pack()) == rqe


@given(rqe=rqes(16))
def test_any_has_a_verdict(rqe: Rqe) -> None:
    assert legal_verdicts(rqe, 16)


@given(plan=plans(frozenset({Actor.CONSUMER})))
def test_plans_are_text_and_back(plan: Plan) -> None:
    assert str(parse_plan(str(plan))) == str(plan)
    assert {rule.fault.actor for rule in plan.rules} == {Actor.CONSUMER}


@given(program=ENTRIES)
@FEW
def test_our_provider_is_the_specification(program: list[Step]) -> None:
    both = beside(num_niovs=4, rq_entries=8)
    for step in program:
        step.take(both)


def test_a_wrong_provider_is_found_by_them() -> None:
    provider = str(EXAMPLES / "broken_provider.c")

    @given(program=ENTRIES)
    @settings(
        max_examples=2000,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def search(program: list[Step]) -> None:
        both = beside(num_niovs=4, rq_entries=8, provider=provider)
        for step in program:
            step.take(both)

    with pytest.raises(Differs, match="specification"):
        search()
