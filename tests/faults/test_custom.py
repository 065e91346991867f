"""Faults of one's own: from a class to a fault of a plan, and what is refused on the way.

The classes stand in this module, and in modules that a test writes; what they do in a run is
for ``tests/chaos/test_custom_faults.py``.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults import CATALOGUE, Actor, Param, PlanError, UnknownFaultError, find, parse_plan
from faults.custom import (
    ENTRY_POINTS,
    AnswerError,
    Context,
    CustomFault,
    LoadError,
    Rqe,
    answer,
    describe,
    split_items,
    survey,
)
from faults.fault import AUDIT_STATEMENTS
from faults.plan_file import parse_toml

MODULE = """
from faults.custom import CustomFault, Param, Rqe

class Torn(CustomFault):
    '''Two fields are wrong.'''
    summary = "pad and area are both wrong"
    params = (
        Param(name="depth", doc="how deep", default=3, low=1, high=9),
        Param(name="how", doc="the way", default=0, choices=("softly", "hard")),
    )
    verdicts = {"bad_pad"}
    consequences = "None."

    def mutate(self, rqe, context):
        return rqe._replace(pad=1)

class Acts(CustomFault):
    summary = "does something"

    def act(self, context):
        pass

class Wrong(CustomFault):
    summary = "does nothing"

