"""The catalogue: complete, unambiguous, and known to the C applier under the same numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emu.core import mutate
from emu.state import Verdict
from faults import CATALOGUE, Fault, UnknownFaultError, find
from faults.catalogue import AUDIT_STATEMENTS, VALID_VERDICTS, Actor

VERDICTS = {verdict.label for verdict in Verdict}
HEADER = Path(__file__).parents[2] / "cext" / "fault.h"
each_fault = pytest.mark.parametrize("fault", CATALOGUE.values(), ids=CATALOGUE)


@each_fault
def test_fault_is_described(fault: Fault) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", fault.name)
    assert CATALOGUE[fault.name] is fault
    assert fault.actor in Actor
    assert 10 < len(fault.summary) <= 80
    assert len(fault.explanation) > len(fault.summary)
    assert fault.explanation.endswith(".")


@each_fault
def test_fault_expects_verdicts_that_exist(fault: Fault) -> None:
    assert fault.verdicts
    assert fault.verdicts <= VERDICTS
    assert fault.survives <= AUDIT_STATEMENTS
    assert fault.breaks_contract == (fault.survives != AUDIT_STATEMENTS)


@each_fault
def test_fault_cannot_be_mistaken_for_a_valid_return(fault: Fault) -> None:
    assert not fault.verdicts & VALID_VERDICTS


def test_numbers_are_unique() -> None:
    assert len({fault.number for fault in CATALOGUE.values()}) == len(CATALOGUE)


@each_fault
def test_applier_knows_the_number(fault: Fault) -> None:
    valid = (3 << 12, 100, 0)
    assert all(mutate(fault.number, seed, valid, 8, 12) != valid for seed in range(50))


@pytest.mark.skipif(not HEADER.exists(), reason="the C sources are not installed")
def test_numbers_are_those_of_the_header() -> None:
    named = re.findall(r"\bZCRX_FAULT_(\w+) = (\d+)", HEADER.read_text())
    assert {name.lower().replace("_", "-"): int(number) for name, number in named} == {
        fault.name: fault.number for fault in CATALOGUE.values()
    }


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
        ("BAD-INDEX", "known are bad-area, bad-index, bad-pad"),
        ("xyzzy", "known are bad-area, bad-index, bad-pad"),
        ("", "known are bad-area, bad-index, bad-pad"),
    ],
)
def test_unknown_fault_offers_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(UnknownFaultError) as caught:
        find(name)
    assert str(caught.value) == f"faults: {name!r} is not a fault; {hint}"
