"""The text of a plan means the same to the library, which reads it in C, as to Python."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.compile.ondemand import core_sources
from emu.compile.toolchain import any_compiler
from faults import CATALOGUE, Actor, PlanError, UnknownFaultError, parse_plan

#: What only a program of its own has reason to meet.
ONLY_THE_LIBRARYS = {
    "conn-reset": (120, 0),
    "rq-late": (121, 16),
    "recv-late": (122, 4),
    "tiny-area": (123, 2),
    "register-fail": (124, 95),
    "short-multishot": (125, 1),
    "copy-fail": (126, 0),
    "cq-overflow": (127, 0),
    "eintr": (128, 0),
}
#: What a queue's turns are to the library, milliseconds of processes are to runs.
_ACTORS = {0: Actor.NIC, 1: Actor.PROVIDER, 2: Actor.PROCESS, 4: Actor.SETUP}

Read = Callable[[str], str]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that reads plans in C."""
    sources, program = core_sources(), tmp_path_factory.mktemp("plan") / "plan_rules"
    files = ["lib/plan.c", "faults/fault.c"]
    subprocess.run(
        [
            *(any_compiler().path, "-std=gnu11", "-g", "-O1", f"-I{sources}"),
            *(Path(__file__).with_name("plan_rules.c"), *(sources / file for file in files)),
            *("-lm", "-o", program),
        ],
        check=True,
    )
    return program


