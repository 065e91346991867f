"""Plan files: TOML read into the same plans, and errors that say where."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from faults import CATALOGUE, Plan, PlanError, parse_plan, read_plan
from faults.plan_file import SIZE_MAX, parse_toml

EXAMPLE = """\
# A comment.
[[rule]]
fault = "bad-index"
probability = 0.01
queue = 1
params = {value = "count"}

[[rule]]
fault = "early-return"
every = 1000
once = true
after = "bad-index"
from = 5
until = 1_000_000
[rule.params]
delay = 128

[[ rule ]]
fault = "double-return"
at = 500
params.count = 2
"""


def refused(text: str) -> str:
    """The message, without what all of them begin with."""
    with pytest.raises(PlanError) as caught:
        parse_toml(text, "plan.toml")
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("faults: plan.toml: ")
    return message.removeprefix("faults: plan.toml: ")


def test_file_and_compact_form_are_the_same_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(EXAMPLE)
    expected = parse_plan(
        "bad-index:0.01:queue=1:value=count,"
        "early-return:every=1000:once:after=bad-index:from=5:until=1000000:delay=128,"
        "double-return:at=500:count=2"
    )
    assert read_plan(path) == expected
    path.write_bytes(EXAMPLE.replace("\n", "\r\n").encode())
    assert read_plan(path) == expected


def test_inline_list_of_tables_is_read_too() -> None:
    plan = parse_toml('rule = [{fault = "bad-pad", probability = 1}]', "x")
    assert plan == parse_plan("bad-pad:1")


RULE = '\n[[rule]]\nfault = "bad-pad"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it has no [[rule]]; write at least one"),
        ("[[rule]]", 'rule 1 (line 1): it names no fault; write fault = "NAME"'),
        ("[[rule]]\nfault = 3\nat = 1", "rule 1 (line 2): fault: 3 is not the name of a fault"),
        (
            '[[rule]]\nat = 1\nfault = "bad-pda"',
            "rule 1 (line 3): fault: 'bad-pda' is not a fault; did you mean 'bad-pad'?",
        ),
        (
            RULE,
            "rule 1 (line 2): bad-pad has no trigger; "
            "write bad-pad:0.01 (a probability), every=N or at=N",
        ),
        (
            RULE + "every = 1\nat = 2",
            "rule 1 (line 5): bad-pad has two triggers, every and at; give one of them",
        ),
        (
            RULE + "probability = 1.5",
            "rule 1 (line 4): bad-pad: probability 1.5 is out of range; "
            "it must be a number from 0 to 1, or 0% to 100%",
        ),
        (
            RULE + 'probability = "1%"',
            "rule 1 (line 4): bad-pad: probability '1%' is out of range; "
            "it must be a number from 0 to 1, or 0% to 100%",
        ),
        (
            RULE + "every = 1\n" + RULE + "every = 1\nfrom = 7\nuntil = 5",
            "rule 2 (line 9): bad-pad: from: 7 is not allowed; it must be at most until, 5",
        ),
        (
            RULE + "evry = 1",
            "rule 1 (line 4): bad-pad: 'evry' is no field of a rule; did you mean 'every'?",
        ),
        (
            RULE + "every = 1\nparams = {value = 2}",
            "rule 1 (line 5): bad-pad: value: 2 is not allowed; "
            "it must be one of random, one-bit, ones",
        ),
        (
            RULE + 'every = 1\n[rule.params]\n"valu" = "ones"',
            "rule 1 (line 6): bad-pad: 'valu' is no parameter of it; did you mean 'value'?",
        ),
        (
            RULE + "every = 1\nparams = 7",
            "rule 1 (line 5): bad-pad: params: 7 is not a table; write params = {NAME = VALUE}",
        ),
        (
            RULE + "every = 1\nonce = 1",
            "rule 1 (line 5): bad-pad: once: 1 is not allowed; it must be true or false",
        ),
        (
            RULE + 'every = 1\nafter = "slow"',
            "rule 1 (line 5): bad-pad: after: 'slow' is no fault of this plan; it has no other one",
        ),
        (
            RULE + "every = 1\nafter = 1",
            "rule 1 (line 5): bad-pad: after: 1 is not allowed; "
            "it must be the name of another fault of the plan",
        ),
        (
            # The header inside a string: lines cannot be told, so none is.
            'x = """\n[[rule]]\n"""',
            "'x' is not known; only [[rule]] tables are known",
        ),
        ('[[rule]]\nfault = """\n[[rule]]"""', "rule 1: fault: "),
        ("[rule]\nfault = 'bad-pad'", "rule is not a list of tables; write [[rule]]"),
        ("rule = [1]", "rule 1: 1 is not a table; write [[rule]]"),
        ("[[rules]]", "'rules' is not known; did you mean 'rule'?"),
        ("[[rule", "it is no TOML: "),
        ("a = " + "[" * 5000, "it is no TOML: "),
        ("a = " + "9" * 5000, "it is no TOML: "),
        ("[[rule]]\n" * 65, "rule 1 (line 1): it names no fault"),
        ((RULE + "at = 1\n") * 255, "255 rules are too many; at most 254"),
    ],
)
def test_mistake_is_told_with_its_place(text: str, message: str) -> None:
    told = refused(text)
    assert told.startswith(message) if message.endswith((" ", "fault")) else told == message


def test_rule_that_is_too_big_to_show_is_refused() -> None:
    assert "every: a huge int is not allowed" in refused(RULE + "every = 0x" + "f" * 9000)


words = st.sampled_from(
    ["fault", "probability", "every", "at", "from", "until", "limit"]
) | st.sampled_from(["once", "after", "queue", "params", "value", "x"])
values = (
    st.sampled_from(['"bad-pad"', '"slow"', "true", "1", "-1", "0.5", "nan", "inf", "[]", "{}"])
    | st.sampled_from(["{value = 'ones'}", "{us = 3}", "1979-05-27", "2", "''", '"\\n"', "{x=1}"])
    | st.sampled_from(list(CATALOGUE)).map(repr)
)
lookalikes = st.lists(
    st.dictionaries(words, values, max_size=5).map(
        lambda table: "[[rule]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
    ),
    max_size=3,
).map("".join)


@settings(deadline=None, max_examples=300)
@given(text=st.text(max_size=60) | lookalikes)
def test_any_text_is_a_plan_or_an_error_of_one_line(text: str) -> None:
    try:
        plan = parse_toml(text, "plan.toml")
    except PlanError as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        assert message.startswith("faults: plan.toml: ")
    else:
        assert isinstance(plan, Plan)
        assert parse_plan(str(plan)) == plan


# ---- Files that are none ------------------------------------------------------------------------


def test_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is not a file that exists; name a plan in TOML"):
        read_plan(tmp_path / "nosuch.toml")
    with pytest.raises(PlanError, match="File name too long"):
        read_plan(tmp_path / ("x" * 5000))
    with pytest.raises(PlanError, match="is not a file that exists"):
        read_plan(tmp_path)


def test_pipe_and_device_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    for name in ("pipe.toml", "zero.toml"):
        with pytest.raises(PlanError, match="is not a file that exists"):
            read_plan(tmp_path / name)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(b"# \xff")
    with pytest.raises(PlanError, match="byte 2 is not UTF-8"):
        read_plan(path)
    path.write_bytes(b"#" * (SIZE_MAX + 1))
    with pytest.raises(PlanError, match=f"larger than {SIZE_MAX} bytes"):
        read_plan(path)


def test_name_with_a_line_break_stays_in_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nb.toml"
    path.write_text("x")
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    assert len(str(caught.value).splitlines()) == 1
