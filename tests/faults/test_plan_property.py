"""Plans written down in any form are the same plan, and no mistake in one does worse than a line.

Plans are drawn from what the catalogue says of its faults: their parameters, scopes and
triggers. They are written in both forms, with all liberties that the forms allow, read, compiled,
handed to the core and read out of it again. Then the texts are spoilt. At the end, seeded
mistakes that these properties must find.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from emu.config import RunConfig
from emu.core.faults import raw_rules
from emu.runtime.role import consumer_setup, nic_setup, provider_setup
from faults import (
    CATALOGUE,
    Actor,
    Fault,
    Param,
    Plan,
    PlanError,
    UnknownFaultError,
    load_plan,
    plan_file,
)
from faults import plan as plan_module
from faults import rule as rule_module
from faults.journal import Journal
from faults.plan import parse_plan
from faults.plan_file import parse_toml
from faults.rule import FIELDS, ORDINAL_MAX, QUEUES_MAX, CompiledRule, PlanRule

LIMITS = settings(
    max_examples=max(200, settings().max_examples),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
FAULTS = list(CATALOGUE.values())
ordinals = st.integers(0, 20) | st.integers(0, ORDINAL_MAX - 1)
Fields = dict[str, Any]


# ---- Plans as somebody would write them ---------------------------------------------------------
#
# A rule is drawn as the fields of its TOML table, parameters under "params"; what it must be
# read as is said by expected(), which shares no code with the readers.


def values_of(param: Param) -> st.SearchStrategy[int | str]:
    """Anything that a plan may give for a parameter, its bounds often."""
    if param.choices:
        return st.sampled_from(param.choices)
    return st.sampled_from([param.low, param.high]) | st.integers(param.low, param.high)


@st.composite
def tables(draw: st.DrawFn, fault: Fault) -> Fields:
    """A rule of a fault, without ``after``."""
    first, at, last = sorted(draw(st.tuples(ordinals, ordinals, ordinals)))
    if fault.asked_once:
        first = at = 0
    fields: Fields = {"fault": fault.name}
    trigger = draw(st.sampled_from(["probability", "every", "at", "list"]))
    if trigger == "probability":
        fields["probability"] = draw(st.sampled_from([0.0, 1.0, 1e-9, 5e-324]) | st.floats(0, 1))
    elif trigger == "every":
        fields["every"] = draw(st.integers(1, 9) | st.integers(1, ORDINAL_MAX))
    elif trigger == "at":
        fields["at"] = at
    else:
        inside = st.integers(first, last if not fault.asked_once else 0)
        several = draw(st.lists(inside.filter(lambda n: n < ORDINAL_MAX), max_size=5, unique=True))
        fields["at"] = draw(st.permutations(sorted({at, *several})))
    if draw(st.booleans()):
        fields["from"] = first
    if draw(st.booleans()):
        fields["until"] = last
    ending = draw(st.sampled_from(["", "", "limit", "once"]))
    if ending == "limit":
        fields["limit"] = draw(st.integers(1, ORDINAL_MAX))
    elif ending == "once":
        fields["once"] = True
    if fault.per_queue and draw(st.booleans()):
        fields["queue"] = draw(st.integers(0, QUEUES_MAX - 1))
    if fault.per_flow and draw(st.booleans()):
        fields["flow"] = draw(st.integers(0, 2**24 - 1))
    params = {param.name: draw(values_of(param)) for param in fault.params if draw(st.booleans())}
    if params:
        fields["params"] = params
    return fields


@st.composite
def plan_tables(draw: st.DrawFn, max_size: int = 5) -> list[Fields]:
    """A plan; a rule may wait for the fault of an earlier one."""
    made: list[Fields] = []
    for fault in draw(st.lists(st.sampled_from(FAULTS), min_size=1, max_size=max_size)):
        fields = draw(tables(fault))
        names = {other["fault"] for other in made}
        earlier = sorted(
            name for name in names - {fault.name} if CATALOGUE[name].actor is fault.actor
        )
        if earlier and fault.name not in names and not fault.asked_once and draw(st.booleans()):
            fields["after"] = draw(st.sampled_from(earlier))
        made.append(fields)
    return made


def expected(fields: Fields) -> PlanRule:
    """The rule that a table stands for."""
    fault = CATALOGUE[fields["fault"]]
    given = fields.get("params", {})
    at = fields.get("at")
    if isinstance(at, list):
        at = tuple(sorted(at)) if len(at) > 1 else at[0]
    return PlanRule(
        fault,
        probability=fields.get("probability", 0.0),
        every=fields.get("every", 0),
        at=at,
        first=fields.get("from", 0),
        last=fields.get("until", ORDINAL_MAX),
        limit=1 if "once" in fields else fields.get("limit", 0),
        after=fields.get("after"),
        queue=fields.get("queue"),
        flow=fields.get("flow"),
        params=tuple(
            param.choices.index(given[param.name])
            if param.name in given and param.choices
            else given.get(param.name, param.default)
            for param in fault.params
        ),
    )


@st.composite
def compact(draw: st.DrawFn, table: Sequence[Fields]) -> str:
    """Write tables in the compact form, with its liberties: the items' order, ``p=``, blanks."""
    space = st.sampled_from(["", "", " "])

    def spaced(text: str) -> str:
        return draw(space) + text + draw(space)

    def items(fields: Fields) -> Iterator[str]:
        for key, value in fields.items():
            if key == "probability":
                text = repr(value)
                yield text if draw(st.booleans()) else f"p={spaced(text)}"
            elif key == "once":
                yield "once"
            elif key == "at" and isinstance(value, list):
                yield f"at={'+'.join(spaced(str(number)) for number in value)}"
            elif key == "params":
                yield from (f"{name}={spaced(str(given))}" for name, given in value.items())
            elif key != "fault":
                yield f"{key}={spaced(str(value))}"

    return ",".join(
        spaced(":".join([fields["fault"], *draw(st.permutations(list(items(fields))))]))
        for fields in table
    )


