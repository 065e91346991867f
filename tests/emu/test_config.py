"""What a run may be: bounds, roundings, and plain values for JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from emu.config import (
    GrantOrder,
    Overload,
    Pace,
    ReturnOrder,
    RunConfig,
    Verify,
    round_up_power_of_two,
)
from emu.core import layout_sizes
from emu.errors import ConfigError
from faults import parse_plan

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
CHOICES = {
    "pace": Pace,
    "overload": Overload,
    "verify": Verify,
    "return_order": ReturnOrder,
    "grant_order": GrantOrder,
}


def error_of(**fields: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        RunConfig(**fields)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", BOUNDS)
def test_number_is_taken_at_its_bounds_and_refused_beyond(name: str) -> None:
    low, high = BOUNDS[name]
    for value in (low, high):
        others: dict[str, Any] = {"area_buffers": 8192} if name == "grant_entries" else {}
        others[name] = value
        assert getattr(RunConfig(**others), name) == value
    for value in (low - 1, high + 1, -(2**70), 2**70):
        assert error_of(**{name: value}) == (
            f"{name}: {value} is not allowed; it must be {low} to {high}"
        )


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("value", ["20", 20.0, 20.5, None, True, math.nan])
def test_number_that_is_no_int_is_refused(name: str, value: object) -> None:
    assert error_of(**{name: value}).startswith(f"{name}: {value!r} is not allowed; ")


def test_every_number_has_its_bounds_tested() -> None:
    numbers = {name for name, value in RunConfig().as_dict().items() if type(value) is int}
    assert numbers == {*BOUNDS, "rx_buf_len"}


@pytest.mark.parametrize("value", [0, 2048, 5000, 65536])
def test_size_that_no_buffer_has_is_refused(value: int) -> None:
    message = error_of(rx_buf_len=value, kernel="7.1")
    assert message.startswith(f"rx_buf_len: {value} is not allowed; it must be ")


def test_buffers_are_larger_only_where_the_kernel_has_such() -> None:
    assert RunConfig(rx_buf_len=8192, kernel="7.1").shape(flows_max=1).niov_shift == 13
    assert error_of(rx_buf_len=8192) == (
        "rx_buf_len: 8192 is not allowed; with the kernel seed it is 4096"
    )


def test_kernel_that_is_not_known_is_refused_with_those_that_are() -> None:
    assert error_of(kernel="7.4") == (
        "kernel: '7.4' is not allowed; it must be one of seed, 6.15, 6.18, 7.1, 7.2, 7.3"
    )


@pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, math.inf, 1e9, "10", True])
def test_duration_out_of_range_is_refused(value: Any) -> None:
    message = error_of(duration_s=value)
    assert message.startswith(f"duration: {value!r} is not allowed; it must be above 0 and at most")


@pytest.mark.parametrize("value", [None, 1e-9, 1, 3600.5])
def test_duration_within_range_is_taken(value: float | None) -> None:
    assert RunConfig(duration_s=value).duration_s == value


@pytest.mark.parametrize("name", CHOICES)
def test_choice_may_be_given_by_name(name: str) -> None:
    """As JSON and people write it; a name that is not known is refused, not taken for another."""
    for member in CHOICES[name]:
        fields: dict[str, Any] = {name: str(member)}
        assert getattr(RunConfig(**fields), name) is member
    message = error_of(**{name: "nosuch"})
    assert message.startswith(f"{name}: 'nosuch' is not allowed; ")
    assert all(repr(str(member)) in message for member in CHOICES[name])


@pytest.mark.parametrize("text", ["nosuch", "module:", ":function", ":", ""])
def test_consumer_needs_module_and_function(text: str) -> None:
    message = error_of(consumer=text)
    assert message.startswith(f"consumer: {text!r} is not allowed; ")
    assert "MODULE:FUNCTION" in message


@pytest.mark.parametrize(
    ("name", "value", "rounded"),
    [
        ("rq_entries", 5000, 8192),
        ("rq_entries", 3, 4),
        ("cq_entries", 17, 32),
        ("grant_entries", 4095, 4096),
        ("log_entries", 65537, 131072),
    ],
)
def test_ring_size_is_rounded_up_and_it_is_said(name: str, value: int, rounded: int) -> None:
    fields: dict[str, Any] = {"area_buffers": 8192, name: value}
    config = RunConfig(**fields)
    assert getattr(config, name) == rounded
    assert config.roundings == (f"{name}: {value} rounded up to {rounded}, a power of two",)


def test_all_roundings_are_said_in_order() -> None:
    config = RunConfig(rq_entries=5, cq_entries=20, grant_entries=64)
    assert [note.partition(":")[0] for note in config.roundings] == ["rq_entries", "cq_entries"]


def test_defaults_need_no_rounding() -> None:
    assert RunConfig().roundings == ()


@pytest.mark.parametrize(
    ("value", "power"), [(0, 1), (1, 1), (2, 2), (3, 4), (4096, 4096), (4097, 8192)]
)
def test_round_up_goes_to_the_next_power_of_two(value: int, power: int) -> None:
    assert round_up_power_of_two(value) == power


class Unseemly:
    """A value whose repr() is more than a line."""

    def __repr__(self) -> str:
        return "a\nb"


class Unshowable:
    """A value whose repr() fails."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(10**5000, "a int that cannot be shown", id="huge"),
        pytest.param(Unshowable(), "a Unshowable that cannot be shown", id="unshowable"),
        pytest.param(Unseemly(), "a b", id="unseemly"),
    ],
)
@pytest.mark.parametrize(
    "name", ["seed", "rq_entries", "pace", "traffic", "consumer", "duration_s"]
)
def test_value_that_is_hard_to_show_is_refused_in_one_line(
    name: str, value: object, shown: str
) -> None:
    assert f": {shown} is not allowed; " in error_of(**{name: value})


