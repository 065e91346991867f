"""Fault plans: rules, the compact form read and written, and what the C side gets."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from faults import (
    CATALOGUE,
    Actor,
    Fault,
    Plan,
    PlanError,
    PlanRule,
    UnknownFaultError,
    find,
    parse_plan,
)
from faults.plan import RULES_MAX
from faults.rule import AT_MAX, FIELD_NAMES, ORDINAL_MAX, QUEUES_MAX

BAD_PAD, BAD_INDEX = CATALOGUE["bad-pad"], CATALOGUE["bad-index"]
ordinals = st.integers(0, ORDINAL_MAX - 1)


@st.composite
def rules(draw: st.DrawFn, fault: Fault) -> PlanRule:
    """Any rule of a fault but for ``after``, which needs a plan around it."""
    first, at, last = sorted(draw(st.tuples(ordinals, ordinals, ordinals)))
    several: tuple[int, ...] = tuple({first, at, last})
    if fault.asked_once:
        first = at = 0
        several = (0,)
    ats: list[dict[str, Any]] = [{"at": at}, {"at": several}]
    trigger: dict[str, Any] = draw(
        st.sampled_from(ats)
        | st.builds(lambda n: {"every": n}, st.integers(1, ORDINAL_MAX))
        | st.builds(lambda p: {"probability": p}, st.floats(0.0, 1.0))
    )
    scope: dict[str, Any] = {}
    if fault.per_flow and draw(st.booleans()):
        scope["flow"] = draw(st.integers(0, 2**24 - 1))
    values = (
        st.integers(0, len(param.choices) - 1)
        if param.choices
        else st.integers(param.low, param.high)
        for param in fault.params
    )
    return PlanRule(
        fault,
        **trigger,
        **scope,
        first=draw(st.sampled_from([0, first])),
        last=draw(st.sampled_from([ORDINAL_MAX, last])),
        limit=draw(st.sampled_from([0, 1, ORDINAL_MAX])),
        queue=draw(st.none() | st.integers(0, QUEUES_MAX - 1)) if fault.per_queue else None,
        params=draw(st.tuples(*values)),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any plan; a rule may wait for the fault of an earlier one."""
    made: list[PlanRule] = []
    for fault in draw(st.lists(st.sampled_from(list(CATALOGUE.values())), max_size=6)):
        rule = draw(rules(fault))
        same_actor = {r.fault.name for r in made if r.fault.actor is fault.actor}
        others = sorted(same_actor - {fault.name})
        repeated = any(r.fault is fault for r in made)
        if others and not repeated and not fault.asked_once and draw(st.booleans()):
            fields = {name: getattr(rule, name) for name in PlanRule.__slots__}
            rule = PlanRule(**{**fields, "after": draw(st.sampled_from(others))})
        made.append(rule)
    return Plan(tuple(made))


@settings(deadline=None)
@given(plan=plans())
def test_plan_that_is_written_is_read_back_the_same(plan: Plan) -> None:
    again = parse_plan(str(plan))
    assert again == plan
    assert again.compiled() == plan.compiled()
    assert json.loads(json.dumps(plan.as_dict()))["text"] == str(plan)


@settings(deadline=None)
@given(plan=plans())
def test_compiled_plan_is_numbers_in_range(plan: Plan) -> None:
    compiled = plan.compiled()
    assert len(compiled) == len(plan.rules)
    for position, (rule, line) in enumerate(zip(plan.rules, compiled, strict=True)):
        assert (line.number, line.actor) == (rule.fault.number, rule.fault.actor)
        assert (line.probability > 0) + (line.every > 0) + (line.at != ORDINAL_MAX) <= 1
        assert 0 <= line.first <= line.last <= ORDINAL_MAX
        assert -1 <= line.queue < QUEUES_MAX
        assert len(line.params) == 4
        assert all(0 <= value < 2**32 for value in line.params)
        assert 0 <= line.after <= len(plan.rules)
        assert line.after != position + 1
        if rule.after is not None:
            assert plan.rules[line.after - 1].fault.name == rule.after


