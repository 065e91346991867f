"""The catalogue: complete, unambiguous, and known to the C applier under the same numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from emu.core import mutate
from emu.spec.state import Verdict
from faults import CATALOGUE, Actor, Fault, Group, Param, UnknownFaultError, find
from faults.catalogue import AUDIT_STATEMENTS, VALID_VERDICTS
from faults.fault import PARAMS_MAX, U32_MAX, shown
from faults.rule import FIELD_NAMES

VERDICTS = {verdict.label for verdict in Verdict}
HEADER = Path(__file__).parents[2] / "cext" / "faults" / "fault.h"
each_fault = pytest.mark.parametrize("fault", CATALOGUE.values(), ids=CATALOGUE)
PARAMS = [(fault, param) for fault in CATALOGUE.values() for param in fault.params]
each_param = pytest.mark.parametrize(
    ("fault", "param"), PARAMS, ids=[f"{fault.name}:{param.name}" for fault, param in PARAMS]
)

NUMBERS = {
    "bad-pad": 1,
    "bad-area": 2,
    "bad-index": 3,
    "bad-offset": 4,
    "alias": 5,
    "mid-buffer": 6,
    "len-garbage": 7,
    "double-return": 10,
    "stale-return": 11,
    "early-return": 12,
    "neighbour-return": 13,
    "never-given": 14,
    "hoard": 15,
    "wrong-ring": 16,
    "drop-when-full": 17,
    "wrong-area": 18,
    "tail-ahead": 20,
    "head-scribble": 21,
    "cq-head-scribble": 22,
    "cq-stall": 24,
    "slow": 25,
    "tail-back": 26,
    "tail-random": 27,
    "tail-early": 28,
    "tail-stall": 29,
    "write-foreign": 30,
    "rqe-rewrite": 32,
    "rq-overrun": 33,
    "nic-drop": 40,
    "nic-corrupt": 41,
    "nic-duplicate": 42,
    "nic-reorder": 43,
    "nic-truncate": 44,
    "nic-stall": 45,
    "nic-burst": 46,
    "nic-hold": 47,
    "nic-tiny": 48,
    "cq-full": 49,
    "clock-jump": 50,
    "alloc-fail": 52,
    "freelist-empty": 53,
    "ptr-ring-full": 54,
    "kill-consumer": 60,
    "stop-consumer": 61,
    "stop-provider": 62,
    "stop-nic": 63,
    "churn": 64,
    "starve-consumer": 65,
    "starve-provider": 66,
    "starve-nic": 67,
    "scrub-midway": 68,
    "queue-restart": 69,
    "index-wrap": 70,
    "header-layout": 71,
    "header-garbage": 72,
    "setup-fail": 73,
    "add-area": 74,
}


@each_fault
def test_fault_is_described(fault: Fault) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", fault.name)
    assert CATALOGUE[fault.name] is fault
    assert fault.actor in Actor
    assert 10 < len(fault.summary) <= 80
    assert len(fault.explanation) > len(fault.summary)
    assert fault.explanation.endswith(".")
    assert fault.consequences == "" or fault.consequences.endswith(".")


@each_fault
def test_fault_expects_what_exists(fault: Fault) -> None:
    assert fault.verdicts <= VERDICTS
    assert fault.writes_entries == bool(fault.verdicts)
    assert fault.survives <= AUDIT_STATEMENTS
    assert fault.breaks_contract == (fault.survives != AUDIT_STATEMENTS)


@each_fault
def test_actor_group_and_verdicts_fit_together(fault: Fault) -> None:
    """Only a consumer writes into the refill ring; a changed valid return may earn what it may."""
    assert (fault.actor is Actor.NIC) == (fault.group is Group.NIC)
    assert (fault.actor is Actor.PROVIDER) == (fault.group is Group.RESOURCE)
    assert (fault.actor is Actor.PROCESS) == (fault.group is Group.PROCESS)
    assert (fault.actor is Actor.SETUP) == (fault.group is Group.SETUP)
    if fault.actor is not Actor.CONSUMER or fault.group in (Group.PACE, Group.AREA):
        assert not fault.writes_entries
    if fault.group is Group.CONTENT:
        assert fault.writes_entries
        assert not fault.breaks_contract
    if fault.modifies:
        assert fault.verdicts >= VALID_VERDICTS
    if fault.breaks_contract:
        assert fault.consequences


def test_faults_that_change_the_valid_return_are_these() -> None:
    """The core writes no other entry in its place; all the rest is written beside it."""
    assert {fault.name for fault in CATALOGUE.values() if fault.modifies} == {
        *("alias", "mid-buffer", "len-garbage"),
        *("early-return", "tail-early", "rqe-rewrite"),
    }


def test_numbers_stay_what_they_are() -> None:
    """They are compiled into plans, and so into runs that are kept."""
    numbers = {fault.name: fault.number for fault in CATALOGUE.values()}
    assert numbers.items() <= NUMBERS.items()
    assert len(set(NUMBERS.values())) == len(NUMBERS)
    assert list(NUMBERS.values()) == sorted(NUMBERS.values())


@pytest.mark.skipif(not HEADER.exists(), reason="the C sources are not installed")
def test_numbers_of_the_header_are_those_of_the_catalogue() -> None:
    named = re.findall(r"\bZCRX_FAULT_(\w+) = (\d+)", HEADER.read_text())
    found = {name.lower().replace("_", "-"): int(number) for name, number in named}
    assert found.pop("none") == 0, "another actor's rule"
    assert found.pop("custom") == 100, "a user's own"
    assert found
    assert found.items() <= NUMBERS.items()


@pytest.mark.parametrize("name", ["bad-pad", "bad-area", "bad-index"])
def test_applier_knows_the_number(name: str) -> None:
    valid = (3 << 12, 100, 0)
    assert all(mutate(find(name).number, seed, valid, 8, 12) != valid for seed in range(50))


@each_fault
def test_fault_becomes_json(fault: Fault) -> None:
    plain = json.loads(json.dumps(fault.as_dict()))
    assert plain["name"] == fault.name
    assert plain["verdicts"] == sorted(fault.verdicts)
    assert [item["name"] for item in plain["params"]] == [param.name for param in fault.params]


# ---- Parameters ---------------------------------------------------------------------------------


@each_fault
def test_parameters_are_few_and_told_apart(fault: Fault) -> None:
    names = [param.name for param in fault.params]
    assert len(set(names)) == len(names) <= PARAMS_MAX
    assert not set(names) & {"p", "params", "fault", *FIELD_NAMES}, (
        "a plan could not tell them apart"
    )


@each_param
def test_parameter_is_compiled_and_typed_back(fault: Fault, param: Param) -> None:
    values = range(len(param.choices)) if param.choices else (param.low, param.default, param.high)
    for value in values:
        assert 0 <= value <= U32_MAX
        assert param.is_compiled(value)
        assert param.compile(param.text(value) if param.choices else value) == value
    assert param.default in values
    assert not re.search(r"[:,=\s]", "".join(param.choices))


def test_least_value_of_a_parameter_still_does_something() -> None:
    """A packet that none overtakes, a stall of no time: such a fault would fire and be none."""
    least = {
        f"{fault.name}:{param.name}": param.low
        for fault, param in PARAMS
        if not param.choices and param.name not in ("value", "nice")
    }
    others = {name: low for name, low in least.items() if low != 1}
    assert others == {
        "index-wrap:distance": 0,  # rings begin at the wrap itself
        "nic-burst:packets": 2,
        "nic-tiny:fragments": 2,
        "tail-early:us": 0,  # the tail is ahead all the same
    }


@each_param
def test_parameter_out_of_range_is_refused(fault: Fault, param: Param) -> None:
    wrong: list[object] = [None, True, 1.5, "", "x", [], 2**64, -1, "random "]
    wrong += ["RANDOM", 0] if param.choices else [param.low - 1, param.high + 1, "1"]
    for value in wrong:
        with pytest.raises(ValueError, match="is not allowed; it must be"):
            param.compile(value)


@pytest.mark.parametrize(
    "value",
    ["a\nb", "x" * 1000, 10**5000, [[1]] * 100, "\udcff"],
    ids=["lines", "long", "huge", "deep", "bytes"],
)
def test_foreign_value_is_shown_in_one_short_line(value: object) -> None:
    assert len(shown(value)) <= 60
    assert "\n" not in shown(value)
    assert shown(value).encode()


# ---- Finding them -------------------------------------------------------------------------------


def test_valid_verdicts_exist() -> None:
    assert VALID_VERDICTS < VERDICTS


@each_fault
def test_fault_is_found_by_its_name(fault: Fault) -> None:
    assert find(fault.name) is fault


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("bad-pda", "did you mean 'bad-pad'?"),
        ("badpad", "did you mean 'bad-pad'?"),
        ("bad-areas", "did you mean 'bad-area'?"),
        ("BAD-INDEX", "did you mean 'bad-index'?"),
        ("kill", "did you mean 'kill-consumer'?"),
        ("xyzzy", "'zcrx-emu faults list' shows what there is"),
        ("", "'zcrx-emu faults list' shows what there is"),
    ],
)
def test_unknown_fault_offers_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(UnknownFaultError) as caught:
        find(name)
    assert str(caught.value) == f"faults: {name!r} is not a fault; {hint}"