def test_long_value_is_cut_in_the_message() -> None:
    assert len(error_of(seed=10**4000)) < 400


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("traffic", 5, "it must be text that names a source"),
        (
            "consumer",
            None,
            "it must be 'builtin', MODULE:FUNCTION, or the C source (*.c) or shared library (*.so) "
            "of a consumer",
        ),
        ("plan", "bad-pad:1", "it must be a faults.Plan"),
        ("strict_alias", "no", "it must be True or False"),
        ("pin", 1, "it must be True or False"),
        ("respawn", None, "it must be True or False"),
    ],
)
def test_value_of_another_kind_is_refused(name: str, value: object, allowed: str) -> None:
    assert error_of(**{name: value}) == f"{name}: {value!r} is not allowed; {allowed}"


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (None, "config: None is not allowed; it must be an object with a run's fields"),
        ({"x": 1, 2: 3}, "config: 'x' is not allowed; it is not a field of a run's configuration"),
        ({2: 3, "x": 1}, "config: 2 is not allowed; it is not a field of a run's configuration"),
        ({"plan": 5}, "plan: 5 is not allowed; it must be the text of a plan"),
        ({"plan": "nosuch:1"}, "plan: faults: 'nosuch' is not a fault; "),
        ({"pace": "x"}, "pace: 'x' is not allowed; it must be one of 'fast', 'original'"),
        ({"pace": []}, "pace: [] is not allowed; it must be one of 'fast', 'original'"),
    ],
)
def test_plain_values_that_cannot_be_are_refused(plain: Any, message: str) -> None:
    """As they come from a ``run.json`` that somebody has edited."""
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_dict(plain)
    assert str(caught.value).startswith(message)


def test_config_is_frozen() -> None:
    with pytest.raises(AttributeError):
        RunConfig().seed = 1  # type: ignore[misc]


def test_plain_values_survive_json_and_make_the_same_config() -> None:
    config = RunConfig(
        seed=2**64 - 1,
        duration_s=1.5,
        pace=Pace.ORIGINAL,
        overload=Overload.DROP,
        verify=Verify.TOUCH,
        return_order=ReturnOrder.LIFO,
        strict_alias=True,
        plan=parse_plan("bad-pad:0.123456789012345,bad-index:1e-9"),
        consumer="module:function",
    )
    plain = json.loads(json.dumps(config.as_dict()))
    assert RunConfig(**{**plain, "plan": parse_plan(plain["plan"])}) == config


