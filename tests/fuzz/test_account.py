"""What the harness says in numbers and names is put into words, all of it."""

from __future__ import annotations

import re
import string

import pytest

from emu.compile.ondemand import core_sources
from emu.compile.records import Record
from emu.fuzz.account import WORDINGS, account_of_end, account_of_finding
from emu.fuzz.program import MEANINGS


def header() -> str:
    return (core_sources() / "fuzz" / "finding.h").read_text()


def finding(
    what: str,
    expected: str = "1",
    actual: str = "2",
    *,
    kind: str = "result",
    which: int = 3,
    times: int = 0,
) -> Record:
    line = f"end\toutcome=finding\tstep=4\tkind={kind}\twhat={what}\top=refill\tround={times}"
    return Record.of(f"{line}\twhich={which}\tniov=5\texpected={expected}\tactual={actual}")


def ended(outcome: str = "crash", *, number: int = 0, code: int = 0, sanitizer: str = "") -> Record:
    values = f"step=4\tsignal={number}\tcode={code}\tsanitizer={sanitizer}"
    return Record.of(f"end\toutcome={outcome}\t{values}")


def test_everything_that_can_be_wrong_has_words() -> None:
    table = header().split("#define FUZZ_WRONGS(X)")[1].split("enum fuzz_wrong")[0]
    names = re.findall(r"X\(([A-Z_]+), [A-Z_]+\)", table)
    assert len(names) == table.count("X(")
    assert list(WORDINGS) == names


def test_every_kind_has_a_meaning() -> None:
    assert list(MEANINGS) == re.findall(r'X\([A-Z_]+, "([a-z-]+)"\)', header())


def test_words_ask_for_nothing_that_no_record_has() -> None:
    for name in WORDINGS:
        account = account_of_finding(finding(name))
        assert account.what.strip()
        assert "{" not in account.what
        assert account.expected != account.actual
    asked = {place for w in WORDINGS.values() for _, place, *_ in string.Formatter().parse(w.what)}
    assert asked - {None} == {"which", "niov", "op", "verdict"}


def test_verdicts_make_the_signature_and_operations_otherwise() -> None:
    account = account_of_finding(finding("VERDICT", "6", "0", kind="verdict"))
    assert account.signature == "verdict:no_user_ref:accepted"
    assert account.what == "verdict of the entry at index 3 (niov 5)"
    unknown = account_of_finding(finding("VERDICT", "6", "7", kind="verdict"))
    assert unknown.signature == "verdict:no_user_ref:?"
    other = account_of_finding(finding("VERDICTS", "6", "0", kind="counter", which=5))
    assert (other.signature, other.what) == ("counter:refill", "bad_index")


def test_answers_have_a_sign_and_counters_have_none() -> None:
    assert account_of_finding(finding("ANSWER", str(2**64 - 12), "7")).expected == "-12"
    assert account_of_finding(finding("ALIASES", str(2**64 - 12), "7")).expected == str(2**64 - 12)


def test_phases_are_named_as_far_as_they_are_known() -> None:
    account = account_of_finding(finding("PHASE", "2", "9", kind="pool"))
    assert (account.expected, account.actual) == ("dying", "9")


def test_lists_are_told_as_far_as_they_are_read() -> None:
    short = account_of_finding(finding("FREELIST", "", "7 8 9"))
    assert (short.expected, short.actual) == ("empty", "7 8 9")
    long = account_of_finding(finding("FREELIST", " ".join(map(str, range(100, 180)))))
    assert re.fullmatch(r"(\d+ )+\d+…", long.expected)
    assert 140 < len(long.expected) < 160


def test_round_of_a_repetition_is_told() -> None:
    account = account_of_finding(finding("ANSWER", times=65535))
    assert account.what == "answer of refill (in repetition 65535)"


@pytest.mark.parametrize(
    ("record", "signature"),
    [
        (ended(number=11), "crash:SEGV"),
        (ended(number=99), "crash:?"),
        (ended(code=1, sanitizer="use-after-poison"), "asan:use-after-poison"),
        (ended(code=1), "crash:exit-1"),
        (ended("hang", number=14), "hang"),
    ],
)
def test_end_of_a_process_is_told_by_how_it_ended(record: Record, signature: str) -> None:
    assert account_of_end(record).signature == signature