ITEMS = st.sampled_from(
    [
        "0.5",
        "1%",
        "p=1",
        "every=3",
        "at=4",
        "every=0",
        "from=5",
        "until=2",
        "limit=1",
        "once",
        "after=bad-area",
        "after=bad-pad",
        "queue=1",
        "queue=99",
        "value=ones",
        "value=x",
        "count=3",
        "=",
        "every",
        "every=",
        "p=nan",
        "at=-1",
        "at=٣",
        "once=1",
    ]
)
NAMES = st.sampled_from(["bad-pad", "bad-area", "stop-nic", "double-return", "x", ""])
lookalikes = st.lists(
    st.builds(lambda name, items: ":".join([name, *items]), NAMES, st.lists(ITEMS, max_size=4)),
    max_size=4,
).map(",".join)


@settings(deadline=None, max_examples=300)
@given(text=st.text(max_size=30) | lookalikes)
def test_any_text_is_a_plan_or_an_error_of_one_line(text: str) -> None:
    try:
        plan = parse_plan(text)
    except (PlanError, UnknownFaultError) as error:
        message = str(error)
        assert message.startswith("faults: ")
        assert len(message.splitlines()) == 1
    else:
        assert all(0 <= rule.probability <= 1 for rule in plan.rules)
        assert parse_plan(str(plan)) == plan


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
U64 = f"it must be a whole number of 0 to {ORDINAL_MAX}"
POSITIVE = f"it must be a whole number of 1 to {ORDINAL_MAX}"
NO_TRIGGER = "bad-pad has no trigger; write bad-pad:0.01 (a probability), every=N or at=N"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bad-pad", NO_TRIGGER),
        ("bad-pad:once", NO_TRIGGER),
        ("bad-pad:limit=3:queue=1", NO_TRIGGER),
        ("bad-pad:", f"bad-pad: '' is not a probability; {RANGE}"),
        ("bad-pad:x", f"bad-pad: 'x' is not a probability; {RANGE}"),
        ("bad-pad:%", f"bad-pad: '%' is not a probability; {RANGE}"),
        ("bad-pad:0.1:2", f"bad-pad: probability 2 is out of range; {RANGE}"),
        ("bad-pad:0.1:0.2", "bad-pad: probability is given twice; give it once"),
        ("bad-pad:0.1:p=0.2", "bad-pad: probability is given twice; give it once"),
        ("bad-pad:1.5", f"bad-pad: probability 1.5 is out of range; {RANGE}"),
        ("bad-pad:101%", f"bad-pad: probability 101% is out of range; {RANGE}"),
        ("bad-pad:-0.1", f"bad-pad: probability -0.1 is out of range; {RANGE}"),
        ("bad-pad:nan", f"bad-pad: probability nan is out of range; {RANGE}"),
        ("bad-pad:inf", f"bad-pad: probability inf is out of range; {RANGE}"),
        (
            "bad-pad:0.1:every=5",
            "bad-pad has two triggers, probability and every; give one of them",
        ),
        ("bad-pad:at=1:every=5", "bad-pad has two triggers, every and at; give one of them"),
        ("bad-pad:every=0", f"bad-pad: every: 0 is not allowed; {POSITIVE}"),
        ("bad-pad:every=x", f"bad-pad: every: 'x' is not allowed; {U64}"),
        ("bad-pad:every=-1", f"bad-pad: every: '-1' is not allowed; {U64}"),
        (
            f"bad-pad:at={2**64 - 1}",
            f"bad-pad: at: {2**64 - 1} is not allowed; it must be a whole number of "
            f"0 to {2**64 - 2}",
        ),
        ("bad-pad:1:limit=0", f"bad-pad: limit: 0 is not allowed; {POSITIVE}"),
        ("bad-pad:1:once:limit=2", "bad-pad has once and limit; give one of them"),
        (
            "bad-pad:1:from=9:until=3",
            "bad-pad: from: 9 is not allowed; it must be at most until, 3",
        ),
        (
            "bad-pad:at=2:from=5",
            f"bad-pad: at: 2 is not allowed; it must be 5 to {2**64 - 1}, as from and until say",
        ),
        (
            "bad-pad:1:queue=64",
            "bad-pad: queue: 64 is not allowed; it must be a whole number of 0 to 63",
        ),
        ("stop-nic:every=9:queue=0", "stop-nic: queue: it concerns all queues; leave queue out"),
        (
            "header-layout:at=5",
            "header-layout: at: 5 is not allowed; it must be 0: it is asked once, when the "
            "instance is set up",
        ),
        (
            "index-wrap:1:from=1",
            "index-wrap: from: 1 is not allowed; it must be 0: it is asked once, when the "
            "instance is set up",
        ),
        (
            "setup-fail:1,header-garbage:1:after=setup-fail",
            "rule 2: header-garbage: after: it is asked before all others; leave after out",
        ),
        (
            "bad-pad:1:value=one",
            "bad-pad: value: 'one' is not allowed; it must be one of random, one-bit, ones",
        ),
        (
            "double-return:1:count=17",
            "double-return: count: 17 is not allowed; it must be 1 to 16",
        ),
        (
            "double-return:1:cuont=1",
            "double-return: 'cuont' is neither a field nor a parameter; did you mean 'count'?",
        ),
        (
            "bad-pad:1:evry=1",
            "bad-pad: 'evry' is neither a field nor a parameter; did you mean 'every'?",
        ),
        (
            "bad-pad:1,stop-nic:at=5:after=bad-pad",
            "rule 2: stop-nic: after: 'bad-pad' acts in another process; "
            "name a fault of the same actor",
        ),
        (
            "bad-pad:1:after=bad-pad",
            "rule 1: bad-pad: after: 'bad-pad' is the rule's own fault; name another one",
        ),
        (
            "bad-pad:1:after=slow,bad-index:1",
            "rule 1: bad-pad: after: 'slow' is no fault of this plan; name one of bad-index",
        ),
        (
            "bad-index:1,bad-pad:1:after=bad-idnex",
            "rule 2: bad-pad: after: 'bad-idnex' is no fault of this plan; "
            "did you mean 'bad-index'?",
        ),
        (
            "bad-pad:1:after=alias,slow:1:after=bad-pad,alias:1:after=slow",
            "rule 1: bad-pad: after: 'alias' waits for this rule in turn, so neither can ever fire",
        ),
        (
            "bad-pad:1,bad-area:2",
            f"rule 2: bad-area: probability 2 is out of range; {RANGE}",
        ),
        (",", "',' has an empty rule; write NAME:PROBABILITY,…"),
        ("bad-pad:0.1,", "'bad-pad:0.1,' has an empty rule; write NAME:PROBABILITY,…"),
        (":0.1", "':0.1' has an empty rule; write NAME:PROBABILITY,…"),
        (",".join(["bad-pad:1"] * 255), "255 rules are too many; at most 254"),
    ],
)
def test_malformed_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(text)
    assert str(caught.value) == f"faults: {message}"