def toml_value(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {toml_value(item)}' for key, item in value.items())}}}"
    return repr(value) if isinstance(value, float) else json.dumps(value)


@st.composite
def toml(draw: st.DrawFn, table: Sequence[Fields]) -> str:
    """Write tables as a plan file: fields in any order, parameters in each of three ways."""
    lines = []
    for fields in table:
        lines.append(draw(st.sampled_from(["[[rule]]", "[[ rule ]]", '  [["rule"]] # of them'])))
        params = fields.get("params", {})
        written = [f"{key} = {toml_value(v)}" for key, v in fields.items() if key != "params"]
        way = draw(st.sampled_from(["inline", "dotted", "table"])) if params else ""
        if way == "inline":
            written.append(f"params = {toml_value(params)}")
        elif way == "dotted":
            written += [f"params.{name} = {toml_value(value)}" for name, value in params.items()]
        lines += draw(st.permutations(written))
        if way == "table":
            lines.append("[rule.params]")
            lines += [f"{name} = {toml_value(value)}" for name, value in params.items()]
        lines.append(draw(st.sampled_from(["", "# a remark", "\t"])))
    return "\n".join(lines)


# ---- What is written is what is read, and what the core gets ------------------------------------


def check_written(plan: Plan) -> None:
    """Assert that a plan survives every form that the package itself writes."""
    assert parse_plan(str(plan)) == plan
    assert load_plan(str(plan)) == plan
    assert str(parse_plan(str(plan))) == str(plan)
    plain = json.loads(json.dumps(plan.as_dict(), allow_nan=False))
    assert parse_plan(plain["text"]) == plan
    assert parse_plan(",".join(rule["text"] for rule in plain["rules"]) or "none") == plan
    again = [table_of(rule) for rule in plain["rules"]]
    assert tuple(expected(fields) for fields in again) == plan.rules


def table_of(plain: Mapping[str, Any]) -> Fields:
    """A rule's plain values, as :meth:`PlanRule.as_dict` gives them, as a table again."""
    fields = {key: value for key, value in plain.items() if value is not None}
    for key in ("verdicts", "text", "words"):
        del fields[key]
    declared = {param.name: param for param in CATALOGUE[fields["fault"]].params}
    fields["params"] = {
        name: text if declared[name].choices else int(text)
        for name, text in plain["params"].items()
    }
    return fields


def check_core(plan: Plan) -> None:
    """Assert that each process is given its rules without loss, and the others' not at all."""
    adds = any(rule.fault.name == "add-area" for rule in plan.rules)
    areas: Fields = {"areas": "1+1", "kernel": "7.3"} if adds else {}
    config = RunConfig(queues=QUEUES_MAX, plan=plan, **areas)
    sent = {
        Actor.NIC: nic_setup(config)["rules"],
        Actor.PROVIDER: provider_setup(config, None)["rules"],
    }
    for queue in {0, QUEUES_MAX - 1, *(rule.queue or 0 for rule in plan.rules)}:
        setup = consumer_setup(config, queue, position=0, stop_at_end=0)
        check_sent(plan, Actor.CONSUMER, queue, setup["rules"])
    for actor, rules in sent.items():
        check_sent(plan, actor, None, rules)


def check_sent(
    plan: Plan, actor: Actor, queue: int | None, rules: Sequence[Mapping[str, Any]]
) -> None:
    keep: list[Any] = []
    # As over the channel, which carries JSON.
    raw = raw_rules(json.loads(json.dumps(rules)), keep)
    assert len(rules) == len(plan.rules)
    for position, rule in enumerate(plan.rules):
        given = raw[position]
        is_mine = rule.fault.actor is actor and (
            queue is None or rule.queue is None or rule.queue == queue
        )
        assert given.kind == (rule.fault.number if is_mine else 0)
        if not is_mine:
            continue
        assert given.probability == rule.probability
        assert given.every == rule.every
        assert given.at == (rule.ordinals[0] if rule.ordinals else 2**64 - 1)
        assert (given.first, given.last) == (rule.first, rule.last)
        assert given.limit == rule.limit
        assert given.queue == (-1 if rule.queue is None else rule.queue)
        assert given.flow == (0 if rule.flow is None else rule.flow + 1)
        assert list(given.params)[: len(rule.params)] == list(rule.params)
        assert not any(list(given.params)[len(rule.params) :])
        count = len(rule.ordinals) if isinstance(rule.at, tuple) else 0
        assert given.at_count == count
        assert [given.at_list[n] for n in range(count)] == list(rule.ordinals[:count])
        if rule.after is None:
            assert given.after == 0
        else:
            assert plan.rules[given.after - 1].fault.name == rule.after


def judge(table: Sequence[Fields], compact_text: str, toml_text: str) -> None:
    """Read both texts of a plan, and hold them against what it must be."""
    rules = tuple(expected(fields) for fields in table)
    for plan in (parse_plan(compact_text), parse_toml(toml_text, "plan.toml")):
        assert plan.rules == rules
        check_written(plan)
        check_core(plan)


@st.composite
def written_plans(draw: st.DrawFn) -> tuple[list[Fields], str, str]:
    """A plan, and two texts of it."""
    table = draw(plan_tables())
    return table, draw(compact(table)), draw(toml(table))


@pytest.mark.long
@LIMITS
@given(written=written_plans())
def test_each_form_of_a_plan_is_read_as_what_it_says(
    written: tuple[list[Fields], str, str],
) -> None:
    judge(*written)


@st.composite
def journals(draw: st.DrawFn) -> Journal:
    """What fired in a run of some plan, on a few queues."""
    plan = Plan(tuple(expected(fields) for fields in draw(plan_tables(max_size=4))))
    journal = Journal(plan)
    fired = st.tuples(
        st.integers(0, len(plan.rules) - 1),
        st.integers(0, QUEUES_MAX - 1),
        st.lists(st.integers(0, 40) | st.integers(0, 2**56 - 1), max_size=30),
    )
    for rule, queue, noted in draw(st.lists(fired, max_size=6)):
        journal.note(rule, queue, noted)
    return journal


def check_journal(journal: Journal) -> None:
    """Assert that a journal's plan is read back from both of its texts, and says what fired."""
    plan = journal.as_plan()
    assert parse_toml(journal.as_toml(["of a run", "two\nlines"]), "journal.toml") == plan
    check_written(plan)
    told = {
        (rule.fault.name, rule.params, rule.queue, ordinal)
        for rule in plan.rules
        for ordinal in rule.ordinals
        if rule.fault.actor is not Actor.SETUP
    }
    fired = {
        (rule.fault.name, rule.params, queue, ordinal)
        for (position, queue), noted in journal.fired.items()
        for ordinal in noted
        if (rule := journal.plan.rules[position]).fault.actor is not Actor.SETUP
    }
    assert told == fired
    # The journal of a replay is the journal that was replayed.
    again = Journal(plan)
    for position, rule in enumerate(plan.rules):
        again.note(position, rule.queue, rule.ordinals)
    assert again.as_plan() == plan


@LIMITS
@given(journal=journals())
def test_journal_replays_to_an_equal_plan(journal: Journal) -> None:
    check_journal(journal)


# ---- Texts that are spoilt ----------------------------------------------------------------------

ALPHABET = st.sampled_from(
    [*":,=+%.-_'\"[]{}#\\ \n\r\t\0", "\\n", "\u2028", "٣", "é", "0", "9", "e", "x"]
)
WORDS = st.sampled_from(
    ["", "none", "once", "p", "at", "every", "queue", "limit", "after", "params", "rule", "fault"]
) | st.sampled_from(
    ["-1", "0", "64", "1.5", "nan", "inf", "1e999", "1_0", "0x1", str(2**64), "9" * 5000, "true"]
)


@st.composite
def spoilt(draw: st.DrawFn, text: str) -> str:
    """Change a text in a few places: characters, or whole words."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        upto = draw(st.integers(at, min(at + 6, len(text))))
        how = draw(st.sampled_from(["drop", "double", "swap", "insert", "word", "case", "cut"]))
        part, rest = text[at:upto], text[upto:]
        if how == "drop":
            text = text[:at] + rest
        elif how == "double":
            text = text[:at] + part * 2 + rest
        elif how == "swap":
            text = text[:at] + part[::-1] + rest
        elif how == "insert":
            text = text[:at] + draw(ALPHABET) + text[at:]
        elif how == "case":
            text = text[:at] + part.swapcase() + rest
        elif how == "cut":
            text = text[:at]
        else:
            text = spoil_word(draw, text)
    return text


def spoil_word(draw: st.DrawFn, text: str) -> str:
    """Put another word in the place of a key, a name or a value."""
    words = [word for word in text.replace("=", " ").replace(":", " ").split() if word]
    if not words:
        return draw(WORDS)
    return text.replace(draw(st.sampled_from(words)), draw(WORDS), draw(st.integers(1, 2)))


def read_or_refuse(read: Callable[[str], Plan], text: str, start: str) -> None:
    """Assert that a text is a plan that can be written down, or refused in one line."""
    try:
        plan = read(text)
    except (PlanError, UnknownFaultError) as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        assert message.startswith(start)
        assert len(message) < 1000
    else:
        check_written(plan)
        check_core(plan)


def read_toml(text: str) -> Plan:
    return parse_toml(text, "plan.toml")


@st.composite
def spoilt_compact(draw: st.DrawFn) -> str:
    return draw(spoilt(draw(compact(draw(plan_tables(max_size=2))))))


@st.composite
def spoilt_toml(draw: st.DrawFn) -> str:
    return draw(spoilt(draw(toml(draw(plan_tables(max_size=2))))))


@LIMITS
@given(text=spoilt_compact())
def test_spoilt_compact_plan_is_a_plan_or_refused_in_one_line(text: str) -> None:
    read_or_refuse(parse_plan, text, "faults: ")


@LIMITS
@given(text=spoilt_toml())
def test_spoilt_plan_file_is_a_plan_or_refused_in_one_line(text: str) -> None:
    read_or_refuse(read_toml, text, "faults: plan.toml: ")


@st.composite
def wrong_values(draw: st.DrawFn) -> tuple[Fields, str]:
    """A rule with one field wrong, and which."""
    fault = draw(st.sampled_from(FAULTS))
    fields = draw(tables(fault))
    beyond = [-1, ORDINAL_MAX + 1, 2**70, 1.5, "x", True, [], {}]
    wrong: dict[str, list[Any]] = {
        "queue": [QUEUES_MAX, *beyond],
        "flow": [2**24, *beyond],
        "until": beyond,
        "from": beyond,
        "limit": [0, *beyond],
        "after": [0, "x", "", "nosuch-fault", fault.name, [], True],
        "queeu": [0],
        "Limit": [1],
        "": [1],
    }
    (trigger,) = fields.keys() & {"probability", "every", "at"}
    wrong[trigger] = {
        "probability": [-1e-9, 1.0000001, 2, "x", "1%", True, float("nan"), float("inf")],
        "every": [0, *beyond],
        "at": [ORDINAL_MAX, [ORDINAL_MAX], [0, 0], ["x"], [[0]], *beyond],
    }[trigger]
    for param in fault.params:
        wrong[f"params.{param.name}"] = (
            ["", "nosuch", 0, 1, True, param.choices[0].upper()]
            if param.choices
            else [param.high + 1, param.low - 1, 1.0, "1", True]
        )
    wrong["params.nosuch"] = [0]
    name = draw(st.sampled_from(sorted(wrong)))
    value = draw(st.sampled_from(wrong[name]))
    if name == "limit":
        fields.pop("once", None)
    if name.startswith("params."):
        name = name.removeprefix("params.")
        fields["params"] = {**fields.get("params", {}), name: value}
    else:
        fields[name] = value
    return fields, name


def check_wrong(fields: Fields, name: str) -> None:
    """Assert that a rule with a wrong field is refused, and that the field is named."""
    key = {"": "''"}.get(name, name)
    lines = ["[[rule]]"]
    for field, value in fields.items():
        text = toml_value(value).replace("NaN", "nan").replace("Infinity", "inf")
        lines.append(f"{json.dumps(field)} = {text}")
    text = "\n".join(lines)
    tomllib.loads(text)  # it is the plan that is wrong, not its form
    with pytest.raises(PlanError) as caught:
        read_toml(text)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("faults: plan.toml: rule 1 (line ")
    assert key in message


@LIMITS
@given(wrong=wrong_values())
def test_field_out_of_range_is_refused_and_named(wrong: tuple[Fields, str]) -> None:
    check_wrong(*wrong)


# ---- The properties find what they should -------------------------------------------------------


def rounds_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_module, "repr", lambda value: f"{value:g}", raising=False)


def forgets_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    original = PlanRule._text
    monkeypatch.setattr(
        PlanRule,
        "_text",
        lambda self, shown: ":".join(
            item for item in original(self, shown).split(":") if not item.startswith("flow=")
        ),
    )


def compiles_flow_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Plan._compile
    monkeypatch.setattr(
        Plan,
        "_compile",
        lambda self, rule: CompiledRule(**vars(original(self, rule)) | {"flow": rule.flow or 0}),
    )


def waits_for_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Plan._find
    monkeypatch.setattr(Plan, "_find", lambda self, name: max(0, (original(self, name) or 0) - 1))


def takes_parameters_by_the_files_order(monkeypatch: pytest.MonkeyPatch) -> None:
    original = plan_module._compile_params

    def compile_params(fault: Fault, given: Mapping[str, object]) -> tuple[int, ...]:
        values = original(fault, given)
        return (
            values[::-1] if list(given) == [param.name for param in fault.params][::-1] else values
        )

    monkeypatch.setattr(plan_module, "_compile_params", compile_params)


def loses_queues_in_journals(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Journal.as_toml
    monkeypatch.setattr(
        Journal,
        "as_toml",
        lambda self, comments: "\n".join(
            line for line in original(self, comments).split("\n") if not line.startswith("queue")
        ),
    )


def quotes_what_it_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "shown", str)
    monkeypatch.setattr(rule_module, "shown", str)


def knows_the_catalogue_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_file, "find", CATALOGUE.__getitem__)


def takes_queue_64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FIELDS, "queue", replace(FIELDS["queue"], high=64))


PROPERTIES: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], None]]] = {
    "written": (written_plans(), lambda written: judge(*written)),
    "journal": (journals(), check_journal),
    "compact": (spoilt_compact(), lambda text: read_or_refuse(parse_plan, text, "faults: ")),
    "toml": (spoilt_toml(), lambda text: read_or_refuse(read_toml, text, "faults: plan.toml: ")),
    "wrong": (wrong_values(), lambda wrong: check_wrong(*wrong)),
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("bug", "finder"),
    [
        (rounds_probability, "written"),
        (forgets_flow, "written"),
        (compiles_flow_as_it_is, "written"),
        (waits_for_the_one_before, "written"),
        (takes_parameters_by_the_files_order, "written"),
        (loses_queues_in_journals, "journal"),
        (quotes_what_it_read, "compact"),
        (knows_the_catalogue_only, "toml"),
        (takes_queue_64, "wrong"),
    ],
)
def test_seeded_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None], finder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    strategy, check = PROPERTIES[finder]

    @settings(
        LIMITS,
        max_examples=3000,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
    )
    @given(value=strategy)
    def property_of_plans(value: Any) -> None:
        check(value)

    with pytest.raises((AssertionError, PlanError, KeyError, pytest.fail.Exception)):
        property_of_plans()