@pytest.fixture(scope="module")
def read(reader: Path) -> Iterator[Read]:
    """What it makes of a text."""
    with subprocess.Popen(
        [reader], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(text: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(text + "\n")
            process.stdin.flush()
            return process.stdout.readline().rstrip("\n")

        yield ask
        process.stdin.close()


def pythons(text: str) -> str | None:
    """The same of Python's reader; None: it refuses the text."""
    try:
        rules = parse_plan(text).compiled()
    except (PlanError, UnknownFaultError):
        return None
    return ";".join(
        " ".join(
            [
                *(str(rule.number), str(rule.after), rule.probability.hex()),
                *map(str, (rule.every, rule.at, rule.first, rule.last, rule.limit)),
                *map(str, (rule.queue, rule.flow, rule.params[0], rule.params[1], *rule.at_list)),
            ]
        )
        for rule in rules
    )


def same(answer: str, expected: str | None) -> bool:
    """Are they the same rules? Probabilities are written in two ways of the same number."""
    if expected is None or answer.startswith("!"):
        return expected is None and answer.startswith("!")
    mine, theirs = (
        [
            [*words[:2], float.fromhex(words[2]), *words[3:]]
            for rule in text.split(";")
            if (words := rule.split())
        ]
        for text in (answer, expected)
    )
    return mine == theirs


@pytest.fixture(scope="module")
def table(reader: Path) -> dict[str, list[str]]:
    """The faults that the library has, by name."""
    listing = subprocess.run([reader, "faults"], capture_output=True, text=True, check=True)
    return {line.split()[0]: line.split()[1:] for line in listing.stdout.splitlines()}


def test_faults_are_those_of_the_catalogue(table: dict[str, list[str]]) -> None:
    assert table.keys() > ONLY_THE_LIBRARYS.keys()
    assert not ONLY_THE_LIBRARYS.keys() & CATALOGUE.keys()
    numbers = {fault.number for fault in CATALOGUE.values()}
    for name, (number, actor, once, *params) in table.items():
        if name in ONLY_THE_LIBRARYS:
            assert int(number) not in numbers
            continue
        fault = CATALOGUE[name]
        assert (fault.number, fault.asked_once) == (int(number), once == "1")
        assert fault.actor is _ACTORS[int(actor)]
        assert params == [f"{p.name}={p.default}:{p.low}:{p.high}" for p in fault.params]


_NAMES = st.sampled_from(
    [
        "nic-drop",
        "nic-truncate",
        "nic-hold",
        "nic-reorder",
        "cq-full",
        "alloc-fail",
        "queue-restart",
        "scrub-midway",
        "setup-fail",
    ]
)
_NUMBERS = st.one_of(
    st.integers(0, 40).map(str),
    st.sampled_from(
        ["65535", "65536", str(2**32), str(2**64 - 2), str(2**64 - 1), str(2**64), "9" * 21]
    ),
    st.sampled_from(["", "-1", "x", "1.5", "0x10", " 7 ", "007"]),
)
_PROBABILITIES = st.one_of(
    st.floats(0, 1).map(repr),
    st.floats(0, 100).map(lambda value: f"{value!r}%"),
    st.sampled_from(
        ["0", "1", "1%", "100%", "101%", "1.1", "-0.1", "nan", "inf", "%", "1e-3", ".5"]
    ),
)
_ITEMS = st.one_of(
    _PROBABILITIES,
    _PROBABILITIES.map("p={}".format),
    st.builds(
        "{}={}".format,
        st.sampled_from(
            ["every", "at", "from", "until", "limit", "queue", "flow", "count", "keep", "packets"]
        ),
        _NUMBERS,
    ),
    st.lists(_NUMBERS, min_size=1, max_size=4).map("+".join).map("at={}".format),
    _NAMES.map("after={}".format),
    st.sampled_from(["once", "once=1", "after=", "after=nothing", "=", "", " every = 3 "]),
)
_RULES = st.builds(
    lambda name, items: ":".join([name, *items]), _NAMES, st.lists(_ITEMS, max_size=4)
)
_PLANS = st.lists(_RULES, min_size=1, max_size=4).map(",".join)


@given(text=_PLANS)
@settings(max_examples=600, deadline=None)
def test_same_text_makes_the_same_rules(read: Read, text: str) -> None:
    assert same(read(text), pythons(text)), (read(text), pythons(text))


@pytest.mark.parametrize(
    "text",
    [
        *("", "none", " none ", ",", "alloc-fail", "alloc-fail:", ":0.5", "alloc-fail:0.5,"),
        "alloc-fail:0.01:count=3:queue=1,nic-drop:every=1000,nic-tiny:at=500",
        "alloc-fail:at=5+17+900:from=5:until=900",
        "alloc-fail:at=17+5:until=16",
        "nic-drop:1,nic-tiny:1:after=nic-drop,cq-full:1:after=nic-tiny",
        "nic-drop:1:after=cq-full,nic-tiny:1:after=nic-drop,cq-full:1:after=nic-tiny",
        "nic-drop:1:after=alloc-fail,alloc-fail:1",
        "nic-drop:1:after=nic-drop",
        ",".join(["nic-drop:1"] * 254),
        ",".join(["nic-drop:1"] * 255),
        "nic-drop:at=" + "+".join(map(str, range(65536))),
        "nic-drop:at=" + "+".join(map(str, range(65537))),
        "setup-fail:at=3:queue=0",
        "setup-fail:at=3:flow=0",
        "alloc-fail:1:flow=0",
    ],
)
def test_corners(read: Read, text: str) -> None:
    assert same(read(text), pythons(text)), (read(text)[:200], (pythons(text) or "")[:200])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "alloc-fail:0.5:count=0",
            "plan: alloc-fail: count: '0' is not allowed; it must be a whole number of 1 to 4096",
        ),
        (
            "nic-drop:1,alloc-fail:2",
            "plan: rule 2: alloc-fail: probability '2' is out of range; it must be a number from "
            "0 to 1, or 0% to 100%",
        ),
        (
            "bad-pad:1",
            "plan: 'bad-pad' is no fault of the library; it has nic-drop, nic-corrupt, ",
        ),
        ("nic-drop\a\x7f:1", "plan: 'nic-drop??' is no fault of the library"),
        ("nic-drop", "plan: nic-drop: it has no trigger; write nic-drop:0.01 (a probability), "),
        ("x" * 500, "plan: 'xxx"),
    ],
)
def test_error_is_one_line_that_names_the_value(read: Read, text: str, error: str) -> None:
    answer = read(text)
    assert answer.startswith(f"!{error}")
    assert answer.isprintable()


@given(text=st.text(st.characters(exclude_characters="\n\0", codec="utf-8"), max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_answered(read: Read, text: str) -> None:
    assert read(text).isprintable()


def test_faults_of_the_library_have_their_rules(read: Read) -> None:
    for name, expected in ONLY_THE_LIBRARYS.items():
        words = read(f"{name}:1").split()
        assert (int(words[0]), int(words[-2])) == expected
