"""``--areas``: its text, and what a run's configuration makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.areas import Areas, parse_areas
from emu.cli.again import options
from emu.config import RunConfig
from emu.core import layout_sizes
from emu.errors import ConfigError
from faults import parse_plan

KERNEL: Any = {"kernel": "7.3"}


@pytest.mark.parametrize(
    ("text", "areas"),
    [
        ("1", Areas(1, 0, (100,))),
        ("3", Areas(3, 0, (100,))),
        ("2+1", Areas(2, 1, (100,))),
        ("2+1:64", Areas(2, 1, (64,))),
        ("1+1023:1", Areas(1, 1023, (1,))),
        ("3:64,1,32", Areas(3, 0, (64, 1, 32))),
    ],
)
def test_text_is_read(text: str, areas: Areas) -> None:
    assert parse_areas(text, 100) == areas


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0+1", "1025", "1024+1", "-1", "1+", "+1", "1:", "1:0", "2:64,", "1:64,32"),
        *("9:1,2,3,4,5,6,7,8,9", " 1", "1 ", "1\n", "٣", "1.5", "one", "1+1+1", 3, None),
    ],
)
def test_other_text_is_refused_in_a_line(text: object) -> None:
    with pytest.raises(ConfigError, match=r"\Aareas: .* it must be N\[\+MORE\].*\Z"):
        parse_areas(text, 100)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(0, 20),
    st.lists(st.integers(1, 50), min_size=1, max_size=8),
)
def test_each_buffer_has_one_place(start: int, more: int, sizes: list[int]) -> None:
    areas = Areas(start, more, tuple(sizes[: start + more]))
    places = [areas.place(niov) for niov in range(areas.niovs(areas.count))]
    assert places == [(n, i) for n in range(areas.count) for i in range(areas.size(n))]
    shape = replace(
        RunConfig(kernel="7.3").shape(1),
        num_niovs=len(places),
        areas_max=areas.count,
        areas=start,
        area_niovs=areas.sizes,
    )
    layout_sizes(shape)
    byte_of = shape.byte_of
    for niov, (number, index) in enumerate(places):
        assert byte_of(number << 48 | index << 12 | 5) == niov << 12 | 5


def test_configuration_knows_its_buffers() -> None:
    config = RunConfig(areas="2+2:100,50", **KERNEL)
    assert (config.buffers, config.buffers_max) == (150, 250)
    shape = config.shape(1)
    assert (shape.num_niovs, shape.areas, shape.areas_max) == (250, 2, 4)
    assert shape.area_niovs == (100, 50)
    assert (RunConfig().buffers, RunConfig().shape(1).areas_max) == (1024, 1)
    assert RunConfig(areas="3", area_buffers=64, **KERNEL).buffers == 192
    again = RunConfig.from_dict(config.as_dict())
    assert again.as_dict() == config.as_dict()
    assert "--areas 2+2:100,50" in options(config.as_dict())


def test_areas_to_come_are_added_by_a_rule() -> None:
    config = RunConfig(areas="1+2", queues=2, **KERNEL)
    assert str(config.plan) == "add-area:every=100:limit=4"
    assert any("add-area" in note for note in config.roundings)
    mine = parse_plan("add-area:at=7")
    assert RunConfig(areas="1+2", plan=mine, **KERNEL).plan == mine


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"areas": "2"}, "areas: '2' is not allowed; with the kernel seed there is 1"),
        (
            {"areas": "1+1", "kernel": "7.2"},
            "areas: '1+1' is not allowed; with the kernel 7.2 there is 1",
        ),
        ({"areas": "2", "provider": "x.so", **KERNEL}, "a provider of somebody else's has 1"),
        ({"areas": "2:8", **KERNEL}, "must have 17 buffers together"),
        ({"areas": "1+1:17,1048576", **KERNEL}, "1048576 at most"),
        ({"plan": parse_plan("add-area:at=1"), **KERNEL}, "needs areas to add"),
    ],
)
def test_what_cannot_be_is_refused(fields: Any, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig(**fields)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_areas_of_one_say_how_large_it_is_at_every_level() -> None:
    assert RunConfig(areas="1:64").buffers == 64
