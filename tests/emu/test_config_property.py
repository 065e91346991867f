"""Any values make a configuration that is valid through and through, or are refused in one line.

What is allowed is said here once more, field by field and across fields, and compared with what
:class:`RunConfig` does. At the end, seeded mistakes that the comparison must find.
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import PurePath
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, given, settings

from emu import config as config_module
from emu.config import GrantOrder, Overload, Pace, ReturnOrder, RunConfig, Verify
from emu.contract import LEVELS, SEED
from emu.core import layout_sizes
from emu.errors import ConfigError
from faults import Actor, Plan, parse_plan

LIMITS = settings(max_examples=max(300, settings().max_examples), deadline=None)

#: Field: smallest and largest value.
BOUNDS = {
    "seed": (0, 2**64 - 1),
    "packets": (0, 2**63),
    "laps": (0, 2**32),
    "queues": (1, 64),
    "area_buffers": (17, 2**20),
    "rq_entries": (1, 32768),
    "cq_entries": (16, 32768),
    "ptr_ring_size": (1, 32768),
    "grant_entries": (16, 4096),
    "in_flight": (0, 2**20),
    "log_entries": (65536, 2**30),
    "initial_index": (0, 2**32 - 1),
    "wait_ms": (0, 60000),
    "copy_every": (0, 2**31),
    "hold": (0, 65536),
    "recheck_every": (0, 2**31),
    "connections": (0, 2**31),
}
ROUNDED = ("rq_entries", "cq_entries", "grant_entries", "log_entries")  # in the order of notes
CHOICES = {
    "pace": Pace,
    "overload": Overload,
    "verify": Verify,
    "return_order": ReturnOrder,
    "grant_order": GrantOrder,
}
SWITCHES = ("strict_alias", "pin", "poison", "respawn")
TEXTS = ("traffic", "consumer")
DURATION_MAX_S = 86400 * 366
#: How the messages call a field, where that is not its name.
CALLED = {"duration_s": "duration"}


class Ugly:
    """A value that is no good anywhere, and whose repr() is more than a line."""

    def __repr__(self) -> str:
        return "a\nb\u2028c\rd"


class Broken:
    """A value that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError


class Unshown(enum.Enum):
    """Stands for a value that no failure could show; :func:`real` puts it in its place."""

    HUGE = 10**5000
    UGLY = Ugly()
    BROKEN = Broken()

    def __repr__(self) -> str:
        return self.name


def real(plain: Any) -> Any:
    """The same with real values in the place of what stands for them."""
    if isinstance(plain, Unshown):
        return plain.value
    if isinstance(plain, dict):
        return {real(name): real(value) for name, value in plain.items()}
    return plain


foreign = st.sampled_from(
    [None, True, 1.0, -1, 2**70, float("nan"), float("inf"), b"x", [], {}, "", "x\ny", *Unshown]
)

plans = st.sampled_from(
    [
        "none",
        "bad-pad:0.123456789012345:queue=1",
        "bad-index:1e-9,churn:every=7:queue=5",
        "slow:at=1+3:queue=63",
        "index-wrap:1",
        "index-wrap:0.5:distance=0,bad-pad:1:queue=0",
        "setup-fail:at=3",
    ]
).map(parse_plan)


def good(name: str) -> st.SearchStrategy[Any]:
    """Values that the field takes, were it not for the others."""
    if name in BOUNDS:
        low, high = BOUNDS[name]
        return st.sampled_from([low, high]) | st.integers(low, high)
    if name in CHOICES:
        return st.sampled_from([*CHOICES[name], *map(str, CHOICES[name])])
    if name in SWITCHES:
        return st.booleans()
    return {
        "kernel": st.sampled_from(LEVELS),
        "areas": st.sampled_from(["1", "1", "1", "2"]),
        "rx_buf_len": st.sampled_from([4096, 4096, 4096, 4096, 8192, 32768]),
        "duration_s": st.none() | st.floats(1e-9, DURATION_MAX_S) | st.integers(1, DURATION_MAX_S),
        "traffic": st.sampled_from(["synthetic", "synthetic:size=64", "tcp:127.0.0.1:0"]),
        "consumer": st.sampled_from(
            ["builtin", "module:function", "a.b:c.d", "mine.c", "./a:b.so", "lib/x.so.1"]
        ),
        "plan": plans,
        "provider": st.none() | st.sampled_from(["/lib/mine.so", "mine.so", "../a/./b.so"]),
        "modules_from": st.none() | st.sampled_from(["/", "mine", "../a/./b"]),
    }[name]