number = 5
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of faults in the current directory; its name."""
    monkeypatch.chdir(tmp_path)
    name = f"own_{tmp_path.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(MODULE)
    yield name
    sys.modules.pop(name, None)


def context(**fields: Any) -> Context:
    values: dict[str, Any] = {
        "queue": 0,
        "ordinal": 7,
        "position": 8,
        "random": random.Random(1),
        "num_niovs": 8,
        "niov_shift": 12,
        "params": {},
        "earlier": [],
        "_take_area": lambda: memoryview(bytearray(8 << 12)),
    }
    return Context(**{**values, **fields})


def made(**attributes: Any) -> type[CustomFault]:
    """A class with these attributes, sound but for them."""

    def mutate(self: CustomFault, rqe: Rqe, context: Context) -> Rqe:
        return rqe

    sound = {"summary": "a fault", "verdicts": {"bad_pad"}, "mutate": mutate}
    return type("Made", (CustomFault,), {**sound, **attributes})


# ---- Found ------------------------------------------------------------------------------------


def test_class_is_found_by_module_and_name(own: str) -> None:
    fault = find(f"{own}:Torn")
    assert fault.name == fault.source == f"{own}:Torn"
    assert (fault.number, fault.actor, fault.modifies) == (100, Actor.CONSUMER, False)
    assert fault.explanation == "Two fields are wrong."
    assert fault.verdicts == {"bad_pad"}
    assert fault.survives == AUDIT_STATEMENTS
    assert [param.name for param in fault.params] == ["depth", "how"]
    assert fault == find(f"{own}:Torn")
    assert str(Path.cwd()) not in sys.path


@pytest.mark.parametrize(
    "text",
    [
        "{own}:Torn:0.01",
        "{own}:Torn:every=7:queue=1:depth=4:how=hard",
        "bad-pad:at=3,{own}:Acts:at=5+17",
        "{own}:Torn:at=5,bad-pad:every=2:after={own}:Torn",
        "{own}:Torn:at=5,{own}:Acts:every=2:limit=1:after={own}:Torn",
    ],
)
def test_plan_with_it_is_written_and_read_back(own: str, text: str) -> None:
    text = text.format(own=own)
    plan = parse_plan(text)
    assert str(plan) == text
    assert parse_plan(str(plan)) == plan


def test_plan_file_names_it_in_the_same_way(own: str) -> None:
    text = f'[[rule]]\nfault = "{own}:Torn"\nprobability = 0.5\nparams = {{depth = 9}}\n'
    assert parse_toml(text, "x") == parse_plan(f"{own}:Torn:0.5:depth=9")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a.b:C:1%", ["a.b:C", "1%"]),
        ("a:C:once", ["a:C", "once"]),
        ("a:once:1", ["a", "once", "1"]),
        ("a:0.5", ["a", "0.5"]),
        ("a:nan", ["a", "nan"]),
        ("a:inf:x", ["a", "inf", "x"]),
        ("a:at=5:C", ["a", "at=5", "C"]),
        ("hoard:C:1", ["hoard", "C", "1"]),
        ("bad-pad:C", ["bad-pad", "C"]),
        ("a-b:C", ["a-b", "C"]),
        (" a : C : 1", ["a:C", "1"]),
        ("x:C:1:after=a.b:D:queue=1", ["x:C", "1", "after=a.b:D", "queue=1"]),
        ("x:C:1:after=hoard:once", ["x:C", "1", "after=hoard", "once"]),
        ("x:C:1:after=bad-pad:queue=1", ["x:C", "1", "after=bad-pad", "queue=1"]),
        ("x:C:from=a:D", ["x:C", "from=a", "D"]),
        ("", [""]),
    ],
)
def test_second_item_belongs_to_the_name_if_it_is_no_trigger(text: str, items: list[str]) -> None:
    assert split_items(text) == items


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nosuch_module:Torn", ["'nosuch_module:Torn' cannot be imported", "ModuleNotFoundError"]),
        ("{own}:Nosuch", ["cannot be imported (AttributeError", "MODULE:CLASS must be"]),
        ("{own}:number", ["is 5; MODULE:CLASS must be"]),
        ("{own}:Wrong", ["has neither mutate nor act; it must override one of them"]),
        ("{own}:Torn2", ["cannot be imported"]),
        ("os:path", ["is <module 'posixpath'"]),
    ],
)
def test_class_that_cannot_be_used_is_refused(own: str, name: str, words: list[str]) -> None:
    with pytest.raises(LoadError) as caught:
        find(name.format(own=own))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", ["def", "1 / 0", "raise SystemExit('no')", "import nosuch_one"])
def test_module_that_fails_is_refused_in_one_line(own: str, body: str) -> None:
    Path(f"{own}_bad.py").write_text(body)
    with pytest.raises(LoadError, match="cannot be imported") as caught:
        find(f"{own}_bad:Torn")
    assert "\n" not in str(caught.value)


def test_mistake_in_a_rule_about_it_is_told_like_any_other(own: str) -> None:
    with pytest.raises(PlanError, match=r"rule 2: .*:Torn: depth: 10 is not allowed; .* 1 to 9"):
        parse_plan(f"bad-pad:1,{own}:Torn:1%:depth=10")
    with pytest.raises(PlanError, match="Torn has no trigger"):
        parse_plan(f"{own}:Torn")
    with pytest.raises(UnknownFaultError, match="did you mean 'bad-pad'"):
        parse_plan("bad-pda:1")


# ---- What a class may say ---------------------------------------------------------------------


PARAM = Param(name="depth", doc="d", default=1, low=1, high=9)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"summary": ""}, "m:C: summary: '' is not allowed; it must be a line"),
        ({"summary": "a\nb"}, "m:C: summary: 'a\\nb' is not allowed"),
        ({"summary": 5}, "m:C: summary: 5 is not allowed; it must be text"),
        ({"verdicts": set()}, "m:C: verdicts: set() is not allowed; it must be what its entries"),
        ({"verdicts": "bad_pad"}, "m:C: verdicts: 'bad_pad' is not allowed; it must be a set"),
        ({"verdicts": {"bad-pad"}}, "m:C: verdicts: 'bad-pad' is not allowed; it must be a set"),
        ({"survives": {"all"}}, "m:C: survives: 'all' is not allowed; it must be a set of"),
        ({"modifies": 1}, "m:C: modifies: 1 is not allowed; it must be True or False"),
        ({"params": [5]}, "m:C: params: 5 is not allowed; it must be a faults.Param"),
        ({"params": (PARAM,) * 5}, "must be a tuple of at most 4 Param"),
        ({"params": (PARAM, PARAM)}, "m:C: params: 'depth' is not allowed"),
        (
            {"params": (Param(name="queue", doc="", default=0),)},
            "m:C: params: 'queue' is not allowed; it must be a word in small letters",
        ),
        (
            {"params": (Param(name="a", doc="", default=5, high=4),)},
            "m:C: a: default: 5 is not allowed; it must be 0 to 4",
        ),
        (
            {"params": (Param(name="a", doc="", default=0, choices=("x:y",)),)},
            "must be words without ':'",
        ),
        ({"act": lambda self, context: None}, "m:C has both mutate and act"),
        ({"name": "other"}, "m:C: name: 'other' is not allowed; it must be 'torn', as the entry"),
    ],
)
def test_attribute_that_makes_no_sense_is_refused(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError) as caught:
        describe(made(**attributes), "torn", "m:C")
    assert message in str(caught.value)


def test_an_action_writes_no_entries() -> None:
    acts = {"mutate": CustomFault.mutate, "act": lambda self, context: None, "verdicts": set()}
    assert not describe(made(**acts), "m:C", "m:C").writes_entries
    for wrong in ({"verdicts": {"bad_pad"}}, {"modifies": True}):
        with pytest.raises(LoadError, match="act writes no entry"):
            describe(made(**{**acts, **wrong}), "m:C", "m:C")


# ---- What it may answer -------------------------------------------------------------------------


VALID = Rqe(3 << 12, 64)


def answering(result: object) -> CustomFault:
    return made(mutate=lambda self, rqe, context: result)()


@pytest.mark.parametrize(
    ("result", "entries"),
    [
        (None, None),
        (VALID, [VALID]),
        ([], []),
        ((VALID, Rqe(2**64 - 1, 2**32 - 1, 2**32 - 1)), [VALID, Rqe(2**64 - 1, *[2**32 - 1] * 2)]),
        ([VALID] * 16, [VALID] * 16),
    ],
)
def test_answer_is_a_list_of_entries_or_nothing(result: object, entries: object) -> None:
    assert answer(answering(result), VALID, context()) == entries


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([VALID] * 17, "mutate returned 17 entries; at most 16 are allowed"),
        (5, "mutate returned 5; it must return an Rqe, a list of them, or None"),
        ("text", "mutate returned 'text'; it must return an Rqe"),
        (b"1234", "mutate returned b'1234'; it must return an Rqe"),
        ((1, 2, 3), "mutate returned 1; it must return an Rqe"),
        ([VALID, None], "mutate returned None; it must return an Rqe"),
        (Rqe(-1, 0), "mutate returned an Rqe with off -1; it must be a whole number of 0 to 1844"),
        (Rqe(2**64, 0), "with off 18446744073709551616"),
        (Rqe(0, 2**32), "with length 4294967296; it must be a whole number of 0 to 4294967295"),
        (Rqe(0, 0, 1.5), "with pad 1.5"),  # type: ignore[arg-type]
        (Rqe(True, 0), "with off True"),
    ],
)
def test_answer_that_makes_no_sense_is_refused(result: object, message: str) -> None:
    with pytest.raises(AnswerError) as caught:
        answer(answering(result), VALID, context())
    assert message in str(caught.value)


def test_an_action_answers_nothing() -> None:
    seen: list[Context] = []
    act = made(mutate=CustomFault.mutate, act=lambda self, context: seen.append(context))
    assert answer(act(), VALID, context()) is None
    assert [one.ordinal for one in seen] == [7]
    wrong = made(mutate=CustomFault.mutate, act=lambda self, context: 5)
    with pytest.raises(AnswerError, match="act returned 5; it must return None"):
        answer(wrong(), VALID, context())


# ---- Installed ----------------------------------------------------------------------------------


@pytest.fixture
def install(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install the module's faults under these names, as a package's metadata would."""

    def install_them(**points: str) -> None:
        folder = tmp_path / "own-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
        lines = [f"{name.replace('_', '-')} = {own}:{cls}" for name, cls in points.items()]
        (folder / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines]))
        monkeypatch.syspath_prepend(str(tmp_path))

    return install_them