def test_unknown_fault_in_a_plan_is_refused() -> None:
    with pytest.raises(UnknownFaultError, match="did you mean 'bad-pad'"):
        parse_plan("bad-index:0.1,bad-pda:0.1")


def test_same_fault_may_have_several_rules() -> None:
    plan = parse_plan("bad-pad:0.1,bad-pad:0.1,bad-pad:at=3:queue=1")
    assert len(plan.rules) == 3
    assert len(plan.legal) == 4


def test_every_item_finds_its_place() -> None:
    text = "early-return:every=7:from=1:until=90:limit=5:after=alias:queue=2:delay=9"
    rule = parse_plan(f"alias:1,{text}").rules[1]
    expected = PlanRule(
        find("early-return"),
        every=7,
        first=1,
        last=90,
        limit=5,
        after="alias",
        queue=2,
        params=(9,),
    )
    assert rule == expected
    assert str(rule) == text


def test_once_is_a_limit_of_one() -> None:
    assert parse_plan("bad-pad:1:once") == parse_plan("bad-pad:1:limit=1")


def test_parameters_not_given_are_the_defaults() -> None:
    assert PlanRule(find("stale-return"), 0.5).params == (256,)
    assert parse_plan("stale-return:0.5:delay=256") == parse_plan("stale-return:0.5")