def near(name: str) -> st.SearchStrategy[Any]:
    """Values around the field's bounds and beside its choices."""
    if name in BOUNDS:
        low, high = BOUNDS[name]
        return st.sampled_from([low - 1, low, low + 1, high - 1, high, high + 1])
    if name in CHOICES:
        return st.sampled_from(["", "FAST", "fifo ", "none"])
    return {
        "kernel": st.sampled_from(["", "7.4", "SEED"]),
        "rx_buf_len": st.sampled_from([0, 2048, 4097, 65536]),
        "duration_s": st.sampled_from([0, -0.0, 0.0, DURATION_MAX_S, DURATION_MAX_S + 1]),
        "consumer": st.sampled_from(["module:", ":function", ":", "module", "a/b:c", "x.py"]),
        "provider": st.sampled_from(["", "a\0b"]),
        "modules_from": st.sampled_from(["", "a\0b"]),
        "areas": st.sampled_from(["0", "1025", "1+", "1:", "1:0", "2:64,x"]),
    }.get(name, st.nothing())


NAMES = tuple(item.name for item in fields(RunConfig) if item.init)


@st.composite
def combinations(draw: st.DrawFn) -> dict[str, Any]:
    """Fields and their values: most of them good ones, so that fields meet each other."""
    values = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=len(NAMES))):
        kind = draw(st.integers(0, 11))
        strategy = foreign if kind == 0 else near(name) if kind <= 2 else good(name)
        values[name] = draw(good(name) if strategy.is_empty else strategy)
    return values


def is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def takes(name: str, value: Any) -> bool:
    """Is it allowed, were it not for the other fields?"""
    if name in BOUNDS:
        low, high = BOUNDS[name]
        return is_whole(value) and low <= value <= high
    if name in CHOICES:
        return isinstance(value, str) and value in {str(member) for member in CHOICES[name]}
    if name in SWITCHES:
        return isinstance(value, bool)
    if name == "kernel":
        return isinstance(value, str) and value in LEVELS
    if name == "rx_buf_len":
        return is_whole(value) and value in (4096, 8192, 16384, 32768)
    if name == "duration_s":
        is_number = is_whole(value) or isinstance(value, float)
        return value is None or (is_number and 0 < value <= DURATION_MAX_S)
    if name == "plan":
        return isinstance(value, Plan)
    if name == "areas":
        return value in ("1", "2")
    if name in ("provider", "modules_from"):
        return value is None or (isinstance(value, str) and value != "" and "\0" not in value)
    if name == "consumer" and value != "builtin":
        return isinstance(value, str) and (is_function(value) or is_in_c(value))
    return isinstance(value, str)


def is_function(consumer: str) -> bool:
    """Is it MODULE:FUNCTION?"""
    return "/" not in consumer and all(consumer.partition(":"))


def is_in_c(consumer: str) -> bool:
    """Is it the path of a source or a library?"""
    return "\0" not in consumer and bool({".c", ".so"} & set(PurePath(consumer).suffixes))


def clashes(values: Mapping[str, Any]) -> set[str]:
    """Fields that others do not allow, all of them good on their own."""
    values = {name: value for name, value in values.items() if takes(name, value)}
    plan = values.get("plan", Plan())
    found = set()
    if any((rule.queue or 0) >= values.get("queues", 1) for rule in plan.rules):
        found.add("queue")
    if values.get("initial_index") and any(r.fault.name == "index-wrap" for r in plan.rules):
        found.add("initial_index")
    is_old = values.get("kernel", SEED) in (SEED, "6.15", "6.18")
    if is_old and values.get("rx_buf_len", 4096) != 4096:
        found.add("rx_buf_len")
    has_two = values.get("areas", "1") == "2"
    is_alone = is_old or values.get("kernel", SEED) != "7.3" or values.get("provider") is not None
    if has_two and (is_alone or 2 * values.get("area_buffers", 1024) > 2**20):
        found.add("areas")
    consumer = values.get("consumer", "builtin")
    is_c = consumer != "builtin" and not is_function(consumer)
    if is_c and any(rule.fault.actor is Actor.CONSUMER for rule in plan.rules):
        found.add("plan")
    return found


def power_of_two(value: int) -> int:
    power = 1
    while power < value:
        power *= 2
    return power


def largest_power_in(value: int) -> int:
    power = power_of_two(value)
    return power if power == value else power // 2