def test_shape_is_what_the_layout_takes() -> None:
    config = RunConfig(area_buffers=17, rq_entries=5, initial_index=7)
    shape = config.shape(flows_max=3)
    assert (shape.num_niovs, shape.niov_shift, shape.rq_entries) == (17, 12, 8)
    assert (shape.flows_max, shape.initial_index) == (3, 7)
    assert layout_sizes(shape).area == 17 * 4096


@pytest.mark.parametrize("name", ["area_buffers", "rq_entries", "cq_entries", "grant_entries"])
def test_layout_takes_every_size_that_the_config_takes(name: str) -> None:
    for value in BOUNDS[name]:
        fields: dict[str, Any] = {name: value}
        assert layout_sizes(RunConfig(**fields).shape(flows_max=1)).kern > 0


def test_default_hold_lets_something_of_a_short_replay_come_back() -> None:
    fitted = RunConfig(laps=2, queues=3).fitted_to((3, 0, 100))
    assert fitted.hold == 2
    assert fitted.roundings[-1].startswith("hold: 2 instead of 32: a queue gets 6 packets")


@pytest.mark.parametrize(
    ("config", "packets"),
    [
        (RunConfig(laps=1), (33,)),
        (RunConfig(), (1,)),  # no laps: it is replayed for as long as the run lasts
        (RunConfig(laps=1, hold=32), (5,)),  # chosen
        (RunConfig(laps=1, queues=2), (0, 0)),
    ],
)
def test_hold_stays_where_it_was_chosen_or_fits(
    config: RunConfig, packets: tuple[int, ...]
) -> None:
    assert config.fitted_to(packets) is config


@pytest.mark.parametrize("grants", [16, 64, 65, 512, 4096])
@pytest.mark.parametrize("area", [17, 64, 100, 1000])
def test_grant_ring_is_no_larger_than_the_area(grants: int, area: int) -> None:
    config = RunConfig(area_buffers=area, grant_entries=grants, hold=0)
    rounded = round_up_power_of_two(grants)
    notes = [note for note in config.roundings if " instead of " in note]
    if rounded <= area:
        assert (config.grant_entries, notes) == (rounded, [])
    else:
        fitted = config.grant_entries
        assert fitted <= area < 2 * fitted
        why = f"the area has {area} buffers"
        assert notes == [f"grant_entries: {fitted} instead of {rounded}: {why}"]


def test_area_left_alone_has_buffers_to_copy_into() -> None:
    config = RunConfig(copy_every=7)
    assert config.area_buffers == 8192
    assert config.roundings == (
        "area_buffers: 8192 instead of 1024: packets are copied into buffers that are free",
    )
    assert RunConfig(copy_every=7, area_buffers=1024).area_buffers == 1024  # chosen


@pytest.mark.parametrize(
    ("config", "packets"),
    [
        (RunConfig(hold=32, packets=16), (100,)),
        (RunConfig(hold=2, laps=1, queues=2), (1, 0)),
        (RunConfig(hold=12, laps=2, packets=100), (3, 2)),
    ],
)
def test_hold_that_keeps_all_that_ever_comes_is_refused(
    config: RunConfig, packets: tuple[int, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        config.check_traffic(2, packets)
    assert str(caught.value).startswith(f"hold: {config.hold} is not allowed; no queue gets more")


@pytest.mark.parametrize(
    ("config", "packets"),
    [
        (RunConfig(hold=31, packets=16), (100,)),
        (RunConfig(hold=1, laps=1), (1,)),
        (RunConfig(hold=32), (1,)),  # it is replayed for as long as the run lasts
        (RunConfig(hold=32, packets=1), ()),  # from a connection
        (RunConfig(hold=32, packets=1, plan=parse_plan("nic-tiny:1")), (9,)),  # makes more of it
        (RunConfig(hold=0, laps=1), (0,)),
    ],
)
def test_hold_that_lets_anything_come_back_is_taken(
    config: RunConfig, packets: tuple[int, ...]
) -> None:
    config.check_traffic(2, packets)