def test_installed_fault_goes_by_its_own_name(install: Callable[..., None], own: str) -> None:
    install(torn_entry="Torn")
    fault = find("torn-entry")
    assert (fault.name, fault.source) == ("torn-entry", f"{own}:Torn")
    plan = parse_plan("torn-entry:1.0:depth=4,bad-pad:at=5:after=torn-entry")
    assert plan.rules[0].fault == fault
    assert parse_plan(str(plan)) == plan
    with pytest.raises(UnknownFaultError, match="did you mean 'torn-entry'"):
        find("torn-entri")


def test_what_is_installed_is_surveyed_whatever_is_wrong_with_it(
    install: Callable[..., None], own: str
) -> None:
    install(torn_entry="Torn", half_done="Wrong", bad_pad="Torn", gone="Nosuch")
    good, broken = survey()
    assert [fault.name for fault in good] == ["torn-entry"]
    assert [(item.name, item.source) for item in broken] == [
        ("bad-pad", f"{own}:Torn"),
        ("gone", f"{own}:Nosuch"),
        ("half-done", f"{own}:Wrong"),
    ]
    assert "a fault of the catalogue has that name" in broken[0].why
    assert "cannot be imported" in broken[1].why
    assert find("bad-pad") is CATALOGUE["bad-pad"]


def test_commands_show_installed_faults(
    install: Callable[..., None], call: Callable[..., Any], own: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    install(torn_entry="Torn", half_done="Wrong")
    listed = call("faults", "list")
    assert listed.code == 0
    assert "Faults of installed packages:" in listed.stdout
    assert "torn-entry" in listed.stdout
    assert "has neither mutate nor act" in listed.stdout
    for name in ("torn-entry", f"{own}:Torn"):
        shown = call("faults", "show", name)
        assert shown.code == 0
        assert f"{own}:Torn" in shown.stdout
        assert "depth=" in shown.stdout
    checked = call("faults", "check", "torn-entry:1%:how=hard")
    assert checked.code == 0
    assert checked.stdout.splitlines()[-1] == "torn-entry:0.01:how=hard"
    assert call("faults", "check", "torn-entry").code == 2


def test_nothing_installed_is_no_section(call: Callable[..., Any]) -> None:
    assert "installed" not in call("faults", "list").stdout