def check_config(config: RunConfig, values: Mapping[str, Any]) -> None:
    """Assert that a configuration is what was asked for, and of use."""
    notes = []
    buffers = int(config.areas) * config.area_buffers
    for name, value in values.items():
        made = getattr(config, name)
        if name == "grant_entries":
            assert made == min(power_of_two(value), largest_power_in(buffers))
        elif name in ROUNDED:
            assert made == power_of_two(value)
        elif name == "provider" and value is not None:
            assert made == os.path.abspath(value)
        elif name == "consumer" and value != "builtin" and not is_function(value):
            assert made == os.path.join(os.getcwd(), value)
        elif name == "modules_from":
            if value is not None:
                assert made == os.path.join(os.getcwd(), value)
            else:
                has_module = config.consumer != "builtin" and not config.has_raw_consumer
                assert made == (os.getcwd() if has_module else None)
        else:
            assert made == value
    for name in ROUNDED:
        value = values.get(name, power_of_two(1))
        if value != power_of_two(value):
            notes.append(f"{name}: {value} rounded up to {power_of_two(value)}, a power of two")
    rounded = [note for note in config.roundings if " instead of " not in note]
    assert rounded == notes
    for name, kind in CHOICES.items():
        assert type(getattr(config, name)) is kind
    plain = json.loads(json.dumps(config.as_dict(), allow_nan=False))
    again = RunConfig.from_dict(plain)
    assert again.as_dict() == config.as_dict()
    assert again.roundings == ()  # what is written down is what was run
    for name in NAMES:
        assert getattr(again, name) == getattr(config, name)
    sizes = layout_sizes(config.shape(flows_max=1))
    assert sizes.area == buffers * config.rx_buf_len
    assert min(sizes.kern, sizes.rings, sizes.notes) > 0


def check_line(message: str) -> None:
    """Assert that it is one line, and not an endless one."""
    assert len(message.splitlines()) == 1
    assert len(message) < 600


def check_refusal(message: str, wrong: set[str], values: Mapping[str, Any]) -> None:
    """Assert that a message names one of the fields that are wrong, and its value."""
    check_line(message)
    named = [name for name in wrong if f"{CALLED.get(name, name)}: " in message]
    assert named, (message, wrong)
    assert " is not allowed; " in message or message.startswith("plan: faults: ")
    for name in named:
        value = values.get(name)
        if value is not None and is_whole(value) and abs(value) < 2**80:
            assert str(value) in message
        elif isinstance(value, str):
            assert repr(value) in message


def judge(values: Mapping[str, Any]) -> None:
    """Make a configuration of these values, and judge what comes of it."""
    wrong = {name for name, value in values.items() if not takes(name, value)} | clashes(values)
    try:
        config = RunConfig(**values)
    except ConfigError as error:
        check_refusal(str(error), wrong, values)
    else:
        assert not wrong, f"taken although wrong: {wrong}"
        check_config(config, values)


@LIMITS
@given(values=combinations())
def test_values_make_a_valid_config_or_are_refused(values: dict[str, Any]) -> None:
    judge(real(values))


@LIMITS
@given(
    plain=st.dictionaries(
        st.sampled_from(NAMES) | st.sampled_from(["roundings", "", "x\ny", 1, None, *Unshown]),
        foreign | st.sampled_from(["fast", "crc", "bad-pad:1", "bad-pad:2", "a:b:1", "nosuch:1"]),
        max_size=4,
    )
    | foreign
)
def test_plain_values_of_any_kind_make_a_config_or_are_refused(plain: Any) -> None:
    """As they are read from a ``run.json`` that somebody has edited."""
    plain = real(plain)
    try:
        config = RunConfig.from_dict(plain)
    except ConfigError as error:
        check_line(str(error))
    else:
        values = {name: value for name, value in plain.items() if name != "plan"}
        check_config(config, values)


# ---- The comparison finds what it should --------------------------------------------------------


def rounds_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    original = RunConfig._round

    def _round(self: RunConfig, name: str, low: int, high: int) -> None:
        original(self, name, low, high)
        if name == "grant_entries":
            object.__setattr__(self, "roundings", ())

    monkeypatch.setattr(RunConfig, "_round", _round)


def rounds_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    """A power of two is taken for the one below the next."""
    monkeypatch.setattr(config_module, "round_up_power_of_two", lambda n: 1 << n.bit_length())


def forgets_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "check_queues", lambda _self, _count: None)


def takes_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    original = config_module._check

    def check(name: str, value: int, low: int, high: int) -> None:
        original(name, value, low, high + (name == "hold"))

    monkeypatch.setattr(config_module, "_check", check)


def shows_values_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.errors._shown", repr)


def loses_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    original = RunConfig.as_dict

    def as_dict(self: RunConfig) -> dict[str, Any]:
        return {name: value for name, value in original(self).items() if name != "respawn"}

    monkeypatch.setattr(RunConfig, "as_dict", as_dict)


@pytest.mark.long
@pytest.mark.parametrize(
    "bug",
    [
        rounds_silently,
        rounds_beyond,
        forgets_the_plan,
        takes_one_too_many,
        shows_values_as_they_are,
        loses_a_field,
    ],
)
def test_seeded_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)

    @settings(LIMITS, max_examples=6000, phases=[Phase.generate], derandomize=True, database=None)
    @given(values=combinations())
    def property_of_values(values: dict[str, Any]) -> None:
        judge(real(values))

    with pytest.raises((AssertionError, ValueError, RuntimeError)):
        property_of_values()