def test_plan_is_compiled_to_positions_and_numbers() -> None:
    plan = parse_plan("bad-index:0.25:value=far:queue=1,slow:at=100:us=7:after=bad-index")
    first, second = plan.compiled()
    assert (first.number, first.actor, first.probability) == (3, Actor.CONSUMER, 0.25)
    assert (first.every, first.at, first.first, first.last) == (0, 2**64 - 1, 0, 2**64 - 1)
    assert (first.limit, first.after, first.queue, first.params) == (0, 0, 1, (3, 0, 0, 0))
    assert (second.number, second.actor, second.probability) == (25, Actor.CONSUMER, 0.0)
    assert (second.at, second.after, second.queue, second.params) == (100, 1, -1, (7, 0, 0, 0))
    assert Plan().compiled() == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"probability": "1"},
        {"probability": True},
        {"probability": 10**400},
        {"every": 1.0},
        {"every": -1},
        {"at": "1"},
        {"first": None},
        {"last": 2**64},
        {"limit": False},
        {"queue": -1},
        {"params": (0, 0)},
        {"params": (3,)},
        {"params": (True,)},
        {"params": [0]},
        {"every": 1, "at": 1},
        {"probability": 0.5, "every": 2},
    ],
)
def test_rule_made_in_python_is_checked_too(fields: dict[str, Any]) -> None:
    with pytest.raises(PlanError) as caught:
        PlanRule(BAD_PAD, **fields)
    assert str(caught.value).startswith("faults: bad-pad")


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("bad-pad:at=5+17+900", (5, 17, 900), "at valid RQE 5, 17, 900, on each queue"),
        ("bad-pad:at= 900 + 5", (5, 900), "at valid RQE 5, 900, on each queue"),
        ("bad-pad:at=7", 7, "at valid RQE 7, on each queue"),
        (
            f"bad-pad:at={'+'.join(map(str, range(20)))}",
            tuple(range(20)),
            "at valid RQE 0, 1, 2, 3, 4, 5, 6, 7, … (20 in all), on each queue",
        ),
    ],
)
def test_rule_may_name_several_ordinals(text: str, at: object, words: str) -> None:
    (rule,) = parse_plan(text).rules
    assert rule.at == at
    assert rule.words == words
    assert parse_plan(str(rule)).rules == (rule,)
    assert rule.as_dict()["at"] == (list(at) if isinstance(at, tuple) else at)
    (compiled,) = parse_plan(text).compiled()
    assert compiled.at_list == (at if isinstance(at, tuple) else ())
    assert compiled.at == rule.ordinals[0]


def test_brief_form_shows_the_first_of_many_ordinals() -> None:
    plan = parse_plan(f"bad-pad:at={'+'.join(map(str, range(20)))}:queue=1,alias:0.5")
    assert plan.brief == "bad-pad:at=0+1+2+3+4+5+6+7+(12 more):queue=1,alias:0.5"
    assert Plan().brief == "none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bad-pad:at=5+5", "bad-pad: at: 5 is given twice; give it once"),
        ("bad-pad:at=5+", "bad-pad: at: '' is not allowed; it must be a whole number"),
        ("bad-pad:at=5+x", "bad-pad: at: 'x' is not allowed; it must be a whole number"),
        ("bad-pad:at=5+9:until=8", "bad-pad: at: 9 is not allowed; it must be 0 to 8"),
        ("bad-pad:at=5+9:every=8", "bad-pad has two triggers, every and at"),
    ],
)
def test_list_of_ordinals_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(text)
    assert message in str(caught.value)


def test_list_of_ordinals_has_an_end() -> None:
    assert PlanRule(BAD_PAD, at=tuple(range(AT_MAX))).ordinals[-1] == AT_MAX - 1
    for wrong in (tuple(range(AT_MAX + 1)), ()):
        with pytest.raises(PlanError, match=f"there must be 1 to {AT_MAX}"):
            PlanRule(BAD_PAD, at=wrong)


def test_too_many_rules_made_in_python_are_refused() -> None:
    assert Plan((PlanRule(BAD_PAD, 1.0),) * RULES_MAX)
    with pytest.raises(PlanError, match="255 rules are too many"):
        Plan((PlanRule(BAD_PAD, 1.0),) * (RULES_MAX + 1))


def test_queue_that_the_run_does_not_have_is_refused() -> None:
    plan = parse_plan("bad-area:1,bad-pad:1:queue=2")
    plan.check_queues(3)
    with pytest.raises(PlanError) as caught:
        plan.check_queues(2)
    assert str(caught.value) == (
        "faults: rule 2: bad-pad: queue: 2 is not allowed; it must be 0 to 1"
    )
    with pytest.raises(PlanError, match="it must be 0: the run has one queue"):
        plan.check_queues(1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bad-pad:0", "never, on each queue"),
        ("bad-pad:1%", "at each valid RQE with probability 0.01, on each queue"),
        ("bad-pad:every=1:once", "at every valid RQE, once, on each queue"),
        ("bad-pad:every=22:limit=4", "at every 22nd valid RQE, at most 4 times, on each queue"),
        ("nic-drop:every=113:queue=3", "at every 113th packet, on queue 3"),
        ("stop-nic:at=5", "at millisecond of traffic 5"),
        ("setup-fail:at=5", "at set-up step 5"),
        ("index-wrap:1", "when the instance is set up"),
        ("index-wrap:at=0", "when the instance is set up"),
        ("header-layout:every=7", "when the instance is set up"),
        ("header-garbage:25%", "when the instance is set up, with probability 0.25"),
        ("header-layout:0", "never"),
        (
            "slow:every=1001:from=3:until=9999",
            "at every 1001st valid RQE, from number 3, until number 9999, on each queue",
        ),
    ],
)
def test_rule_is_said_in_words(text: str, words: str) -> None:
    assert parse_plan(text).rules[0].words == words


def test_dependence_is_said_in_words() -> None:
    rule = parse_plan("alias:1,bad-pad:1:after=alias").rules[1]
    assert "after alias has fired" in rule.words


def test_fields_are_documented_names() -> None:
    assert set(parse_plan("bad-pad:1").rules[0].as_dict()) >= set(FIELD_NAMES) - {"once"}


def test_flow_is_a_scope_of_what_belongs_to_one() -> None:
    plan = parse_plan("bad-pad:1%:flow=3,nic-drop:every=10:flow=0")
    assert [rule.flow for rule in plan.rules] == [3, 0]
    assert [rule.flow for rule in plan.compiled()] == [4, 1]
    assert "where it is of flow 3" in plan.rules[0].words
    for text in ("bad-pad:1%:flow=-1", "bad-pad:1%:flow=x", f"bad-pad:1%:flow={2**24}"):
        with pytest.raises(PlanError, match=r"flow: .* is not allowed; it must be a whole number"):
            parse_plan(text)
    with pytest.raises(PlanError, match="stop-nic: flow: it is about no flow; leave flow out"):
        parse_plan("stop-nic:every=10:flow=1")
